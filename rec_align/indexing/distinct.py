"""Tells apart items that got the same codes: one further code where it is needed.

TIGER (Rajput et al. 2023, section 3.1) gives every item such a code; here an item that is alone
with its codes has none (-1), so that its name stays one token shorter. The further code is a level
of its own: where items have different numbers of codes it stands in the last column all the same,
behind -1s that are no codes.
"""

import numpy as np


def distinct(codes: np.ndarray) -> np.ndarray:
    """Adds a level on which items that share all their codes are counted.

    Args:
      codes: [num_items, levels] int32, -1 after an item's last code.

    Returns:
      [num_items, levels + 1] int32, no two rows alike: the last column is 0, 1, 2, ... in order of
      item_index for items of the same codes, -1 for an item that is alone with its.

    Raises:
      ValueError: `codes` has not two dimensions.

    Example: rows (3, 1), (4, 0), (3, 1) become (3, 1, 0), (4, 0, -1), (3, 1, 1).
    """
    _check(codes)
    _, group, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    first_of_group = np.cumsum(counts) - counts
    rank = np.empty(len(codes), np.int32)
    rank[order] = np.arange(len(codes)) - np.repeat(first_of_group, counts)
    return np.column_stack([codes, np.where(counts[group] > 1, rank, -1)]).astype(np.int32)


def further_codes(known_codes: np.ndarray, new_codes: np.ndarray) -> np.ndarray:
    """Adds the further level to items that come later; those already there keep their codes.

    Args:
      known_codes: [num_known, levels + 1] int32, rows unlike each other, as `distinct` or this
        function made them.
      new_codes: [num_new, levels] int32.

    Returns:
      [num_new, levels + 1] int32, rows unlike each other and unlike the known ones. In order of
      `new_codes`: a newcomer whose codes nobody has gets -1; any other the lowest further code that
      nobody of the same codes has. A known item that has no further code has none of these, only
      the sequence without one.

    Raises:
      ValueError: the two do not fit together.

    Example: (3, 1) after (3, 1, -1) becomes (3, 1, 0), and a second one (3, 1, 1).
    """
    _check(known_codes)
    _check(new_codes)
    if known_codes.shape[1] != new_codes.shape[1] + 1:
        raise ValueError(
            f"known_codes has {known_codes.shape[1]} levels and new_codes {new_codes.shape[1]}: "
            "known_codes must have one more, the further code"
        )
    taken: dict[tuple[int, ...], set[int]] = {}
    for *row, further in known_codes.tolist():
        taken.setdefault(tuple(row), set()).add(further)
    column = np.empty(len(new_codes), np.int32)
    lowest = dict.fromkeys(taken, 0)  # none below it is free
    for i, row in enumerate(map(tuple, new_codes.tolist())):
        if row not in taken:
            taken[row], lowest[row], column[i] = {-1}, 0, -1
            continue
        while lowest[row] in taken[row]:
            lowest[row] += 1
        taken[row].add(lowest[row])
        column[i] = lowest[row]
    return np.column_stack([new_codes, column]).astype(np.int32)


def _check(codes: np.ndarray) -> None:
    if np.ndim(codes) != 2:
        raise ValueError(f"codes must be [num_items, levels], got the shape {np.shape(codes)}")
