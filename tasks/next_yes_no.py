"""`{corpus}_next_yes_no`: a history and an item -> did the user take it next, yes or no.

The item is the next one or, as often, one the user has not taken.
"""

import functools

from rec_align.metrics import generation_metrics
from rec_align.pipeline import negatives, postprocess, windows, yes_no
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.next_yes_no import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on."""
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(CorpusSource, corpus),
        [
            windows.one_item_windows,
            functools.partial(negatives.ranking_candidates, corpus=corpus, num_candidates=2),
            functools.partial(yes_no.phrase_item_question, corpus=corpus),
            yes_no.answer_tokens,
        ],
        postprocess_fn=postprocess.yes_no,
        metric_fns=[generation_metrics.yes_no],
    )
