"""Seeds: one pair of integers an example, from which every draw of its sampling follows.

`seqio.map_over_dataset` repeats its seeds when a dataset is repeated from outside, which would
freeze windows, masks and negatives. So its pair is mixed with a stream that is fresh in every pass
and still fixed by the seed given to `get_dataset`.
"""

import zlib

import seqio
import tensorflow as tf

from rec_align.pipeline.sources import is_train

# What a draw is for. Two draws of one example never share a number.
# SPANS comes last: it also takes the number after its own.
TEMPLATE, WINDOW, NEGATIVES, ORDER, MASK, SPANS = range(6)
NUM_PURPOSES = 16

_FRESH_STREAM_SEED = 20_240_400


def fold(seed: tf.Tensor, purpose: int | tf.Tensor) -> tf.Tensor:
    """A seed of its own for one purpose: [2] int32 -> [2] int32."""
    return seed + tf.stack([0, purpose])


@seqio.map_over_dataset(num_seeds=1)
def _attach_seqio_seed(example, seed):
    return example | {"seed": tf.cast(tf.stack(seed), tf.int32)}


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

    def fixed(example):
        return example | {"seed": tf.stack([tf.cast(example["user_index"], tf.int32), salt])}

    def mixed(example, numbers):
        salted = tf.bitwise.bitwise_xor(example["seed"], tf.constant([0, salt]))
        return example | {"seed": tf.bitwise.bitwise_xor(salted, tf.cast(numbers, tf.int32))}

    if not is_train(dataset):
        return dataset.map(fixed, num_parallel_calls=tf.data.AUTOTUNE)
    fresh = tf.data.Dataset.random(_FRESH_STREAM_SEED, rerandomize_each_iteration=True).batch(2)
    return tf.data.Dataset.zip((_attach_seqio_seed(dataset), fresh)).map(
        mixed, num_parallel_calls=tf.data.AUTOTUNE
    )
