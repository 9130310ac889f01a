"""The mixtures of every corpus, with explicit rates.

`{corpus}_aligned` has all tasks, `{corpus}_recommendation` no auxiliary ones, and
`{corpus}_aligned_without_{task}` leaves one auxiliary task out, for ablation;
`{corpus}_aligned_half` has half of its examples from the auxiliary tasks. `{corpus}_p5` has the
five families of P5 (Geng et al. 2022, arXiv 2203.13366, section 3), `{corpus}_p5_{family}` one of
them; `{corpus}_recsysllm` those and infilling; `{corpus}_distilled` retrieval and distillation.
`{corpus}_templates`, for evaluation, has each task that has an unseen template beside the same with
that template; `{corpus}_next_item`, likewise, is retrieval within the whole catalogue and among
candidates. What a corpus has no ratings, reviews or explanations for is left out of all of them.
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

# What more of the auxiliary tasks is worth: half of the examples, of a corpus that has all tasks.
HALF_AUXILIARY_RATES = {
    **{task: RATES[task] / 1.8 for task in RECOMMENDATION},  # which have .9 of `RATES`
    **{task: RATES[task] * 5.0 for task in AUXILIARY},  # which have .1
}

P5_RATES = {
    "retrieval": 0.40,  # what recommenders are compared by; one example holds many targets
    "ranking": 0.10,  # two families share it, and one example holds one target
    "next_yes_no": 0.10,  # half of its examples are a negative, which retrieval never sees
    "direct_yes_no": 0.10,  # likewise, and without order
    "rating": 0.05,  # one example holds a rating for every item of a run
    "like": 0.05,  # likewise; the same ratings in two steps only
    "explanation": 0.06,  # one a review, and half of the reviews have one
    "feature_explanation": 0.06,  # the same sentences, with a hint
    "review_summary": 0.05,  # its prompts are the longest
    "review_rating": 0.03,  # likewise; the easiest answer of all
}
P5_FAMILIES = {
    "rating": ("rating", "like"),
    "sequential": ("retrieval", "ranking", "next_yes_no"),
    "explanation": ("explanation", "feature_explanation"),
    "review": ("review_summary", "review_rating"),
    "direct": ("ranking", "direct_yes_no"),
}

# RecSysLLM (Chu et al. 2023): the tasks of P5 and infilling. Its rates are not published; these are
# ours.
RECSYSLLM_RATES = {
    **{task: 0.75 * rate for task, rate in P5_RATES.items()},
    "entity_infilling": 0.20,  # what the system adds: facts and their order, from both sides
    "review_infilling": 0.05,  # the words of reviews; of a corpus that has them
}

# A retriever's knowledge, as targets in the words of retrieval; after `rec-align teach`.
DISTILLED_RATES = {
    "retrieval": 0.50,  # what was taken
    "distillation": 0.50,  # what SASRec draws instead
}

MIXTURES = {
    "aligned": RATES,
    "recommendation": {task: RATES[task] for task in RECOMMENDATION},
    **{
        f"aligned_without_{left_out}": {t: rate for t, rate in RATES.items() if t != left_out}
        for left_out in AUXILIARY
    },
    "aligned_half": HALF_AUXILIARY_RATES,
    "p5": P5_RATES,
    **{
        f"p5_{family}": {task: P5_RATES[task] for task in tasks}
        for family, tasks in P5_FAMILIES.items()
    },
    "recsysllm": RECSYSLLM_RATES,
    "distilled": DISTILLED_RATES,
}


def _with_unseen_twins(corpus: str) -> list[str]:
    """The tasks that can be scored with a template never trained on, each before its twin."""
    known = seqio.TaskRegistry.names()
    sources = {name: seqio.TaskRegistry.get(name).source for name in known}
    ours = [name for name in known if getattr(sources[name], "corpus", None) == corpus]
    return [twin for name in ours if f"{name}_unseen" in ours for twin in (name, f"{name}_unseen")]


def register(corpus: str) -> None:
    """Registers the mixtures of a corpus whose tasks are registered."""
    for name, rate_of in MIXTURES.items():
        rates = [(f"{corpus}_{task}", rate) for task, rate in rate_of.items()]
        seqio.MixtureRegistry.add(f"{corpus}_{name}", rates, mixture_cls=Mixture)
    # The rest is for evaluation only. Which templates cost how much:
    seqio.MixtureRegistry.add(
        f"{corpus}_templates", _with_unseen_twins(corpus), default_rate=1, mixture_cls=Mixture
    )
    next_item = [f"{corpus}_{task}" for task in ("retrieval", "candidates")]
    seqio.MixtureRegistry.add(f"{corpus}_next_item", next_item, default_rate=1, mixture_cls=Mixture)
