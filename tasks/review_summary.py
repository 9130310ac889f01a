"""`{corpus}_review_summary`: the text of a review -> its headline."""

import functools

import seqio

from rec_align.metrics import generation_metrics
from rec_align.pipeline import review_phrasing, seeds, templates, tokenization, user_naming
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.review_source import ReviewSource
from rec_align.pipeline.sources import HELD_OUT_SPLITS
from rec_align.prompts.review_summary import FAMILY


def _register(name: str, source: ReviewSource, unseen: bool = False) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            review_phrasing.phrase_summaries,
            functools.partial(templates.fill_template, family=FAMILY, unseen=unseen),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(source.corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        metric_fns=[generation_metrics.generated_text],
    )


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on.

    A corpus without reviews has both in name only: mixtures and evaluation pass over them.
    """
    _register(f"{corpus}_review_summary", ReviewSource(corpus))
    _register(f"{corpus}_review_summary_unseen", ReviewSource(corpus, HELD_OUT_SPLITS), unseen=True)
