"""A share of the train ratings: the same ones for a model and for the baselines beside it.

What is chosen follows from user and item alone, so it is the same in every pass, for every seed and
in every task, and a smaller share is part of a larger one.
"""

import numpy as np
import tensorflow as tf

from rec_align.pipeline.seeds import SHARE, uniform

_HIGHEST = 2**31 - 1


def check_share(name: str, share: float) -> None:
    """Raises ValueError where a share, an argument called `name`, is not above 0 and at most 1."""
    if not 0 < share <= 1:
        raise ValueError(f"{name}={share!r}: must be above 0 and at most 1")


def chosen_ratings(
    user_index: tf.Tensor | np.ndarray | int, item_indices: tf.Tensor | np.ndarray, share: float
) -> tf.Tensor:
    """Which ratings belong to a share of all.

    Example: `ratings[chosen_ratings(user, items, 0.1).numpy()]` are about a tenth of a user's.

    Args:
      user_index: of all the items, or one for each: [n] integers.
      item_indices: [n] integers.
      share: above 0 and at most 1, that of the ratings chosen.

    Returns:
      [n] bool.

    Raises:
      ValueError: there is no such share.
    """
    check_share("share", share)
    items = tf.cast(item_indices, tf.int32)
    users = tf.zeros_like(items) + tf.cast(user_index, tf.int32)
    drawn = uniform(tf.stack([users, items], axis=1), SHARE, 0, _HIGHEST)
    return drawn < max(round(share * _HIGHEST), 1)
