"""Registers a task whose answer is asked for, beside its twin with a template never trained on."""

import functools
from collections.abc import Callable, Sequence

import seqio

from rec_align.pipeline import seeds, templates, tokenization, user_naming
from rec_align.pipeline.features import SHUFFLE_BUFFER_SIZE, output_features
from rec_align.pipeline.sources import HELD_OUT_SPLITS, SPLITS
from rec_align.prompts import Family


def add_with_unseen(
    corpus: str,
    family: Family,
    source_of: Callable[..., seqio.DataSource],
    steps: Sequence[Callable],
    *,
    postprocess_fn: Callable | None = None,
    metric_fns: Sequence[Callable],
) -> None:
    """Adds `{corpus}_{family}`, and `{corpus}_{family}_unseen` for evaluation.

    Args:
      corpus: the corpus's name.
      family: the templates; its name is the task's.
      source_of: makes the source, given `splits`.
      steps: preprocessors between the seed and the template, which need the fields it has.
      postprocess_fn: as of `seqio.Task`.
      metric_fns: likewise.
    """
    name = f"{corpus}_{family.name}"
    for task, splits, unseen in (
        (name, SPLITS, False),
        (f"{name}_unseen", HELD_OUT_SPLITS, True),
    ):
        seqio.TaskRegistry.add(
            task,
            source=source_of(splits=splits),
            preprocessors=[
                functools.partial(seeds.attach_seed, family=family.name),
                *steps,
                functools.partial(templates.fill_template, family=family, unseen=unseen),
                user_naming.name_users,
                tokenization.tokenize_parts,
            ],
            output_features=output_features(corpus),
            shuffle_buffer_size=SHUFFLE_BUFFER_SIZE,
            postprocess_fn=postprocess_fn,
            metric_fns=list(metric_fns),
        )
