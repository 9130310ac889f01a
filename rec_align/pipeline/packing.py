"""Packing: many examples in one row, so that little of a batch is padding.

SeqIO's own packer keeps one row open and counts tokens by their being non-zero, which block 0
breaks; this one is first-fit over a group of examples, in TensorFlow operations only.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

# Examples placed together; the rows of a group are flushed, full or not, when it ends.
GROUP_SIZE = 512
# Groups placed at the same time: placing goes example by example, and costs per step.
NUM_LANES = 4
_NO_TOKEN = -1


def first_fit(lengths: tf.Tensor, capacity: tf.Tensor) -> tf.Tensor:
    """Puts each example into the first row that has room for it.

    Example: lengths [[3, 1], [3, 1], [2, 1]], capacity [5, 5] -> rows 0 1 0.

    Args:
      lengths: [n, ..., k] int32, the tokens of each example in each of k features; what lies
        between are groups, each with rows of its own.
      capacity: [k] int32, the room of a row.

    Returns:
      [n, ...] int32, the row of each example; rows are numbered in the order they are opened.
    """
    num_examples = tf.shape(lengths)[0]

    def place(number, free, rows):
        needed = lengths[number]
        row = tf.argmax(tf.reduce_all(free >= needed, axis=-1), output_type=tf.int32)
        taken = tf.one_hot(row, num_examples, axis=0, dtype=tf.int32)
        return number + 1, free - taken[..., None] * needed, rows.write(number, row)

    free = tf.zeros_like(lengths) + capacity
    rows = tf.TensorArray(tf.int32, size=num_examples)
    _, _, rows = tf.while_loop(
        lambda number, *_: number < num_examples, place, (0, free, rows), parallel_iterations=1
    )
    return rows.stack()


def _place(lengths: tf.Tensor, capacity: tf.Tensor) -> tf.Tensor:
    """The row of each example among all rows, groups after one another: [n, k] -> [n] int32."""
    num_examples = tf.shape(lengths)[0]
    num_groups = (num_examples + GROUP_SIZE - 1) // GROUP_SIZE
    # Empty examples after the last one fit anywhere.
    missing = num_groups * GROUP_SIZE - num_examples
    filled = tf.pad(lengths, [[0, missing], [0, 0]])
    grouped = tf.reshape(filled, [num_groups, GROUP_SIZE, lengths.shape[1]])
    rows = tf.transpose(first_fit(tf.transpose(grouped, [1, 0, 2]), capacity))
    num_rows = tf.reduce_max(rows, axis=1, keepdims=True) + 1
    rows += tf.cumsum(num_rows, exclusive=True)
    return tf.reshape(rows, [-1])[:num_examples]


def _row_starts(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Sums of the values before each in its row: [n] -> [n] int32; `rows` ascend."""
    starts = tf.cumsum(values, exclusive=True)
    return starts - tf.gather(tf.math.segment_min(starts, rows), rows)


def pack(
    dataset: tf.data.Dataset,
    feature_lengths: Mapping[str, int],
    aligned: Mapping[str, str],
    convert: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]] = dict,
) -> tf.data.Dataset:
    """Packs examples into rows.

    Args:
      dataset: examples with each feature [its own length] int32, none longer than a row.
      feature_lengths: length of a row for each token feature.
      aligned: further features that lie beside a token feature: {"inputs_blocks": "inputs"}.
      convert: what is done to the rows, many at once: each feature [rows, length].

    Returns:
      Rows with each feature padded to its length, and for token features `{name}_segment_ids` (1,
      2, ... in the row, 0 = padding) and `{name}_positions` (counted from 0 in each example).
    """
    names = list(feature_lengths)
    beside = {name: [name, *(k for k, v in aligned.items() if v == name)] for name in names}
    kept = {feature for features in beside.values() for feature in features}
    capacity = tf.constant([feature_lengths[name] for name in names], tf.int32)

    def pack_groups(examples: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        is_token = {name: examples[name] != _NO_TOKEN for name in names}
        counts = {n: tf.math.count_nonzero(is_token[n], 1, dtype=tf.int32) for n in names}
        sizes = tf.stack([counts[name] for name in names], axis=1)
        tf.debugging.assert_less_equal(
            sizes,
            capacity,
            f"an example is longer than a row of {dict(feature_lengths)} tokens: cut it in its "
            "task, as tokenize_parts does, or give longer rows",
        )
        rows = _place(sizes, capacity)
        order = tf.argsort(rows, stable=True)
        rows = tf.gather(rows, order)
        segments = 1 + _row_starts(tf.ones_like(rows), rows)
        packed = {}
        for name in names:
            # The examples in the order of rows, so that a row's tokens lie one after the other.
            where = tf.where(tf.gather(is_token[name], order))
            places = tf.gather(order, where[:, 0])
            values = {
                feature: tf.gather_nd(
                    examples[feature], tf.stack([tf.cast(places, tf.int64), where[:, 1]], axis=1)
                )
                for feature in beside[name]
            }
            values[f"{name}_segment_ids"] = tf.gather(segments, where[:, 0])
            values[f"{name}_positions"] = tf.cast(where[:, 1], tf.int32)
            lengths = tf.math.segment_sum(tf.gather(counts[name], order), rows)
            for feature, flat in values.items():
                ragged = tf.RaggedTensor.from_row_lengths(flat, lengths, validate=False)
                packed[feature] = ragged.to_tensor(shape=[None, feature_lengths[name]])
        return convert(packed)

    dataset = dataset.map(lambda example: {k: v for k, v in example.items() if k in kept})
    # Much cheaper than ragged batches.
    batches = dataset.padded_batch(NUM_LANES * GROUP_SIZE, padding_values=_NO_TOKEN)
    return batches.map(pack_groups, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
