"""`{corpus}_rating`: rated history, then an item -> its rating, 1 to 5."""

import functools

import seqio

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import (
    phrasing,
    postprocess,
    seeds,
    templates,
    tokenization,
    user_naming,
    windows,
)
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import HELD_OUT_SPLITS, CorpusSource
from rec_align.prompts.rating import FAMILY


def _register(name: str, source: CorpusSource, unseen: bool = False) -> None:
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            windows.rating_windows,
            functools.partial(phrasing.phrase_ratings, corpus=source.corpus),
            functools.partial(templates.fill_template, family=FAMILY, unseen=unseen),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(source.corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        postprocess_fn=postprocess.rating,
        metric_fns=[seqio_metrics.rating],
    )


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on.

    A corpus without ratings has both in name only: mixtures and evaluation pass over them.
    """
    held_out = CorpusSource(corpus, HELD_OUT_SPLITS, needs_ratings=True)
    _register(f"{corpus}_rating", CorpusSource(corpus, needs_ratings=True))
    _register(f"{corpus}_rating_unseen", held_out, unseen=True)
