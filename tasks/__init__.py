"""`import tasks` registers every task and mixture of the built-in corpora; no file is read.

Corpora named in the environment variable REC_ALIGN_CORPORA (comma separated) are registered too,
and `register_corpus` does it for any other. A new task family is one file here, with its templates
in `rec_align/prompts/`, added to `FAMILIES`.
"""

import os

import seqio

from rec_align.data.corpus import list_corpora
from tasks import (
    bpr,
    candidates,
    direct_yes_no,
    distillation,
    entity_infilling,
    explanation,
    feature_explanation,
    item_embedding,
    like,
    mim,
    mixtures,
    mlm,
    next_yes_no,
    ranking,
    rating,
    retrieval,
    review_rating,
    review_summary,
)

BUILT_IN = ("ml_100k",)
FAMILIES = (
    *(retrieval, candidates, ranking, rating, mim, mlm, bpr, item_embedding),
    distillation,
    *(like, next_yes_no, direct_yes_no),
    *(explanation, feature_explanation, review_summary, review_rating),
    entity_infilling,
    mixtures,
)


def register_corpus(name: str) -> None:
    """Registers `{name}_retrieval` and so on; a second call does nothing."""
    if f"{name}_retrieval" in seqio.TaskRegistry.names():
        return
    for family in FAMILIES:
        family.register(name)


def register_built_corpora(data_dir: str | None = None) -> list[str]:
    """Registers the tasks of every corpus in the data directory, and returns their names."""
    names = list(list_corpora(data_dir))
    for name in names:
        register_corpus(name)
    return names


for _name in (*BUILT_IN, *filter(None, os.environ.get("REC_ALIGN_CORPORA", "").split(","))):
    register_corpus(_name.strip())
