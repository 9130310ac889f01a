"""What a rating head asks of a task: that its targets are ratings, and how they are written."""

import numpy as np
import seqio

from rec_align.pipeline.templates import families_of
from rec_align.pipeline.vocabulary import EOS_ID
from rec_align.prompts.rating import FAMILY
from rec_align.rating_scale import RATINGS

_USERS_AT_ONCE = 256


def rating_tokens(
    provider: seqio.Task | seqio.Mixture,
) -> tuple[tuple[int, ...], ...] | None:
    """The tokens of "1" to "5" as targets, EOS included; None where other things are asked, too.

    A task asks for ratings where all its templates are of a family called `rating`.
    """
    for task in seqio.get_subtasks(provider):
        if {family.name for family in families_of(task)} != {FAMILY.name}:
            return None
    vocabulary = provider.output_features["targets"].vocabulary
    return tuple((*vocabulary.encode(str(rating)), EOS_ID) for rating in RATINGS)


def first_other_rating(provider: seqio.Task | seqio.Mixture) -> float | None:
    """The first train rating that is no whole number from 1 to 5, which heads cannot be taught.

    Reads the whole train split where all are whole: some seconds for a million ratings.
    """
    for task in seqio.get_subtasks(provider):
        if "train" not in task.splits:
            continue
        dataset = task.source.get_dataset("train", shuffle=False)
        ratings = dataset.map(lambda example: example["ratings"]).ragged_batch(_USERS_AT_ONCE)
        for batch in ratings:
            values = batch.flat_values.numpy()
            others = values[~np.isnan(values) & ~np.isin(values, RATINGS)]
            if len(others):
                return float(others[0])
    return None
