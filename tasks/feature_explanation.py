"""`{corpus}_feature_explanation`: an item, its rating and a feature word -> a sentence on it."""

import functools

from rec_align.metrics import generation_metrics
from rec_align.pipeline import postprocess, review_phrasing
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.review_source import ReviewSource
from rec_align.prompts.feature_explanation import FAMILY


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
        postprocess_fn=postprocess.feature_explanation,
        metric_fns=[generation_metrics.generated_text, generation_metrics.feature_match],
    )
