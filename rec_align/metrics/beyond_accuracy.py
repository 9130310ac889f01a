"""Lists apart from their hits: how much of the catalogue they show, and how novel that is."""

import numpy as np

from rec_align.metrics.ranking import NO_ITEM


def coverage(item_indices: np.ndarray, num_items: int, k: int) -> float:
    """The share of the catalogue that stands in anyone's first k places, 0-1.

    Args:
      item_indices: [n, length] int, best first; -1 = no item.
      num_items: size of the catalogue.
      k: how many places count.

    Example: 3 of 4 items are shown.
      >>> coverage(np.array([[0, 1], [2, 0]]), num_items=4, k=2)
      0.75
    """
    shown = np.unique(np.asarray(item_indices)[:, :k])
    return float((shown != NO_ITEM).sum() / num_items)


def novelty(item_indices: np.ndarray, item_counts: np.ndarray, num_users: int, k: int) -> float:
    """Mean self-information of the items in users' first k places, in bits; more is rarer.

    An item's probability is the share of users who have it, one more user having it than counted,
    so that an item that nobody has is finite.

    Args:
      item_indices: [n, length] int, best first; -1 = no item, left out.
      item_counts: [num_items] int, users who have each item in train.
      num_users: in train.
      k: how many places count.

    Returns:
      Bits; NaN without any item.

    Example: of 7 users 1 has item 0, which counts as 2 of 8.
      >>> novelty(np.array([[0, -1]]), np.array([1, 2]), num_users=7, k=2)
      2.0
    """
    top = np.asarray(item_indices)[:, :k]
    share = np.minimum((np.asarray(item_counts) + 1) / (num_users + 1), 1)
    items = top[top != NO_ITEM]
    return float(-np.log2(share[items]).mean()) if items.size else float("nan")
