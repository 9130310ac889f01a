"""Steps on many examples at once: the cost of a TensorFlow operation is shared by a batch."""

from collections.abc import Callable

import tensorflow as tf

Batch = dict[str, tf.Tensor | tf.RaggedTensor]

# More gains little, and is waited for when a dataset is opened.
BATCH_SIZE = 32


def map_batches(dataset: tf.data.Dataset, function: Callable[[Batch], Batch]) -> tf.data.Dataset:
    """The examples, each as `function` leaves it; their order stays.

    Args:
      dataset: examples.
      function: of a batch of examples, in which features of varying length are ragged
        [batch, (length)]; returns a batch of as many.

    Returns:
      Examples.
    """
    mapped = dataset.ragged_batch(BATCH_SIZE).map(function, num_parallel_calls=tf.data.AUTOTUNE)
    # `unbatch` calls features ragged that were, as parts of a batch; as examples they are tensors.
    return mapped.unbatch().map(lambda example: example)


def as_ragged(rows: tf.Tensor | tf.RaggedTensor) -> tf.RaggedTensor:
    """[batch, (length)], also of a feature that has one length in all examples."""
    return rows if isinstance(rows, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(rows)
