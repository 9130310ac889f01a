"""Mean ratings as predictions: of all ratings, of the user's, of the item's.

Predictions are not rounded. A rating that is NaN is no rating; a user or item without ratings in
train gets the mean of all.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

Histories = Mapping[int, tuple[Sequence[int], Sequence[float]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratings:
    """Train ratings, one entry of each array a rating."""

    user_index: np.ndarray
    item_index: np.ndarray
    rating: np.ndarray


def flatten(histories: Histories) -> Ratings:
    """The rated interactions of all users; a user's items and ratings must be of one length."""
    users, items, ratings = [], [], []
    for user_index, (item_indices, values) in histories.items():
        if len(item_indices) != len(values):
            raise ValueError(
                f"histories[{user_index}] has {len(item_indices)} items and {len(values)} ratings; "
                "give one rating an item, NaN where there is none"
            )
        users.append(np.full(len(values), user_index, dtype=np.int64))
        items.append(np.asarray(item_indices, dtype=np.int64))
        ratings.append(np.asarray(values, dtype=np.float64))
    rating = np.concatenate([np.zeros(0), *ratings])
    rated = ~np.isnan(rating)
    if not rated.any():
        raise ValueError(
            f"histories of {len(histories)} users hold no rating; a mean needs at least one"
        )
    return Ratings(
        user_index=np.concatenate(users)[rated],
        item_index=np.concatenate(items)[rated],
        rating=rating[rated],
    )


def _means_by_key(keys: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """[max key + 1] mean rating of each key; a key without ratings has the mean of all."""
    counts = np.bincount(keys)
    sums = np.bincount(keys, weights=ratings)
    return np.where(counts > 0, sums / np.maximum(counts, 1), ratings.mean())


def _look_up(means: np.ndarray, keys: np.ndarray, otherwise: float) -> np.ndarray:
    """Means of keys [n]; `otherwise` for a key beyond those of train."""
    keys = np.asarray(keys, dtype=np.int64)
    known = (keys >= 0) & (keys < len(means))
    return np.where(known, means[np.where(known, keys, 0)], otherwise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlobalMean:
    """The mean of all train ratings for every user and item.

    Attributes:
      mean: on the scale of the train ratings.
    """

    mean: float

    @classmethod
    def fit(cls, histories: Histories) -> Self:
        """From user index -> (item indices [h], ratings [h], NaN = not rated) of train.

        Raises:
          ValueError: there is no rating, or a user's arrays differ in length.
        """
        return cls(mean=float(flatten(histories).rating.mean()))

    def predict(self, user_index: np.ndarray, item_index: np.ndarray) -> np.ndarray:
        """[n] float64 for user and item indices [n].

        Example:
          >>> GlobalMean.fit({0: ([5, 6], [4.0, 1.0])}).predict([0, 9], [5, 5]).tolist()
          [2.5, 2.5]
        """
        return np.full(len(user_index), self.mean)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _MeanByKey:
    """The mean of the train ratings that share a key; a subclass says which.

    Attributes:
      means: [highest key + 1] float, on the scale of the train ratings.
      global_mean: float, for a key without train ratings.
    """

    means: np.ndarray
    global_mean: float

    @staticmethod
    def _key(user_index: np.ndarray, item_index: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @classmethod
    def fit(cls, histories: Histories) -> Self:
        """See `GlobalMean.fit`."""
        train = flatten(histories)
        means = _means_by_key(cls._key(train.user_index, train.item_index), train.rating)
        return cls(means=means, global_mean=float(train.rating.mean()))

    def predict(self, user_index: np.ndarray, item_index: np.ndarray) -> np.ndarray:
        """[n] float64 for user and item indices [n]."""
        return _look_up(self.means, self._key(user_index, item_index), self.global_mean)


class UserMean(_MeanByKey):
    """The mean of the user's own train ratings.

    Example: user 9 is new.
      >>> UserMean.fit({0: ([5], [4.0]), 1: ([5], [1.0])}).predict([0, 9], [5, 5]).tolist()
      [4.0, 2.5]
    """

    @staticmethod
    def _key(user_index: np.ndarray, item_index: np.ndarray) -> np.ndarray:
        return user_index


class ItemMean(_MeanByKey):
    """The mean of the item's train ratings.

    Example: item 7 is new.
      >>> ItemMean.fit({0: ([5, 6], [4.0, 1.0])}).predict([0, 0], [5, 7]).tolist()
      [4.0, 2.5]
    """

    @staticmethod
    def _key(user_index: np.ndarray, item_index: np.ndarray) -> np.ndarray:
        return item_index
