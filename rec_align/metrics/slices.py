"""Slices of users by a number, such as the length of their history: about as many users in each."""

from collections.abc import Sequence

import numpy as np


def quantile_slices(
    values: Sequence[int] | np.ndarray, num_slices: int = 4
) -> list[tuple[str, np.ndarray]]:
    """Cuts users where their values allow it nearest to equal parts.

    Users of one value stay together, so a slice may be larger than another, and there may be fewer.

    Args:
      values: [n] int, one a user.
      num_slices: at most.

    Returns:
      [(label, mask [n] bool, True = in the slice)], by rising value; every user is in one.

    Raises:
      ValueError: no users, or no slices.

    Example:
      >>> [(label, mask.sum().item()) for label, mask in quantile_slices([3, 1, 1, 9], 2)]
      [('1', 2), ('3-9', 2)]
    """
    values = np.asarray(values)
    if values.ndim != 1 or not values.size or num_slices < 1:
        raise ValueError(
            f"values has shape {values.shape} and num_slices is {num_slices}; give one value a "
            "user and one slice or more"
        )
    distinct, counts = np.unique(values, return_counts=True)
    ends = counts.cumsum()  # users up to and with each value
    wanted = len(values) * np.arange(1, num_slices) / num_slices
    cuts = {int(np.abs(ends - share).argmin()) for share in wanted} | {len(distinct) - 1}
    slices, first = [], 0
    for last in sorted(cuts):
        low, high = distinct[first], distinct[last]
        label = f"{low:,}" if low == high else f"{low:,}-{high:,}"
        slices.append((label, (values >= low) & (values <= high)))
        first = last + 1
    return slices
