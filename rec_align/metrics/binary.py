"""Answers of yes or no: how often right, and how well their scores part the two."""

from collections.abc import Sequence

import numpy as np


def majority_share(targets: Sequence[bool] | np.ndarray) -> float:
    """The accuracy of always giving the more frequent answer, in 0.5-1.

    Example:
      >>> majority_share([True, False, False, False])
      0.75
    """
    share = float(np.mean(targets))
    return max(share, 1 - share)


def area_under_curve(targets: Sequence[bool] | np.ndarray, scores: Sequence[float]) -> float:
    """Area under the ROC curve: the share of (yes, no) pairs in which yes has the higher score.

    A tie counts half (Mann and Whitney 1947).

    Args:
      targets: [n] bool, both answers among them.
      scores: [n] float, higher where yes is more likely.

    Returns:
      In 0-1; 0.5 for scores that know nothing.

    Raises:
      ValueError: only one of the answers is there.

    Example: yes at 2 and 1, no at 1 and 0: three pairs are right and one is a tie.
      >>> area_under_curve([True, True, False, False], [2.0, 1.0, 1.0, 0.0])
      0.875
    """
    targets = np.asarray(targets, dtype=bool)
    _, places = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    yes, no = np.bincount(places[targets]), np.bincount(places[~targets])
    if not len(yes) or not len(no):
        raise ValueError(
            f"targets has {targets.sum()} yes and {(~targets).sum()} no; an area needs some of both"
        )
    size = places.max() + 1
    yes, no = np.pad(yes, (0, size - len(yes))), np.pad(no, (0, size - len(no)))
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))
