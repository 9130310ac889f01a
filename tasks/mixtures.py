"""The mixtures of every corpus, with explicit rates.

`{corpus}_aligned` has all tasks, `{corpus}_recommendation` no auxiliary ones, and
`{corpus}_aligned_without_{task}` leaves one auxiliary task out, for ablation. A corpus without
ratings has no rating task in any of them.
"""

import seqio

from rec_align.pipeline.mixing import Mixture

# Shares of examples; where a task is left out the others grow in proportion. Three quarters of the
# tokens are retrieval's: in a short training every other task is paid for in retrieval quality.
RATES = {
    "retrieval": 0.80,  # one example holds a target for every item of a run
    "rating": 0.06,  # one example holds a rating for every item of a run
    "ranking": 0.04,  # its prompts are the longest and hold one target
    "mim": 0.03,  # context from both sides
    "bpr": 0.03,  # preference against an unseen item, one short answer an example
    "mlm": 0.01,  # the wording of titles; the least to do with users
    "item_embedding": 0.03,  # few items, so each is seen often even at a small rate
}
RECOMMENDATION = ("retrieval", "ranking", "rating")
AUXILIARY = ("mim", "mlm", "bpr", "item_embedding")

MIXTURES = {
    "aligned": tuple(RATES),
    "recommendation": RECOMMENDATION,
    **{
        f"aligned_without_{left_out}": tuple(task for task in RATES if task != left_out)
        for left_out in AUXILIARY
    },
}


def register(corpus: str) -> None:
    """Registers the mixtures of a corpus whose tasks are registered."""
    for name, tasks in MIXTURES.items():
        rates = [(f"{corpus}_{task}", RATES[task]) for task in tasks]
        seqio.MixtureRegistry.add(f"{corpus}_{name}", rates, mixture_cls=Mixture)
