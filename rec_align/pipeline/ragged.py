"""Steps on many examples at once: the cost of a TensorFlow operation is shared by a batch."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

Batch = dict[str, tf.Tensor | tf.RaggedTensor]

# More gains little, and is waited for when a dataset is opened.
BATCH_SIZE = 32


def map_batches(dataset: tf.data.Dataset, function: Callable[..., Batch]) -> tf.data.Dataset:
    """The examples as `function` leaves them; their order stays.

    Steps that follow one another hand on batches: the examples between them are never made.

    Args:
      dataset: examples.
      function: of a batch of examples, in which features of varying length are ragged
        [batch, (length)]; returns a batch, of as many examples or not.

    Returns:
      Examples.
    """
    batches = getattr(dataset, "batches", None)
    if batches is None:
        batches = dataset.ragged_batch(BATCH_SIZE)
    # AutoGraph would find nothing to convert in our steps, and take a third of what tracing takes.
    function = tf.autograph.experimental.do_not_convert(function)
    batches = batches.map(function, num_parallel_calls=tf.data.AUTOTUNE)
    # `unbatch` calls features ragged that were, as parts of a batch; as examples they are tensors.
    examples = batches.unbatch().map(lambda example: example, synchronous=True)
    examples.batches = batches
    return examples


def as_ragged(rows: tf.Tensor | tf.RaggedTensor) -> tf.RaggedTensor:
    """[batch, (length)], also of a feature that has one length in all examples."""
    return rows if isinstance(rows, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(rows)


def from_splits(values: tf.Tensor, splits: tf.Tensor) -> tf.RaggedTensor:
    """[n] values and [batch + 1] splits -> [batch, (length)]."""
    splits = tf.cast(splits, tf.int64)  # as the batches of a dataset have them
    return tf.RaggedTensor.from_row_splits(tf.ensure_shape(values, [None]), splits, validate=False)


def slices(rows: tf.RaggedTensor, begins: tf.Tensor, ends: tf.Tensor) -> tf.RaggedTensor:
    """`row[begin:end]` of each row: [batch, (n)], [batch] int32, [batch] int32 -> [batch, (m)]."""
    starts = tf.cast(rows.row_starts(), tf.int32)
    places = tf.ragged.range(starts + begins, starts + ends)
    return from_splits(tf.gather(rows.values, places.values), places.row_splits)


def lengths_of(rows: tf.RaggedTensor) -> tf.Tensor:
    """[batch, (length)] -> [batch] int32."""
    return tf.cast(rows.row_lengths(), tf.int32)


class Rows(NamedTuple):
    """Which of [n] values, laid one row after the other, are in which of [batch] rows.

    What `tf.RaggedTensor` knows as well, in a tenth of the operations.

    Attributes:
      splits: [batch + 1] int32; row b has the values splits[b]:splits[b + 1].
      numbers: [n] int32, the row of each value.
    """

    splits: tf.Tensor
    numbers: tf.Tensor

    @classmethod
    def of(cls, splits: tf.Tensor) -> "Rows":
        """From the splits of a ragged tensor."""
        splits = tf.cast(splits, tf.int32)
        return cls(splits, tf.searchsorted(splits, tf.range(splits[-1]), side="right") - 1)

    @classmethod
    def of_lengths(cls, lengths: tf.Tensor) -> "Rows":
        """From the length of each row: [batch] int32."""
        return cls.of(tf.concat([[0], tf.cumsum(lengths)], 0))

    @property
    def lengths(self) -> tf.Tensor:
        """How many values each row has: [batch] int32."""
        return self.splits[1:] - self.splits[:-1]

    @property
    def positions(self) -> tf.Tensor:
        """The place of each value in its row: [n] int32."""
        return tf.range(tf.size(self.numbers)) - tf.gather(self.splits, self.numbers)

    def sums(self, values: tf.Tensor) -> tf.Tensor:
        """The sum of each row: [n] -> [batch]."""
        return tf.math.unsorted_segment_sum(values, self.numbers, tf.size(self.splits) - 1)

    def maxima(self, values: tf.Tensor) -> tf.Tensor:
        """The greatest value of each row, the least int32 where it has none: [n] -> [batch]."""
        return tf.math.unsorted_segment_max(values, self.numbers, tf.size(self.splits) - 1)

    def running_sums(self, values: tf.Tensor) -> tf.Tensor:
        """The sums in each row up to each value, that one included: [n] -> [n]."""
        sums = tf.concat([[0], tf.cumsum(values)], 0)
        return sums[1:] - tf.gather(sums, tf.gather(self.splits, self.numbers))


def only(batch: Batch, wanted: tf.Tensor) -> Batch:
    """The examples where `wanted` [batch] bool is True."""
    numbers = tf.where(wanted)[:, 0]
    return {name: tf.gather(values, numbers) for name, values in batch.items()}
