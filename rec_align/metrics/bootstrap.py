"""Percentile bootstrap over users: intervals of a metric, and of the difference of two systems.

A user is drawn with replacement, with all their values (Efron and Tibshirani 1993, chapters 13 and
16). Users with equal values are drawn together by one multinomial count, which is the same draw:
the cost grows with the number of distinct values, about 20 for a list of 20, not with the users.

A metric that is the same for all users, such as a hit rate without one hit, has an interval of no
width; with n users and no hit the true rate may still be as high as about 3 / n.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

NUM_RESAMPLES = 1000
LEVEL = 0.95
_CHUNK_ENTRIES = 2**22  # counts held at once: 32 MiB


def resampled_means(
    values: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Means of resampled users.

    Args:
      values: [n, m] float, m values of each user, resampled together.
      num_resamples: r, how many times n users are drawn.
      seed: the same seed and values give the same result.

    Returns:
      [r, m] float64.

    Raises:
      ValueError: no users, another shape, or a value that is not finite.

    Example: two users of equal values leave nothing to chance.
      >>> resampled_means(np.array([[1.0, 3.0], [1.0, 3.0]]), num_resamples=2).tolist()
      [[1.0, 3.0], [1.0, 3.0]]
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"values has shape {values.shape}; give [n, m] with at least one user")
    if not np.isfinite(values).all():
        raise ValueError(
            f"values holds {values[~np.isfinite(values)][0]}; a value a user must be finite: score "
            "a failed user as a miss or an error, don't leave a NaN"
        )
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; give 1 or more (1000 is usual)")
    ordered = values[np.lexsort(values.T)]
    is_first = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    first = np.flatnonzero(is_first)
    distinct, counts = ordered[first], np.diff(np.append(first, len(values)))
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ENTRIES // len(distinct))
    means = []
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        drawn = rng.multinomial(len(values), counts / len(values), size=size)  # [size, distinct]
        means.append(drawn.astype(np.float64) @ distinct / len(values))
    return np.concatenate(means)


def _bounds(resamples: np.ndarray, level: float) -> tuple[float, float]:
    """Both ends of the central `level` part of [r] resampled values."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; give a share between 0 and 1, such as 0.95")
    low, high = np.quantile(resamples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summarise(
    per_user: Mapping[str, Sequence[float] | np.ndarray],
    transforms: Mapping[str, Callable] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, float]:
    """The mean over users of each metric, with its bounds.

    Args:
      per_user: metric name -> [n] float, one value a user, of the same users throughout.
      transforms: metric name -> function of its mean, such as `np.sqrt` for RMSE; it must accept
        an array.
      num_resamples: how many times the users are drawn.
      level: the share of resamples between the bounds.
      seed: of the draws.

    Returns:
      {name: mean, name_low: bound, name_high: bound, ...}, plain floats in the order of `per_user`.

    Raises:
      ValueError: lengths differ, or a value is not finite, or there are no users.

    Example: one slice of users is `{name: values[in_slice] for name, values in per_user.items()}`.
      >>> summarise({"hr@1": [1.0, 1.0]})
      {'hr@1': 1.0, 'hr@1_low': 1.0, 'hr@1_high': 1.0}
    """
    lengths = {name: len(values) for name, values in per_user.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"per_user has values of {lengths} users; all must be of the same users")
    values = np.column_stack(list(per_user.values()))
    resampled = resampled_means(values, num_resamples=num_resamples, seed=seed)
    summary = {}
    for column, name in enumerate(per_user):
        transform = (transforms or {}).get(name, np.asarray)
        low, high = _bounds(transform(resampled[:, column]), level)
        mean = float(transform(np.mean(values[:, column])))
        summary |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How far one system is from another on the same users.

    Attributes:
      difference: metric of ours - metric of theirs.
      low: lower bound of the difference.
      high: upper bound of the difference.
      p_value: two-sided, of "no difference"; never below 2 / (resamples + 1).
      num_users: how many users both were scored on.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_users: int


def paired_difference(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    transform: Callable = np.asarray,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> PairedDifference:
    """Difference of two systems' metrics, each resample drawing the same users for both.

    The p-value is twice the smaller share of resamples on either side of zero, the resamples with
    no difference counted on both, plus one of each as if the data were drawn once more.

    Args:
      ours: [n] float, one value a user.
      theirs: [n] float, the same users in the same order.
      transform: function of the mean, `np.sqrt` for RMSE from squared errors.
      num_resamples: how many times the users are drawn.
      level: the share of resamples between the bounds.
      seed: of the draws.

    Returns:
      The difference, its bounds and its p-value.

    Raises:
      ValueError: lengths differ, or a value is not finite, or there are no users.

    Example: equal systems.
      >>> paired_difference([1.0, 0.0], [1.0, 0.0]).p_value
      1.0
    """
    if len(ours) != len(theirs):
        raise ValueError(
            f"ours has {len(ours)} users and theirs {len(theirs)}; score both systems on the same "
            "users in the same order"
        )
    pairs = np.column_stack([ours, theirs])
    resampled = transform(resampled_means(pairs, num_resamples=num_resamples, seed=seed))
    # Rounded, so that a difference in the last bit of two equal sums is no difference.
    differences = np.round(resampled[:, 0] - resampled[:, 1], 12)
    low, high = _bounds(differences, level)
    tail = 1 + min((differences <= 0).sum(), (differences >= 0).sum())
    means = transform(pairs.mean(axis=0))
    return PairedDifference(
        difference=float(means[0] - means[1]),
        low=low,
        high=high,
        p_value=float(min(1.0, 2 * tail / (num_resamples + 1))),
        num_users=len(pairs),
    )
