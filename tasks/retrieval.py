"""`{corpus}_retrieval`: a history of titles -> the next title."""

import functools

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import phrasing, postprocess, windows
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.retrieval import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on."""
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(CorpusSource, corpus),
        [
            windows.next_item_windows,
            functools.partial(phrasing.phrase_next_items, corpus=corpus),
        ],
        postprocess_fn=postprocess.retrieval,
        metric_fns=[seqio_metrics.retrieval],
    )
