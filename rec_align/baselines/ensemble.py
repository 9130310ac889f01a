"""Several baselines as one, which scores by the mean of their log-probabilities.

Networks that differ by their seed alone err at different users; their mean is a better ranking
than each of them.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from rec_align.baselines.protocol import Baseline, Histories


class Ensemble:
    """The geometric mean of what baselines expect, whose scores must be logits.

    Args:
      members: fitted baselines of one catalogue.
    """

    def __init__(self, members: Sequence[Baseline]):
        self.members = tuple(members)

    def score(self, users: np.ndarray, histories: Histories) -> np.ndarray:
        """See `protocol.Baseline.score`."""
        return sum(
            log_softmax(member.score(users, histories), axis=1) for member in self.members
        ) / len(self.members)
