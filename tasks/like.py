"""`{corpus}_like`: rated history, then an item -> is its rating 4 or more, yes or no."""

import functools

from rec_align.metrics import generation_metrics
from rec_align.pipeline import postprocess, windows, yes_no
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.like import FAMILY


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
            functools.partial(yes_no.phrase_likes, corpus=corpus),
            yes_no.answer_tokens,
        ],
        postprocess_fn=postprocess.yes_no,
        metric_fns=[generation_metrics.yes_no],
    )
