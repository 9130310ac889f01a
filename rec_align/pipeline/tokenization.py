"""Tokenization: parts -> tokens and blocks, cut to length at whole items.

Parts are cut at spaces, and the public T5 vocabulary has no piece that spans one, so there the
tokens of the parts are the tokens of the whole text. A corpus's own vocabulary may have such
pieces ('Toy Story'); then the parts decide, and an item is written by the same tokens wherever it
stands.
"""

from collections.abc import Mapping

import seqio
import tensorflow as tf

from rec_align.pipeline.known_parts import open_tokenizer
from rec_align.pipeline.ragged import Batch, as_ragged, map_batches
from rec_align.pipeline.vocabulary import EOS_ID

_NO_LIMIT = 2**31 - 1
_PART_FEATURES = (
    *("inputs_parts", "inputs_part_blocks", "inputs_part_items"),
    *("targets_parts", "targets_part_blocks"),
)
_PART_SUFFIXES = ("_parts", "_blocks", "_items")


def _sums(values: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """The sum of each row: [n] int32, laid out as `like.values` -> [batch] int32."""
    return tf.math.unsorted_segment_sum(values, like.value_rowids(), like.nrows())


def _running_sums(values: tf.Tensor, like: tf.RaggedTensor) -> tf.Tensor:
    """The sums in each row up to each value, that one included: [n] -> [n] int32."""
    sums = tf.concat([[0], tf.cumsum(values)], 0)
    return sums[1:] - tf.gather(sums, tf.gather(like.row_starts(), like.value_rowids()))


def _fit_history(lengths: tf.Tensor, items: tf.RaggedTensor, limits: tf.Tensor) -> tf.Tensor:
    """Which parts stay when the oldest items are cut until `limits` tokens a row are left.

    Example: one row of lengths 3 2 2 2, items 0 1 2 3, limit 7 -> True False True True.

    Args:
      lengths: [n] int32, tokens of each part.
      items: [batch, (parts)] int32, with n values.
      limits: [batch] int32.

    Returns:
      [n] bool.
    """
    rows, numbers = items.value_rowids(), items.values
    excess = tf.gather(_sums(lengths, items) - limits, rows)
    history_lengths = tf.where(numbers > 0, lengths, 0)
    enough = (numbers > 0) & (_running_sums(history_lengths, items) >= excess)
    last_cut = tf.math.unsorted_segment_min(
        tf.where(enough, numbers, _NO_LIMIT), rows, items.nrows()
    )
    return (numbers == 0) | (excess <= 0) | (numbers > tf.gather(last_cut, rows))


def _fit_targets(
    lengths: tf.Tensor, alive: tf.Tensor, like: tf.RaggedTensor, limit: int
) -> tf.Tensor:
    """Which targets stay: of each row the newest that fit, always the last one: [m] bool."""
    alive_lengths = tf.where(alive, lengths, 0)
    totals = tf.gather(_sums(alive_lengths, like), like.value_rowids())
    newest_first = totals - _running_sums(alive_lengths, like) + alive_lengths
    is_last = tf.equal(tf.range(tf.size(lengths)), _last_places(like))
    return (alive & (newest_first <= limit)) | is_last


def _last_places(like: tf.RaggedTensor) -> tf.Tensor:
    """For each value the place of the last one of its row: [n] int32."""
    return tf.cast(tf.gather(like.row_limits(), like.value_rowids()), tf.int32) - 1


def _take(
    values: tf.Tensor, lengths: tf.Tensor, like: tf.RaggedTensor, limits: tf.Tensor
) -> tf.RaggedTensor:
    """Values of parts as rows, each cut at its limit.

    Args:
      values: [t], the values of all parts, one after the other.
      lengths: [n] int32, how many are each part's.
      like: [batch, (parts)], which parts are in which row.
      limits: [batch] int32.
    """
    rows = tf.RaggedTensor.from_row_lengths(values, _sums(lengths, like), validate=False)
    return tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(values, _positions(rows) < tf.gather(limits, rows.value_rowids())),
        tf.minimum(tf.cast(rows.row_lengths(), tf.int32), limits),
        validate=False,
    )


def _positions(rows: tf.RaggedTensor) -> tf.Tensor:
    """The place of each value in its row: [n] int32."""
    starts = tf.gather(rows.row_starts(), rows.value_rowids())
    return tf.range(tf.size(rows.values)) - tf.cast(starts, tf.int32)


def tokenize_parts(
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int] | None = None,
    *,
    output_features: Mapping[str, seqio.Feature],
) -> tf.data.Dataset:
    """Tokenizes parts and cuts them to length.

    Inputs: whole history items are cut, oldest first; if prompt and newest item alone are too
    long, the tail goes. Targets that asked about a cut item go with it, then the oldest until the
    rest fit. Each target ends with EOS; inputs do where all their blocks are 0 (plain,
    bidirectional examples).

    Worked example: parts 'Next?' 'A;' 'B;' in blocks 0 1 2, targets 'A' 'B' in blocks 1 2, each
    word one token -> inputs [Next? A; B;], inputs_blocks [0 1 2], targets [A EOS B EOS],
    targets_blocks [1 1 2 2].

    Args:
      dataset: examples of `fill_template`.
      sequence_length: limits of `inputs` and `targets` in tokens; None = no limit.
      output_features: of the task; the vocabulary of `inputs` is used.

    Returns:
      The examples with `inputs`, `inputs_blocks`, `targets`, `targets_blocks` (int32), and
      `num_cut_parts`, `num_cut_tokens` (int32): what both sides lost. The parts are dropped.
    """
    tokenizer = open_tokenizer(output_features["inputs"].vocabulary)
    limits = sequence_length or {}
    inputs_limit = limits.get("inputs") or _NO_LIMIT
    targets_limit = limits.get("targets") or _NO_LIMIT

    def tokenize(batch: Batch) -> Batch:
        ragged = {name: as_ragged(batch[name]) for name in _PART_FEATURES}
        input_parts, target_parts = ragged["inputs_parts"], ragged["targets_parts"]
        blocks = ragged["inputs_part_blocks"].values
        target_blocks = ragged["targets_part_blocks"].values
        size = tf.size(input_parts.values)
        parts = tf.concat([input_parts.values, target_parts.values], 0)
        tokens, begins, ends = tokenizer.tokenize(parts)

        begin, end = begins[:size], ends[:size] - 1
        is_plain = tf.cast(tf.reduce_max(ragged["inputs_part_blocks"], axis=1) == 0, tf.int32)
        room = inputs_limit - is_plain
        kept = _fit_history(end - begin, ragged["inputs_part_items"], room)
        lengths = tf.where(kept, end - begin, 0)
        inputs = tf.gather(tokens, tf.ragged.range(begin, begin + lengths).values)
        inputs = _take(inputs, lengths, input_parts, room)
        inputs_blocks = _take(tf.repeat(blocks, lengths), lengths, input_parts, room)
        ending = tf.RaggedTensor.from_row_lengths(
            tf.fill([tf.reduce_sum(is_plain)], EOS_ID), is_plain, validate=False
        )

        target_begin, target_end = begins[size:], ends[size:]
        last_cut_block = tf.math.unsorted_segment_max(
            tf.where(kept, -1, blocks), input_parts.value_rowids(), input_parts.nrows()
        )
        alive = target_blocks > tf.gather(last_cut_block, target_parts.value_rowids())
        answered = _fit_targets(target_end - target_begin, alive, target_parts, targets_limit)
        target_lengths = tf.where(answered, target_end - target_begin, 0)
        targets = tf.gather(
            tokens, tf.ragged.range(target_begin, target_begin + target_lengths).values
        )
        most = tf.fill([target_parts.nrows()], targets_limit)
        targets = _take(targets, target_lengths, target_parts, most)
        # A single target longer than the limit loses its tail, not its EOS.
        is_last = tf.equal(tf.range(tf.size(targets.values)), _last_places(targets))
        targets = targets.with_values(tf.where(is_last, EOS_ID, targets.values))
        targets_blocks = tf.repeat(target_blocks, target_lengths)

        num_tokens = _sums(end - begin, input_parts) + is_plain
        num_tokens += _sums(target_end - target_begin, target_parts)
        num_cut = _sums(tf.cast(~kept, tf.int32), input_parts)
        num_cut += _sums(tf.cast(~answered, tf.int32), target_parts)
        inputs = tf.concat([inputs, ending], axis=1)
        num_left = tf.cast(inputs.row_lengths() + targets.row_lengths(), tf.int32)
        passed_on = {k: v for k, v in batch.items() if not k.endswith(_PART_SUFFIXES)}
        return passed_on | {
            "inputs": inputs,
            "inputs_blocks": tf.concat([inputs_blocks, tf.zeros_like(ending)], axis=1),
            "targets": targets,
            "targets_blocks": _take(targets_blocks, target_lengths, target_parts, most),
            "num_cut_parts": num_cut,
            "num_cut_tokens": num_tokens - num_left,
        }

    return map_batches(dataset, tokenize)
