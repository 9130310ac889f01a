"""Packing: many examples in one row, so that little of a batch is padding.

SeqIO's own packer keeps one row open and counts tokens by their being non-zero, which block 0
breaks; this one is first-fit over a group of examples, in TensorFlow operations only.
"""

from collections.abc import Mapping

import tensorflow as tf

# Examples placed together; the rows of a group are flushed, full or not, when it ends.
GROUP_SIZE = 512


def first_fit(lengths: tf.Tensor, capacity: tf.Tensor) -> tf.Tensor:
    """Puts each example into the first row that has room for it.

    Example: lengths [[3, 1], [3, 1], [2, 1]], capacity [5, 5] -> rows 0 1 0.

    Args:
      lengths: [n, k] int32, the tokens of each example in each of k features.
      capacity: [k] int32, the room of a row.

    Returns:
      [n] int32, the row of each example; rows are numbered in the order they are opened.
    """
    num_examples = tf.shape(lengths)[0]

    def place(number, free, rows):
        fits = tf.reduce_all(free >= lengths[number], axis=1)
        row = tf.argmax(fits, output_type=tf.int32)
        free = tf.tensor_scatter_nd_sub(free, [[row]], lengths[number][None])
        return number + 1, free, rows.write(number, row)

    free = tf.tile(capacity[None], [num_examples, 1])
    rows = tf.TensorArray(tf.int32, size=num_examples)
    _, _, rows = tf.while_loop(
        lambda number, *_: number < num_examples, place, (0, free, rows), parallel_iterations=1
    )
    return rows.stack()


def _offsets(lengths: tf.Tensor, rows: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Where each example starts in its row: [n] int32; `order` sorts examples by row, stably."""
    sorted_lengths = tf.gather(lengths, order)
    sorted_rows = tf.gather(rows, order)
    starts = tf.cumsum(sorted_lengths, exclusive=True)
    row_starts = tf.math.segment_min(starts, sorted_rows)
    return tf.scatter_nd(
        order[:, None], starts - tf.gather(row_starts, sorted_rows), tf.shape(lengths)
    )


def pack(
    dataset: tf.data.Dataset, feature_lengths: Mapping[str, int], aligned: Mapping[str, str]
) -> tf.data.Dataset:
    """Packs examples into rows.

    Args:
      dataset: examples with each feature [its own length] int32, none longer than a row.
      feature_lengths: length of a row for each token feature.
      aligned: further features that lie beside a token feature: {"inputs_blocks": "inputs"}.

    Returns:
      Rows with each feature padded to its length, and for token features `{name}_segment_ids` (1,
      2, ... in the row, 0 = padding) and `{name}_positions` (counted from 0 in each example).
    """
    names = list(feature_lengths)
    beside = {name: [name, *(k for k, v in aligned.items() if v == name)] for name in names}
    capacity = tf.constant([feature_lengths[name] for name in names], tf.int32)

    def pack_group(group: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        lengths = tf.stack([tf.cast(group[n].row_lengths(), tf.int32) for n in names], axis=1)
        rows = first_fit(lengths, capacity)
        num_rows = tf.reduce_max(rows) + 1
        order = tf.argsort(rows, stable=True)
        ones = tf.ones_like(rows)
        segments = 1 + _offsets(ones, rows, order)
        packed = {}
        for column, name in enumerate(names):
            length = feature_lengths[name]
            counts = lengths[:, column]
            positions = tf.ragged.range(counts).values
            starts = tf.repeat(_offsets(counts, rows, order), counts)
            places = (tf.repeat(rows, counts) * length + starts + positions)[:, None]
            values = {feature: group[feature].values for feature in beside[name]}
            values[f"{name}_segment_ids"] = tf.repeat(segments, counts)
            values[f"{name}_positions"] = positions
            for feature, flat in values.items():
                filled = tf.scatter_nd(places, flat, [num_rows * length])
                packed[feature] = tf.reshape(filled, [num_rows, length])
        return packed

    kept = {feature for features in beside.values() for feature in features}
    dataset = dataset.map(lambda example: {k: v for k, v in example.items() if k in kept})
    return dataset.ragged_batch(GROUP_SIZE).map(pack_group).unbatch()
