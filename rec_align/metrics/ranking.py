"""Ranks of one relevant item a user, and the hit rate, NDCG and MRR they give.

A rank is 1 for the best place; 0 or infinity means "not retrieved". With one relevant item the
ideal DCG is 1, so NDCG@k is 1 / log2(1 + rank) within the first k places (Järvelin and Kekäläinen
2002) and recall@k is the hit rate.
"""

from collections.abc import Sequence

import numpy as np

NO_ITEM = -1  # in a list of item indices: an output that is no item, or nothing


def pad_lists(lists: Sequence, fill: float, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Lists of any length as one array, and where it holds list entries.

    Args:
      lists: [n] lists, or one array [n, k].
      fill: what stands after the end of a short list.
      dtype: of the result.

    Returns:
      The array [n, k], k the longest list's length, and a bool mask [n, k], True = list entry.

    Raises:
      ValueError: `dtype` is whole and an entry is not.

    Example:
      >>> pad_lists([[7, 8], [9]], fill=-1, dtype=np.int64)[0].tolist()
      [[7, 8], [9, -1]]
    """
    rows = [np.asarray(row).reshape(-1) for row in lists]
    lengths = np.array([row.size for row in rows], dtype=np.int64)
    present = np.arange(lengths.max(initial=0)) < lengths[:, None]
    padded = np.full(present.shape, fill, dtype=dtype)
    if present.any():
        flat = np.concatenate([row for row in rows if row.size])
        if np.issubdtype(dtype, np.integer) and not np.issubdtype(flat.dtype, np.integer):
            raise ValueError(
                f"lists holds {flat.dtype} entries where whole numbers are needed; cast the lists "
                "to an integer type before the call"
            )
        padded[present] = flat
    return padded, present


def _repeats(item_indices: np.ndarray) -> np.ndarray:
    """Mask [n, k]: True where an item stood earlier in the same list."""
    order = np.argsort(item_indices, axis=1, kind="stable")
    ordered = np.take_along_axis(item_indices, order, axis=1)
    again = np.zeros(item_indices.shape, dtype=bool)
    again[:, 1:] = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    repeats = np.empty_like(again)
    np.put_along_axis(repeats, order, again, axis=1)
    return repeats


def _members(item_indices: np.ndarray, excluded: Sequence) -> np.ndarray:
    """Mask [n, k]: True where an item is in its own row's excluded items."""
    items, given = pad_lists(excluded, NO_ITEM, np.int64)
    if len(items) != len(item_indices):
        raise ValueError(
            f"excluded has {len(items)} entries for {len(item_indices)} lists; give one array of "
            "item indices a user (an empty one for a user without history)"
        )
    # One key for (user, item) makes it a single membership test for all users.
    base = max(item_indices.max(initial=0), items.max(initial=0)) + 1
    row = np.arange(len(items))[:, None] * base
    keys = (row + items)[given & (items >= 0)]
    return np.isin(row + item_indices, keys) & (item_indices >= 0)


def rank_in_list(
    item_indices: Sequence | np.ndarray,
    target: Sequence[int] | np.ndarray,
    excluded: Sequence | None = None,
) -> np.ndarray:
    """The target's place in a generated list.

    An entry -1 is an output that is no item: it takes its place and is a miss. An item that stood
    earlier in the list takes no second place. Excluded items leave the list and the rest moves up;
    a target that is itself excluded cannot be found.

    Args:
      item_indices: [n, k] int, or [n] lists of any length, best first; -1 = no item.
      target: [n] int, the item index to find.
      excluded: [n] int arrays, for instance each user's history; None excludes nothing.

    Returns:
      [n] int64, 1 = first place, 0 = not in the list.

    Raises:
      ValueError: lengths differ, or a target is negative.

    Example: 4 stands third; its place is second because 7 is repeated, and first without 7.
      >>> rank_in_list([[7, 7, 4]], [4]).tolist(), rank_in_list([[7, 7, 4]], [4], [[7]]).tolist()
      ([2], [1])
    """
    items, _ = pad_lists(item_indices, NO_ITEM, np.int64)
    target = np.asarray(target, dtype=np.int64).reshape(-1)
    if len(items) != len(target):
        raise ValueError(
            f"item_indices has {len(items)} lists and target {len(target)} entries; give one of "
            "each a user"
        )
    if (target < 0).any():
        raise ValueError(
            f"target holds {target.min()}; an item index is 0 or more (-1 means 'no item' and can "
            "only stand in a list)"
        )
    takes_place = ~_repeats(items)
    if excluded is not None:
        takes_place &= ~_members(items, excluded)
    found = (items == target[:, None]) & takes_place
    places = np.cumsum(takes_place, axis=1)
    return np.where(found, places, 0).sum(axis=1)


def rank_among_scores(
    scores: np.ndarray,
    target_position: Sequence[int] | np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """The target's place among scored candidates, ties broken against us.

    The rank is 1 + the number of other candidates whose score is not below the target's. So a NaN
    counts against us on either side: a target scored NaN is last, a candidate scored NaN is above.

    Args:
      scores: [n, c] float, higher is better.
      target_position: [n] int in [0, c), the target's column.
      mask: [n, c] bool, True = a candidate; None = all are.

    Returns:
      [n] int64, 1 = first place.

    Raises:
      ValueError: shapes differ, a position is outside the candidates or points at a masked one.

    Example: the second candidate ties with the target, so the target is second.
      >>> rank_among_scores(np.array([[0.5, 0.5, 0.1]]), [0]).tolist()
      [2]
    """
    scores = np.asarray(scores, dtype=np.float64)
    target_position = np.asarray(target_position, dtype=np.int64).reshape(-1)
    mask = np.ones(scores.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if scores.ndim != 2 or mask.shape != scores.shape or len(target_position) != len(scores):
        raise ValueError(
            f"scores {scores.shape}, mask {mask.shape} and target_position "
            f"{target_position.shape} do not fit; give [n, c], [n, c] and [n]"
        )
    is_target = np.arange(scores.shape[1]) == target_position[:, None]
    bad = np.flatnonzero(~(is_target & mask).any(axis=1))
    if bad.size:
        raise ValueError(
            f"target_position is {target_position[bad[0]]} in row {bad[0]}, which is outside "
            f"[0, {scores.shape[1]}) or masked; the target must be one of the candidates"
        )
    target_score = np.take_along_axis(scores, target_position[:, None], axis=1)
    not_below = mask & ~is_target & ~(scores < target_score)
    return 1 + not_below.sum(axis=1)


def _checked(ranks: Sequence | np.ndarray, k: int = 1) -> np.ndarray:
    """Ranks as float64 with misses as infinity."""
    ranks = np.asarray(ranks, dtype=np.float64)
    bad = ~((ranks >= 0) & (ranks == np.floor(ranks)))
    if bad.any():
        raise ValueError(
            f"ranks holds {ranks[bad][0]}; a rank is a whole number from 1, or 0 or infinity for "
            "'not retrieved'"
        )
    if k < 1:
        raise ValueError(f"k is {k}; a cutoff is 1 or more")
    return np.where(ranks == 0, np.inf, ranks)


def hit_rate(ranks: Sequence | np.ndarray, k: int) -> np.ndarray:
    """Hit rate @k of each user, [n] float: 1 when the target is in the first k places, else 0.

    Example: ranks 1, 3 and a miss at k = 2.
      >>> hit_rate([1, 3, 0], k=2).tolist()
      [1.0, 0.0, 0.0]
    """
    return (_checked(ranks, k) <= k).astype(np.float64)


def ndcg(ranks: Sequence | np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of each user for one relevant item, [n] float in 0-1.

    Example: rank 3 gives 1 / log2(4).
      >>> ndcg([1, 3, 11], k=10).tolist()
      [1.0, 0.5, 0.0]
    """
    ranks = _checked(ranks, k)
    return np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)


def reciprocal_rank(ranks: Sequence | np.ndarray) -> np.ndarray:
    """1 / rank of each user, [n] float in 0-1; 0 for a miss. The mean over users is MRR.

    No cutoff: MRR goes as deep as the lists do, so compare it between lists of one length.

    Example:
      >>> reciprocal_rank([1, 4, 0]).tolist()
      [1.0, 0.25, 0.0]
    """
    return 1 / _checked(ranks)


def rank_metrics_per_user(
    ranks: Sequence | np.ndarray,
    hr_at: Sequence[int] = (1, 5, 10, 20),
    ndcg_at: Sequence[int] = (5, 10, 20),
) -> dict[str, np.ndarray]:
    """All rank metrics of each user: {"hr@1": [n], ..., "ndcg@5": [n], ..., "mrr": [n]}.

    Example:
      >>> {name: float(v.mean()) for name, v in rank_metrics_per_user([1, 0], [1], [5]).items()}
      {'hr@1': 0.5, 'ndcg@5': 0.5, 'mrr': 0.5}
    """
    return (
        {f"hr@{k}": hit_rate(ranks, k) for k in hr_at}
        | {f"ndcg@{k}": ndcg(ranks, k) for k in ndcg_at}
        | {"mrr": reciprocal_rank(ranks)}
    )
