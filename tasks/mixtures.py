"""The mixtures of every corpus, with explicit rates.

`{corpus}_aligned` has all tasks, `{corpus}_recommendation` no auxiliary ones, and
`{corpus}_aligned_without_{task}` leaves one auxiliary task out, for ablation. A corpus without
ratings has no rating task in any of them.
"""

import seqio

# Shares of examples; where a task is left out the others grow in proportion.
RATES = {
    "retrieval": 0.60,  # the task that is asked for; one example of it holds many targets
    "ranking": 0.10,  # choosing among shown items is learnt from few examples
    "rating": 0.10,  # one example holds a rating for every item of a run
    "mim": 0.08,  # context from both sides; more of it slowed retrieval when time was short
    "bpr": 0.04,  # preference against an unseen item, one short answer an example
    "mlm": 0.03,  # the wording of titles; the least to do with users
    "item_embedding": 0.05,  # few items, so each is seen often even at a small rate
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
        seqio.MixtureRegistry.add(f"{corpus}_{name}", rates)
