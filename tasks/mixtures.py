"""The mixtures of every corpus, with explicit rates.

`{corpus}_aligned` has all tasks, `{corpus}_recommendation` no auxiliary ones, and
`{corpus}_aligned_without_{task}` leaves one auxiliary task out, for ablation. `{corpus}_recsysllm`
has the recommendation tasks and entity_infilling. `{corpus}_templates`, for evaluation, has each
task that has an unseen template beside the same with that template. A corpus without ratings has no
rating task in any of them.
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

# RecSysLLM (Chu et al. 2023), whose rates are not published: these are ours.
RECSYSLLM_RATES = {
    "retrieval": 0.60,  # one example holds a target for every item of a run
    "ranking": 0.08,  # its prompts are the longest and hold one target
    "rating": 0.07,  # one example holds a rating for every item of a run
    "entity_infilling": 0.20,  # what the system adds: facts and their order, from both sides
    "review_infilling": 0.05,  # the words of reviews; of a corpus that has them
}

MIXTURES = {
    "aligned": tuple(RATES),
    "recommendation": RECOMMENDATION,
    **{
        f"aligned_without_{left_out}": tuple(task for task in RATES if task != left_out)
        for left_out in AUXILIARY
    },
}


def _with_unseen_twins(corpus: str) -> list[str]:
    """The tasks that can be scored with a template never trained on, each before its twin."""
    known = seqio.TaskRegistry.names()
    sources = {name: seqio.TaskRegistry.get(name).source for name in known}
    ours = [name for name in known if getattr(sources[name], "corpus", None) == corpus]
    return [twin for name in ours if f"{name}_unseen" in ours for twin in (name, f"{name}_unseen")]


def register(corpus: str) -> None:
    """Registers the mixtures of a corpus whose tasks are registered."""
    for name, tasks in MIXTURES.items():
        rates = [(f"{corpus}_{task}", RATES[task]) for task in tasks]
        seqio.MixtureRegistry.add(f"{corpus}_{name}", rates, mixture_cls=Mixture)
    recsysllm = [(f"{corpus}_{task}", rate) for task, rate in RECSYSLLM_RATES.items()]
    seqio.MixtureRegistry.add(f"{corpus}_recsysllm", recsysllm, mixture_cls=Mixture)
    # For evaluation only: which templates cost how much.
    seqio.MixtureRegistry.add(
        f"{corpus}_templates", _with_unseen_twins(corpus), default_rate=1, mixture_cls=Mixture
    )
