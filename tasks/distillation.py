"""`{corpus}_distillation`: a history -> an item drawn by SASRec's probabilities.

The prompts are those of `{corpus}_retrieval`, so that what a retriever knows is asked for in the
same words. `rec-align teach CORPUS` makes what it needs, and without that it says so. SASRec knows
train alone: where it draws what a user took later, that is a good guess and no leak.
"""

import functools

import seqio

from rec_align.pipeline import (
    phrasing,
    seeds,
    teaching,
    templates,
    tokenization,
    user_naming,
    windows,
)
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import CorpusSource
from rec_align.prompts.retrieval import FAMILY

NAME = "distillation"


def register(corpus: str) -> None:
    """Registers the task; it has a train split only, for a teacher's answers are no facts."""
    seqio.TaskRegistry.add(
        f"{corpus}_{NAME}",
        source=CorpusSource(corpus, splits=("train",)),
        preprocessors=[
            functools.partial(seeds.attach_seed, family=NAME),
            functools.partial(teaching.draw_taught_items, corpus=corpus),
            windows.next_item_windows,
            functools.partial(phrasing.phrase_next_items, corpus=corpus),
            functools.partial(templates.fill_template, family=FAMILY),
            user_naming.name_users,
            tokenization.tokenize_parts,
        ],
        output_features=output_features(corpus),
        shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
        metric_fns=[],
    )
