"""Most popular items first: what a recommender that ignores the user reaches."""

from collections.abc import Callable, Iterable, Sequence
from typing import Self

import numpy as np

from rec_align.baselines import protocol
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
    def fit(
        cls,
        histories: Iterable[Sequence[int] | np.ndarray],
        num_items: int,
        *,
        validation: protocol.HeldOut | None = None,
        seed: int = 0,
        report: Callable[[str], None] = print,
    ) -> Self:
        """Counts the items of train histories; see `protocol.Fit`.

        Args:
          histories: one array of item indices a user, train interactions only.
          num_items: size of the catalogue; items without interactions come last.
          validation: not looked at.
          seed: nothing is drawn.
          report: there is nothing to tell.

        Raises:
          ValueError: an item index outside [0, num_items).

        Example:
          >>> Popularity.fit([[2, 0], [2]], num_items=3).item_counts.tolist()
          [1, 0, 2]
        """
        del validation, seed, report
        _, items = protocol.flatten(histories, num_items)
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

    def score(self, users: np.ndarray, histories: protocol.Histories) -> np.ndarray:
        """Returns the counts for every user: [n, num_items] float32, one row in memory.

        Example:
          >>> Popularity([5, 9]).score([0, 1], [[], []]).tolist()
          [[5.0, 9.0], [5.0, 9.0]]
        """
        del histories
        counts = self.item_counts.astype(np.float32)
        return np.broadcast_to(counts, (len(users), len(counts)))
