"""The k-core of an interaction log: the largest part where users and items have at least k rows."""

import numpy as np


def k_core(users: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """Drops users and items with fewer than `k` interactions, again and again, until none is left.

    Args:
      users: int [num_interactions], 0-based codes.
      items: int [num_interactions], 0-based codes.
      k: least number of interactions of a user and of an item; 0 or 1 keeps everything.

    Returns:
      bool [num_interactions], True where the interaction is kept.

    Raises:
      ValueError: `k` is negative.

    Example: with k=2, users [0, 0, 1] and items [0, 1, 0] keep nothing: user 1 falls, then item 0
    has one row, and with it user 0.
    """
    if k < 0:
        raise ValueError(f"k_core is {k}: give 0 (keep all) or more")
    kept = np.arange(len(users))
    while True:
        user_counts = np.bincount(users[kept])
        item_counts = np.bincount(items[kept])
        stays = (user_counts[users[kept]] >= k) & (item_counts[items[kept]] >= k)
        if stays.all():
            break
        kept = kept[stays]
    mask = np.zeros(len(users), bool)
    mask[kept] = True
    return mask
