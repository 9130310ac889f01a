"""`{corpus}_direct_yes_no`: a user's items in no order, and an item -> is it theirs too?

P5's direct recommendation (Geng et al. 2022): not what comes next, but what suits. P5 names the
user by a token; here the user's items do. Its other direct task, to pick one of 100 candidates, is
`{corpus}_ranking` with `ranking_candidates.num_candidates = 100`, so it is not here once more.
"""

import functools

from rec_align.metrics import generation_metrics
from rec_align.pipeline import negatives, postprocess, windows, yes_no
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.direct_yes_no import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on."""
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(CorpusSource, corpus),
        [
            windows.unordered_windows,
            functools.partial(negatives.ranking_candidates, corpus=corpus, num_candidates=2),
            functools.partial(yes_no.phrase_item_question, corpus=corpus),
            yes_no.answer_tokens,
        ],
        postprocess_fn=postprocess.yes_no,
        metric_fns=[generation_metrics.yes_no],
    )
