"""Area under the ROC curve: how well scores tell two kinds of users' answers apart.

It is the share of pairs of a positive and a negative example in which the positive one has the
higher score, equal scores counted as half (Mann and Whitney 1947); 0.5 is chance. Computed from the
counts of both kinds at each distinct score, so its cost is that of a sort.
"""

from collections.abc import Sequence

import numpy as np

from rec_align.metrics.bootstrap import LEVEL, NUM_RESAMPLES

_CHUNK_ENTRIES = 2**22  # counts held at once: 32 MiB


def auc(is_positive: Sequence[bool] | np.ndarray, scores: Sequence[float] | np.ndarray) -> float:
    """The area, in 0-1; NaN where all examples are of one kind.

    Args:
      is_positive: [n] bool.
      scores: [n] float, finite, higher = more likely positive.

    Raises:
      ValueError: lengths differ, or a score is not finite.

    Example: of the two pairs one is in order, and one is tied.
      >>> auc([True, False, False], [4.0, 4.0, 3.0])
      0.75
    """
    return float(_areas(*_counts(is_positive, scores)))


def auc_bounds(
    is_positive: Sequence[bool] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap's bounds of the area; draws of one kind only are left out.

    Args:
      is_positive: [n] bool, of both kinds.
      scores: [n] float.
      num_resamples: how many times n examples are drawn.
      level: the share of resamples between the bounds.
      seed: of the draws.

    Raises:
      ValueError: lengths differ, a score is not finite, or all examples are of one kind.
    """
    positives, negatives = _counts(is_positive, scores)
    if not positives.any() or not negatives.any():
        raise ValueError("is_positive has one kind of example only: an area needs both")
    counts = np.concatenate([positives, negatives])
    size = int(counts.sum())
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ENTRIES // len(counts))
    areas = []
    for start in range(0, num_resamples, chunk):
        rows = min(chunk, num_resamples - start)
        drawn = rng.multinomial(size, counts / size, size=rows)
        areas.append(_areas(*np.split(drawn, 2, axis=1)))
    low, high = np.nanquantile(np.concatenate(areas), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _counts(is_positive, scores) -> tuple[np.ndarray, np.ndarray]:
    """How many positives and negatives have each distinct score, rising: [k], [k] int64."""
    is_positive, scores = np.asarray(is_positive, bool), np.asarray(scores, np.float64)
    if is_positive.shape != scores.shape or scores.ndim != 1:
        raise ValueError(
            f"is_positive {is_positive.shape} and scores {scores.shape} do not fit; give one of "
            "each an example"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"scores holds {scores[~np.isfinite(scores)][0]}; give finite ones")
    distinct, places = np.unique(scores, return_inverse=True)
    return tuple(
        np.bincount(places[m], minlength=len(distinct)) for m in (is_positive, ~is_positive)
    )


def _areas(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """[..., k], [..., k] counts by rising score -> [...] areas."""
    lower = np.cumsum(negatives, axis=-1) - negatives
    in_order = (positives * (lower + negatives / 2)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return in_order / (positives.sum(axis=-1) * negatives.sum(axis=-1))
