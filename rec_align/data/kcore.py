"""The k-core of an interaction log: the largest part where users and items have at least k rows.

Which items are in it says all: a user is in it who has k rows of those items. So a log that lies in
parts, each with all rows of its users, is gone through again and again with only the items in mind.
"""

from collections.abc import Callable, Iterable

import numpy as np

Part = tuple[np.ndarray, np.ndarray]


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
    num_items = int(items.max(initial=-1)) + 1
    return kept_rows(users, items, kept_items(lambda: [(users, items)], num_items, k), k)


def kept_items(parts: Callable[[], Iterable[Part]], num_items: int, k: int) -> np.ndarray:
    """Returns which items are in the k-core of a log in parts.

    Args:
      parts: gives the parts, each time anew: users and items of some interactions. All of a user's
        are in one part; his code need mean nothing in another.
      num_items: number of item codes.
      k: as of `k_core`.

    Returns:
      bool [num_items].

    Raises:
      ValueError: `k` is negative.
    """

    def counts(kept: np.ndarray) -> np.ndarray:
        total = np.zeros(num_items, np.int64)
        for users, items in parts():
            total += item_counts(users, items, kept, k)
        return total

    return shrink(counts, num_items, k)


def shrink(counts: Callable[[np.ndarray], np.ndarray], num_items: int, k: int) -> np.ndarray:
    """Returns which items are in the k-core, by counting the rows of each again and again.

    Args:
      counts: bool [num_items], the items still in it -> int64 [num_items], `item_counts` of the
        whole log.
      num_items: number of item codes.
      k: as of `k_core`.

    Returns:
      bool [num_items].

    Raises:
      ValueError: `k` is negative.
    """
    if k < 0:
        raise ValueError(f"k_core is {k}: give 0 (keep all) or more")
    kept = np.ones(num_items, bool)
    while True:
        fewer = kept & (counts(kept) >= k)
        if (fewer == kept).all():
            return kept
        kept = fewer


def item_counts(users: np.ndarray, items: np.ndarray, kept: np.ndarray, k: int) -> np.ndarray:
    """Returns int64 [num_items], the `kept_rows` of each item; arguments as there."""
    return np.bincount(items[kept_rows(users, items, kept, k)], minlength=len(kept))


def kept_rows(users: np.ndarray, items: np.ndarray, kept: np.ndarray, k: int) -> np.ndarray:
    """Returns which rows have a kept item and a user with at least `k` such rows.

    Args:
      users: int [num_interactions], codes.
      items: int [num_interactions], codes.
      kept: bool [num_items].
      k: as of `k_core`.

    Returns:
      bool [num_interactions].
    """
    rows = kept[items]
    enough = np.bincount(users, weights=rows) >= k
    return rows & enough[users]
