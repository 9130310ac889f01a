"""Leave-one-out: each user's last interaction is the test target, the one before it validation.

The protocol of SASRec, P5 and the papers after them. A user with fewer than `MIN_FOR_TARGETS`
interactions has nothing to hold out and is in train only.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from etils import epath

from rec_align.data import by_part

SPLITS = ("train", "validation", "test")
MIN_FOR_TARGETS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Histories:
    """Every user's interactions in time order, one user after the other.

    Attributes:
      item_indices: int32 [num_interactions].
      ratings: float32 [num_interactions], NaN where missing.
      timestamps: int64 [num_interactions], seconds since 1970.
      offsets: int64 [num_users + 1]; user `u` owns `offsets[u]:offsets[u + 1]`.
    """

    item_indices: np.ndarray
    ratings: np.ndarray
    timestamps: np.ndarray
    offsets: np.ndarray

    @property
    def num_users(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, split: str) -> np.ndarray:
        """Returns int64 [num_users]: how long a prefix of each history is in `split`; 0 is none.

        A prefix of `validation` or `test` ends with the held-out target. A user of 5 interactions
        has 3 in train, 4 in validation and 5 in test; a user of 2 has 2, 0 and 0.
        """
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}: choose one of {', '.join(SPLITS)}")
        total = np.diff(self.offsets)
        held_out = {"train": 2, "validation": 1, "test": 0}[split]
        without_targets = total if split == "train" else np.zeros_like(total)
        return np.where(total >= MIN_FOR_TARGETS, total - held_out, without_targets)

    def split_numbers(self) -> np.ndarray:
        """Returns int8 [num_interactions]: of which of `SPLITS` each interaction is news.

        It is the first of them that has it: a held-out target is in no prefix before its own.
        """
        numbers = np.zeros(len(self.item_indices), np.int8)
        ends = self.offsets[1:][np.diff(self.offsets) >= MIN_FOR_TARGETS]
        numbers[ends - 2], numbers[ends - 1] = 1, 2
        return numbers

    def num_users_in(self, split: str) -> int:
        """Returns how many users have an example in `split`."""
        return int(np.count_nonzero(self.lengths(split)))

    def train_item_counts(self, num_items: int) -> np.ndarray:
        """Returns int64 [num_items]: interactions of each item in the train split."""
        position = np.arange(len(self.item_indices)) - np.repeat(
            self.offsets[:-1], np.diff(self.offsets)
        )
        in_train = position < np.repeat(self.lengths("train"), np.diff(self.offsets))
        return np.bincount(self.item_indices[in_train], minlength=num_items).astype(np.int64)


def to_histories(
    user_indices: np.ndarray,
    item_indices: np.ndarray,
    ticks: np.ndarray,
    ratings: np.ndarray,
    *,
    num_users: int,
    ticks_per_second: int = 1,
    order: np.ndarray | None = None,
) -> Histories:
    """Sorts interactions into histories, by user, then time, then the order they came in.

    Args:
      user_indices: int [num_interactions], 0-based.
      item_indices: int [num_interactions], 0-based.
      ticks: int64 [num_interactions], in 1 / `ticks_per_second` seconds; ordered by at this
        precision, stored in whole seconds.
      ratings: float32 [num_interactions].
      num_users: number of users.
      ticks_per_second: ticks a second.
      order: of `history_order`, where it is known.

    Returns:
      The histories.
    """
    if order is None:
        order = history_order(user_indices, ticks)
    counts = np.bincount(user_indices, minlength=num_users)
    return Histories(
        item_indices=item_indices[order].astype(np.int32),
        ratings=ratings[order].astype(np.float32),
        timestamps=ticks[order].astype(np.int64) // ticks_per_second,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def history_order(user_indices: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """Returns where the interactions of `to_histories` stood before, int64 [num_interactions]."""
    return np.lexsort((ticks, user_indices))  # stable: ties keep the order of the rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class HistoryParts:
    """Every user's history, of so many users that only a part of them is held.

    Attributes:
      files: one for each part, in the order of the users.
      user_counts: int64 [num_parts, 1 + num_splits], users of each part, and how many of them have
        an example in each of `SPLITS`.
      train_item_counts: int64 [num_items], interactions of each item in the train split.
    """

    files: Sequence[epath.Path]
    user_counts: np.ndarray
    train_item_counts: np.ndarray

    @property
    def num_users(self) -> int:
        return int(self.user_counts[:, 0].sum())

    @property
    def num_users_in(self) -> Mapping[str, int]:
        """split -> how many users have an example in it."""
        return dict(zip(SPLITS, self.user_counts[:, 1:].sum(0).tolist(), strict=True))

    def __iter__(self) -> Iterator[Histories]:
        return map(load, self.files)


def save(histories: Histories, path: epath.Path) -> None:
    """Puts histories into a file."""
    with by_part.open_whole(path) as file:
        for field in dataclasses.fields(Histories):
            np.save(file, getattr(histories, field.name))


def load(path: epath.Path) -> Histories:
    """Reads what `save` wrote."""
    with path.open("rb") as file:
        return Histories(**{field.name: np.load(file) for field in dataclasses.fields(Histories)})
