"""`{corpus}_candidates`, for evaluation: retrieval's history, and 100 candidates to be ranked.

A model that was trained on `{corpus}_retrieval` is asked for the probability of each candidate, as
P5 and others rank the target among 99 items that the user has not taken (Geng et al. 2022, arXiv
2203.13366). The prompt does not list them: that is `{corpus}_ranking`, which is to be learned.
"""

import functools

import seqio

from rec_align.metrics import seqio_metrics
from rec_align.pipeline import (
    negatives,
    phrasing,
    postprocess,
    seeds,
    templates,
    tokenization,
    user_naming,
    windows,
)
from rec_align.pipeline.features import output_features
from rec_align.pipeline.sources import HELD_OUT_SPLITS, CorpusSource
from rec_align.prompts.retrieval import FAMILY

NAME = "candidates"


def register(corpus: str) -> None:
    """Registers the task, which has no train split."""
    seqio.TaskRegistry.add(
        f"{corpus}_{NAME}",
        source=CorpusSource(corpus, splits=HELD_OUT_SPLITS),
        preprocessors=[
            functools.partial(seeds.attach_seed, family=NAME),
            windows.next_item_windows,
            functools.partial(negatives.unlisted_candidates, corpus=corpus),
            functools.partial(negatives.candidate_tokens, corpus=corpus),
            functools.partial(phrasing.phrase_next_items, corpus=corpus),
            functools.partial(templates.fill_template, family=FAMILY),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(corpus),
        postprocess_fn=postprocess.ranking,
        metric_fns=[seqio_metrics.ranking],
    )
