"""`{corpus}_feature_explanation`: an item, its rating and a feature word -> a sentence on it."""

import functools

import seqio

from rec_align.metrics import generation_metrics
from rec_align.pipeline import (
    postprocess,
    review_phrasing,
    seeds,
    templates,
    tokenization,
    user_naming,
)
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.review_source import ReviewSource
from rec_align.pipeline.sources import HELD_OUT_SPLITS
from rec_align.prompts.feature_explanation import FAMILY


def _register(name: str, source: ReviewSource, unseen: bool = False) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            functools.partial(review_phrasing.phrase_explanations, corpus=source.corpus),
            functools.partial(templates.fill_template, family=FAMILY, unseen=unseen),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(source.corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        postprocess_fn=postprocess.feature_explanation,
        metric_fns=[generation_metrics.generated_text, generation_metrics.feature_match],
    )


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on.

    A corpus without reviews has both in name only: mixtures and evaluation pass over them.
    """
    held_out = ReviewSource(corpus, HELD_OUT_SPLITS, needs_ratings=True, needs_explanations=True)
    _register(
        f"{corpus}_feature_explanation",
        ReviewSource(corpus, needs_ratings=True, needs_explanations=True),
    )
    _register(f"{corpus}_feature_explanation_unseen", held_out, unseen=True)
