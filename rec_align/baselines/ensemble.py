"""Several baselines as one.

Networks that differ by their seed alone err at different users, which their mean evens out.
"""

from collections.abc import Sequence

import numpy as np

from rec_align.baselines.protocol import Baseline, Histories


class Ensemble:
    """The mean of the scores of baselines of one kind.

    Where these are logits it is the geometric mean of the probabilities, up to a factor.

    Args:
      members: fitted baselines of one catalogue.

    Example:
      >>> from rec_align.baselines.popularity import Popularity
      >>> Ensemble([Popularity([4, 0]), Popularity([0, 2])]).score([0], [[]]).tolist()
      [[2.0, 1.0]]
    """

    def __init__(self, members: Sequence[Baseline]):
        self.members = tuple(members)

    def score(self, users: np.ndarray, histories: Histories) -> np.ndarray:
        """See `protocol.Baseline.score`."""
        return np.mean([member.score(users, histories) for member in self.members], axis=0)
