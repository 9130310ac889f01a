"""Most popular items first: what a recommender that ignores the user reaches."""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from rec_align.metrics.ranking import NO_ITEM


class Popularity:
    """Ranks items by how often they occur in train interactions.

    In a list, equally popular items are ordered by item index, which carries no order of time or
    user by construction, so the choice between them is neutral. As scores they stay equal, and the
    ranking metric breaks the tie against us.

    Attributes:
      item_counts: [num_items] int, train interactions of each item.
    """

    def __init__(self, item_counts: Sequence[int] | np.ndarray):
        """Sorts the items once.

        Args:
          item_counts: [num_items] int, train interactions of each item.

        Raises:
          ValueError: not one count an item, or a negative count.
        """
        self.item_counts = np.asarray(item_counts)
        if self.item_counts.ndim != 1 or (self.item_counts < 0).any():
            raise ValueError(
                f"item_counts has shape {self.item_counts.shape} and a lowest value of "
                f"{self.item_counts.min(initial=0)}; give [num_items] counts of 0 or more"
            )
        self._order = np.argsort(-self.item_counts.astype(np.int64), kind="stable")

    @classmethod
    def fit(cls, histories: Iterable[Sequence[int] | np.ndarray], num_items: int) -> Self:
        """Counts the items of train histories.

        Args:
          histories: one array of item indices a user, train interactions only.
          num_items: size of the catalogue; items without interactions come last.

        Raises:
          ValueError: an item index outside [0, num_items).

        Example:
          >>> Popularity.fit([[2, 0], [2]], num_items=3).item_counts.tolist()
          [1, 0, 2]
        """
        items = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, histories)])
        items = items.astype(np.int64)
        if items.size and not (items.min() >= 0 and items.max() < num_items):
            raise ValueError(
                f"histories hold item indices from {items.min()} to {items.max()}, which must be "
                f"in [0, num_items) with num_items = {num_items}; give the catalogue's size"
            )
        return cls(np.bincount(items, minlength=num_items))

    def top_k(self, k: int, excluded: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """The k most popular items.

        Args:
          k: how many.
          excluded: item indices to leave out, such as a user's history.

        Returns:
          [k] int64, best first; -1 where the catalogue has no more items.

        Example:
          >>> popularity = Popularity([5, 9, 9])
          >>> popularity.top_k(2).tolist(), popularity.top_k(3, excluded=[1]).tolist()
          ([1, 2], [2, 0, -1])
        """
        excluded = np.unique(np.asarray([] if excluded is None else excluded))
        head = self._order[: k + excluded.size]  # enough even if all excluded items are popular
        kept = head[~np.isin(head, excluded)][:k]
        return np.pad(kept, (0, k - kept.size), constant_values=NO_ITEM)

    def scores(self, item_indices: np.ndarray) -> np.ndarray:
        """Counts of candidates as scores.

        Args:
          item_indices: [...] int, -1 = padding.

        Returns:
          [...] float64, -inf for padding.

        Raises:
          ValueError: an item index beyond the catalogue.

        Example:
          >>> Popularity([5, 9]).scores(np.array([1, 0, -1])).tolist()
          [9.0, 5.0, -inf]
        """
        item_indices = np.asarray(item_indices, dtype=np.int64)
        if item_indices.max(initial=0) >= len(self.item_counts):
            raise ValueError(
                f"item_indices holds {item_indices.max()}, beyond the {len(self.item_counts)} "
                "items of the catalogue; fit with the catalogue's size as num_items"
            )
        return np.where(item_indices < 0, -np.inf, self.item_counts[item_indices])
