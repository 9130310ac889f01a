"""`{corpus}_review_rating`: the text of a review -> the rating that came with it, 1 to 5."""

import functools

from rec_align.metrics import generation_metrics, seqio_metrics
from rec_align.pipeline import postprocess, review_phrasing
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.review_source import ReviewSource
from rec_align.prompts.review_rating import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on.

    A corpus without reviews has both in name only: mixtures and evaluation pass over them.
    """
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(ReviewSource, corpus, needs_ratings=True),
        [
            review_phrasing.phrase_review_ratings,
        ],
        postprocess_fn=postprocess.rating,
        metric_fns=[seqio_metrics.rating, generation_metrics.rating_agreement],
    )
