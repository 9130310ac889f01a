"""Ratings read from generated text, and their errors on the 1-5 scale.

A text that holds no rating is not left out, which would flatter a model that fails on hard users:
it is scored as the middle of the scale, and counted.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from rec_align.metrics.auc import auc, auc_bounds
from rec_align.rating_scale import LIKED, MIDDLE, RATINGS

# The mean over users of "rmse" is a mean of squares; this makes it the metric.
TRANSFORMS = {"rmse": np.sqrt}

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def parse_rating(text: str) -> float:
    """The rating a text states, or NaN.

    Read are whole numbers and decimals from 1 to 5 with spaces around; all else is no rating:
    signs, words, decimal commas, two numbers, values off the scale.

    Example:
      >>> [parse_rating(text) for text in (" 4 ", "3.5", "4 stars", "7")]
      [4.0, 3.5, nan, nan]
    """
    text = text.strip()
    value = float(text) if _NUMBER.fullmatch(text) else np.nan
    return value if RATINGS[0] <= value <= RATINGS[-1] else np.nan


def parse_ratings(texts: Sequence[str]) -> np.ndarray:
    """`parse_rating` of each text, [n] float64; NaN = no rating.

    Example:
      >>> parse_ratings(["5", "good"]).tolist()
      [5.0, nan]
    """
    return np.array([parse_rating(text) for text in texts], dtype=np.float64)


def rating_errors_per_user(
    targets: Sequence[float] | np.ndarray, predictions: Sequence[float] | np.ndarray
) -> dict[str, np.ndarray]:
    """Squared and absolute error of each user; a NaN prediction is taken as 3.0, the middle.

    Args:
      targets: [n] float, true ratings.
      predictions: [n] float, predicted ratings on the same scale; NaN = none was given.

    Returns:
      {"rmse": squared errors [n], "mae": absolute errors [n]}: the mean of each, through
      `TRANSFORMS` where it names one, is the metric of that name.

    Raises:
      ValueError: lengths differ, or a target is NaN or infinite.

    Example: errors 1 and, for the missing prediction, 5 - 3.
      >>> errors = rating_errors_per_user([4.0, 5.0], [3.0, np.nan])
      >>> errors["mae"].tolist(), errors["rmse"].tolist()
      ([1.0, 2.0], [1.0, 4.0])
    """
    targets = np.asarray(targets, dtype=np.float64)
    predictions = np.asarray(predictions, dtype=np.float64)
    if targets.shape != predictions.shape or targets.ndim != 1:
        raise ValueError(
            f"targets {targets.shape} and predictions {predictions.shape} do not fit; give one "
            "rating of each a user"
        )
    if not np.isfinite(targets).all():
        raise ValueError(
            f"targets holds {targets[~np.isfinite(targets)][0]}; leave out users without a rating "
            "before the call"
        )
    error = np.where(np.isnan(predictions), MIDDLE, predictions) - targets
    return {"rmse": error**2, "mae": np.abs(error)}


def liked_auc(
    targets: Sequence[float] | np.ndarray, predictions: Sequence[float] | np.ndarray
) -> Mapping[str, float]:
    """How well predictions tell liked items (rated 4 and more) from others, with its bounds.

    Args:
      targets: [n] float, true ratings.
      predictions: [n] float; NaN is taken as 3.0, the middle.

    Returns:
      {"liked_auc": in 0-1, "liked_auc_low": .., "liked_auc_high": ..}, nothing where all or none
      were liked.

    Example:
      >>> liked_auc([5.0, 4.0, 2.0, 1.0], [4.0, 3.0, 3.0, 2.0])["liked_auc"]
      0.875
    """
    is_liked = np.asarray(targets, dtype=np.float64) >= LIKED
    if is_liked.all() or not is_liked.any():
        return {}
    predictions = np.asarray(predictions, dtype=np.float64)
    scores = np.where(np.isnan(predictions), MIDDLE, predictions)
    low, high = auc_bounds(is_liked, scores)
    return {"liked_auc": auc(is_liked, scores), "liked_auc_low": low, "liked_auc_high": high}


def count_invalid(predictions: Sequence[float] | np.ndarray) -> Mapping[str, float]:
    """How many predictions are NaN, as a number and as a share of all.

    Example:
      >>> count_invalid([3.0, np.nan, np.nan, 1.0])
      {'num_invalid': 2, 'invalid_share': 0.5}
    """
    missing = np.isnan(np.asarray(predictions, dtype=np.float64))
    return {"num_invalid": int(missing.sum()), "invalid_share": float(missing.mean())}
