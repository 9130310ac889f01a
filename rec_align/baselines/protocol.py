"""What a retrieval baseline is, and the one way to rank with it.

A baseline is fitted on train histories, gives every item of the catalogue a score for each user,
and is ranked here: exact ranks with ties broken against us, lists, and candidates.

Users are `user_index`, items `item_index`. A user's history is an array of items in time order,
without the target; in test it holds the validation item too.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from rec_align.metrics.ranking import NO_ITEM, rank_among_scores

_USERS_AT_ONCE = 256  # whose scores are held at once

Histories = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Users, what they had, and what came next.

    Attributes:
      users: [n] int, user indices.
      histories: n int arrays of any length, items in time order.
      targets: [n] int, the item after each history.
    """

    users: np.ndarray
    histories: Histories
    targets: np.ndarray

    @classmethod
    def from_examples(cls, examples: Iterable[Mapping[str, Any]]) -> Self:
        """Takes dicts of "user_index" int and "item_indices" [n] int, the target last.

        Example:
          >>> HeldOut.from_examples([{"user_index": 3, "item_indices": [5, 8, 2]}])
          HeldOut(users=array([3]), histories=[array([5, 8])], targets=array([2]))
        """
        examples = list(examples)
        items = [np.asarray(example["item_indices"]) for example in examples]
        return cls(
            users=np.array([int(example["user_index"]) for example in examples], np.int64),
            histories=[row[:-1] for row in items],
            targets=np.array([row[-1] for row in items], np.int64),
        )


class Baseline(Protocol):
    """Scores the catalogue."""

    def score(self, users: np.ndarray, histories: Histories) -> np.ndarray:
        """Returns [n, num_items] float32, higher is better, for n users and their histories.

        It is read, not written to. A user without history may have one score for all items.
        """


class Fit(Protocol):
    """Makes a baseline of train histories."""

    def __call__(
        self,
        histories: Histories,
        num_items: int,
        *,
        validation: HeldOut,
        seed: int = 0,
        report: Callable[[str], None] = print,
    ) -> Baseline:
        """Fits.

        Args:
          histories: train interactions of each user, in order of user index; empty for a user who
            has none.
          num_items: size of the catalogue.
          validation: what early stopping looks at; nothing else is learned of it.
          seed: the same one gives the same scores on the same machine.
          report: takes lines of progress.
        """


def train_histories(examples: Iterable[Mapping[str, Any]]) -> list[np.ndarray]:
    """Histories in order of user index, from dicts of "user_index" and "item_indices" [n] int.

    Example: user 0 has no example.
      >>> train_histories([{"user_index": 1, "item_indices": [7, 4]}])
      [array([], dtype=int64), array([7, 4])]
    """
    by_user = {int(e["user_index"]): np.asarray(e["item_indices"]) for e in examples}
    nothing = np.zeros(0, np.int64)
    return [by_user.get(user, nothing) for user in range(max(by_user, default=-1) + 1)]


def flatten(histories: Iterable, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Histories as pairs of row and item.

    Args:
      histories: arrays of item indices.
      num_items: size of the catalogue.

    Returns:
      rows [total] int64 and items [total] int64.

    Raises:
      ValueError: an item index outside [0, num_items).

    Example:
      >>> rows, items = flatten([[7, 4], [], [7]], num_items=8)
      >>> rows.tolist(), items.tolist()
      ([0, 0, 2], [7, 4, 7])
    """
    arrays = [np.asarray(history) for history in histories]
    items = np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64)
    if items.size and not (items.min() >= 0 and items.max() < num_items):
        raise ValueError(
            f"histories hold item indices from {items.min()} to {items.max()}, which must be "
            f"in [0, num_items) with num_items = {num_items}; give the catalogue's size"
        )
    return np.repeat(np.arange(len(arrays)), [array.size for array in arrays]), items


def ranks(baseline: Baseline, held_out: HeldOut, *, exclude_history: bool = False) -> np.ndarray:
    """The target's rank among all items, ties broken against us.

    Args:
      baseline: a fitted baseline.
      held_out: users, histories and targets.
      exclude_history: whether items of the history take no place.

    Returns:
      [n] int64, 1 = first place; 0 = never, for a target that is itself excluded.

    Example: item 1 is before item 0; excluded, it takes no place.
      >>> from rec_align.baselines.popularity import Popularity
      >>> user = HeldOut.from_examples([{"user_index": 0, "item_indices": [1, 0]}])
      >>> by_count = Popularity([5, 9])
      >>> ranks(by_count, user).tolist(), ranks(by_count, user, exclude_history=True).tolist()
      ([2], [1])
    """
    found = np.zeros(len(held_out.targets), np.int64)
    users, histories = held_out.users, held_out.histories
    for rows, scores in score_all(baseline, users, histories, exclude_history=exclude_history):
        targets = held_out.targets[rows]
        never = scores[np.arange(len(rows)), targets] == -np.inf
        found[rows] = np.where(never, 0, rank_among_scores(scores, targets))
    return found


def recommend(
    baseline: Baseline,
    users: np.ndarray,
    histories: Histories,
    k: int,
    *,
    exclude_history: bool = False,
) -> np.ndarray:
    """The k best items of each user; of equal ones the lowest item index first.

    Returns:
      [n, k] int64, best first; -1 where there are no more items.

    Example:
      >>> from rec_align.baselines.popularity import Popularity
      >>> recommend(Popularity([5, 9]), [0], [[1]], 2, exclude_history=True).tolist()
      [[0, -1]]
    """
    lists = np.full((len(histories), k), NO_ITEM, np.int64)
    for rows, scores in score_all(baseline, users, histories, exclude_history=exclude_history):
        width = min(k, scores.shape[1])
        least = -np.partition(-scores, width - 1, axis=1)[:, width - 1]
        for row, of_row, at_least in zip(rows, scores, least, strict=True):
            items = np.flatnonzero((of_row >= at_least) & (of_row > -np.inf))
            best = items[np.argsort(-of_row[items], kind="stable")[:width]]
            lists[row, : len(best)] = best
    return lists


def score_candidates(
    baseline: Baseline, users: np.ndarray, histories: Histories, candidates: np.ndarray
) -> np.ndarray:
    """Scores of some items of each user.

    Args:
      baseline: a fitted baseline.
      users: [n] int.
      histories: n int arrays.
      candidates: [n, c] int, -1 = padding.

    Returns:
      [n, c] float32, -inf for padding.

    Raises:
      ValueError: an item index beyond the catalogue.

    Example:
      >>> from rec_align.baselines.popularity import Popularity
      >>> score_candidates(Popularity([5, 9]), [0], [[]], [[1, 0, -1]]).tolist()
      [[9.0, 5.0, -inf]]
    """
    candidates = np.asarray(candidates, np.int64)
    found = np.full(candidates.shape, -np.inf, np.float32)
    for rows, scores in score_all(baseline, users, histories):
        of_rows = candidates[rows]
        if of_rows.max(initial=0) >= scores.shape[1]:
            raise ValueError(
                f"candidates holds {of_rows.max()}, beyond the {scores.shape[1]} items of the "
                "catalogue; fit with the catalogue's size as num_items"
            )
        taken = np.take_along_axis(scores, np.maximum(of_rows, 0), axis=1)
        found[rows] = np.where(of_rows < 0, -np.inf, taken)
    return found


def score_all(
    baseline: Baseline, users: np.ndarray, histories: Histories, *, exclude_history: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores of the whole catalogue, for some users at a time; those of short histories come first.

    Args:
      baseline: a fitted baseline.
      users: [n] int.
      histories: n int arrays.
      exclude_history: whether items of the history have -inf.

    Yields:
      Row numbers [m] int, each of 0 to n - 1 once, and their scores [m, num_items] float32.

    Example:
      >>> from rec_align.baselines.popularity import Popularity
      >>> ((rows, scores),) = score_all(Popularity([5, 9]), [0], [[1]], exclude_history=True)
      >>> rows.tolist(), scores.tolist()
      ([0], [[5.0, -inf]])
    """
    users = np.asarray(users)
    # Histories of one length together: a network pads to the longest.
    order = np.argsort([len(history) for history in histories], kind="stable")
    for begin in range(0, len(order), _USERS_AT_ONCE):
        rows = order[begin : begin + _USERS_AT_ONCE]
        of_rows = [np.asarray(histories[row]) for row in rows]
        scores = baseline.score(users[rows], of_rows)
        if exclude_history:
            scores = scores.copy()
            scores[flatten(of_rows, scores.shape[1])] = -np.inf
        yield rows, scores
