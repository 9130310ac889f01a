"""`{corpus}_ranking`: a history and numbered candidates -> the candidate the user took."""

import functools

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import negatives, phrasing, postprocess, windows
from rec_align.pipeline.registration import add_with_unseen
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.ranking import FAMILY


def register(corpus: str) -> None:
    """Registers the task, and its evaluation with the template never trained on."""
    add_with_unseen(
        corpus,
        FAMILY,
        functools.partial(CorpusSource, corpus),
        [
            windows.one_item_windows,
            functools.partial(negatives.ranking_candidates, corpus=corpus),
            functools.partial(negatives.candidate_tokens, corpus=corpus),
            functools.partial(phrasing.phrase_ranking, corpus=corpus),
        ],
        postprocess_fn=postprocess.ranking,
        metric_fns=[seqio_metrics.ranking],
    )
