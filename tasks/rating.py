"""`{corpus}_rating`: rated history, then an item -> its rating, 1 to 5."""

import functools

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import phrasing, postprocess, windows
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.rating import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on.

    A corpus without ratings has both in name only: mixtures and evaluation pass over them.
    """
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(CorpusSource, corpus, needs_ratings=True),
        [
            windows.rating_windows,
            functools.partial(phrasing.phrase_ratings, corpus=corpus),
        ],
        postprocess_fn=postprocess.rating,
        metric_fns=[seqio_metrics.rating],
    )
