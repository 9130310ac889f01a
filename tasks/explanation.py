"""`{corpus}_explanation`: an item and the rating it was given -> the sentence that explains it."""

import functools

from rec_align.metrics import generation_metrics
from rec_align.pipeline import review_phrasing
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.review_source import ReviewSource
from rec_align.prompts.explanation import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on.

    A corpus without reviews has both in name only: mixtures and evaluation pass over them.
    """
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(ReviewSource, corpus, needs_ratings=True, needs_explanations=True),
        [
            functools.partial(review_phrasing.phrase_explanations, corpus=corpus),
        ],
        metric_fns=[generation_metrics.generated_text],
    )
