"""Seeds: one pair of integers an example, from which every draw of its sampling follows.

`seqio.map_over_dataset` repeats its seeds when a dataset is repeated from outside, which would
freeze windows, masks and negatives. So its pair is mixed with a stream that is fresh in every pass
and still fixed by the seed given to `get_dataset`.
"""

import zlib

import seqio
import tensorflow as tf

from rec_align.pipeline.ragged import Batch, map_batches
from rec_align.pipeline.sources import is_train

# What a draw is for. Two draws of one example never share a number.
# SPANS also takes the number after its own.
TEMPLATE, WINDOW, NEGATIVES, ORDER, MASK, SPANS = range(6)
SHUFFLE, SHARE, TAUGHT = 7, 8, 9
NUM_PURPOSES = 16

_FRESH_STREAM_SEED = 20_240_400


def fold(seed: tf.Tensor, purpose: int | tf.Tensor) -> tf.Tensor:
    """A seed of its own for one purpose: [..., 2] int32 -> [..., 2] int32."""
    return seed + tf.stack([0, purpose])


_LOW_32 = 0xFFFFFFFF


def _philox(odd: tf.Tensor, even: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Philox4x32-10 (Salmon et al. 2011): words 1 3, words 0 2, and key, each [n, 2] int64."""
    factors = tf.constant([0xD2511F53, 0xCD9E8D57], tf.int64)
    weyl = tf.constant([0x9E3779B9, 0xBB67AE85], tf.int64)
    for _ in range(10):
        product = even * factors
        high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(product, 32), _LOW_32)
        low = tf.bitwise.bitwise_and(product, _LOW_32)
        even = tf.bitwise.bitwise_xor(tf.gather(high, [1, 0], axis=1), odd)
        even, odd = tf.bitwise.bitwise_xor(even, key), tf.gather(low, [1, 0], axis=1)
        key = tf.bitwise.bitwise_and(key + weyl, _LOW_32)
    return odd, even


# Traced once for all that draws.
@tf.function(
    input_signature=[tf.TensorSpec([None, 2], tf.int32), *[tf.TensorSpec([None], tf.int32)] * 2],
    autograph=False,
)
def _uniform(seeds: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(seeds, tf.int64)
    signs = tf.bitwise.bitwise_and(tf.bitwise.right_shift(wide, 32), _LOW_32)
    words = tf.bitwise.bitwise_and(wide, _LOW_32)
    key = tf.zeros_like(words) + tf.constant([0x3EC8F720, 0x02461E29], tf.int64)
    odd, even = _philox(signs, words, key)
    # Mixed words 0 1 are the key, 2 3 the upper half of a counter whose lower half is 0.
    zero = tf.zeros_like(even[:, 0])
    key = tf.stack([even[:, 0], odd[:, 0]], axis=1)
    counter = tf.stack([zero, odd[:, 1]], axis=1), tf.stack([zero, even[:, 1]], axis=1)
    _, drawn = _philox(*counter, key)
    span = tf.cast(high - low, tf.int64)
    return low + tf.cast(drawn[:, 0] % tf.maximum(span, 1), tf.int32)


def uniform(
    seeds: tf.Tensor, purpose: int, low: int | tf.Tensor, high: int | tf.Tensor
) -> tf.Tensor:
    """Whole numbers, one a seed: low <= it < high.

    Each is `tf.random.stateless_uniform([], fold(seed, purpose), low, high, tf.int32)`, which takes
    one seed at a time.

    Args:
      seeds: [n, 2] int32.
      purpose: what the draw is for.
      low: [n] int32, or one for all.
      high: [n] int32, or one for all; above `low`.

    Returns:
      [n] int32.
    """
    zeros = tf.zeros_like(seeds[:, 0])
    return _uniform(fold(seeds, purpose), zeros + low, zeros + high)


@seqio.map_over_dataset(num_seeds=1, num_parallel_calls=None)
def _seqio_seeds(number, seed):
    del number
    return seed


def attach_seed(dataset: tf.data.Dataset, *, family: str) -> tf.data.Dataset:
    """Adds `seed` [2] int32 to each example.

    For training: new in each pass over the data, the same for the same `get_dataset(seed=...)`.
    For held-out splits: a function of `user_index` and `family` alone, so that evaluation never
    changes.

    Args:
      dataset: examples of a source.
      family: the task family's name: families of one mixture draw apart.

    Returns:
      The examples with their seeds.
    """
    salt = zlib.crc32(family.encode()) >> 1  # fits int32

    def fixed(batch: Batch) -> Batch:
        users = tf.cast(batch["user_index"], tf.int32)
        return batch | {"seed": tf.stack([users, tf.fill(tf.shape(users), salt)], axis=1)}

    def mixed(batch: Batch, seeds: tuple[tf.Tensor, tf.Tensor], numbers: tf.Tensor) -> Batch:
        seed = tf.bitwise.bitwise_xor(tf.cast(tf.stack(seeds, axis=1), tf.int32), [0, salt])
        return batch | {"seed": tf.bitwise.bitwise_xor(seed, tf.cast(numbers, tf.int32))}

    if not is_train(dataset):
        return map_batches(dataset, fixed)
    own = _seqio_seeds(tf.data.Dataset.counter())
    fresh = tf.data.Dataset.random(_FRESH_STREAM_SEED, rerandomize_each_iteration=True)
    fresh = fresh.batch(2, drop_remainder=True)
    return map_batches(tf.data.Dataset.zip((dataset, own, fresh)), mixed)
