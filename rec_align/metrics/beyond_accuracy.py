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


def novelty(item_indices: np.ndarray, item_counts: np.ndarray, k: int) -> np.ndarray:
    """Mean self-information of each user's first k items, in bits (Zhou et al. 2010, section 2).

    An item's probability is its share of train interactions, each item counted once more, so that
    one that nobody has is finite.

    Args:
      item_indices: [n, length] int, best first; -1 = no item, left out.
      item_counts: [num_items] int, train interactions of each item.
      k: how many places count.

    Returns:
      [n] float64; 0 for a user without items.

    Example: an item with a quarter of all is worth 2 bits.
      >>> novelty(np.array([[0, -1]]), np.array([0, 2]), k=2).tolist()
      [2.0]
    """
    top = np.asarray(item_indices)[:, :k]
    share = (np.asarray(item_counts) + 1) / (np.sum(item_counts) + len(item_counts))
    is_item = top != NO_ITEM
    bits = np.where(is_item, -np.log2(share[np.where(is_item, top, 0)]), 0)
    return bits.sum(axis=1) / np.maximum(is_item.sum(axis=1), 1)
