"""What a rating head asks of a task: that its targets are ratings, and how they are written."""

import seqio

from rec_align.pipeline.templates import families_of
from rec_align.pipeline.vocabulary import EOS_ID
from rec_align.prompts.rating import FAMILY

_RATINGS = (1, 2, 3, 4, 5)


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
    return tuple((*vocabulary.encode(str(rating)), EOS_ID) for rating in _RATINGS)
