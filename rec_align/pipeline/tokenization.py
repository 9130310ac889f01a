"""Tokenization: parts -> tokens and blocks, cut to length at whole items.

Parts are cut at spaces, and the public T5 vocabulary has no piece that spans one, so there the
tokens of the parts are the tokens of the whole text. A corpus's own vocabulary may have such
pieces ('Toy Story'); then the parts decide, and an item is written by the same tokens wherever it
stands.
"""

from collections.abc import Mapping

import seqio
import tensorflow as tf
import tensorflow_text as tf_text

from rec_align.pipeline.vocabulary import EOS_ID

Example = dict[str, tf.Tensor]
_NO_LIMIT = 2**31 - 1
_PART_SUFFIXES = ("_parts", "_blocks", "_items")


def _fit_history(lengths: tf.Tensor, items: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """Which parts stay when the oldest items are cut until `limit` tokens are left: [n] bool.

    Example: lengths 3 2 2 2, items 0 1 2 3, limit 7 -> True False True True.
    """
    excess = tf.reduce_sum(lengths) - limit
    history_lengths = tf.where(items > 0, lengths, 0)
    enough = (items > 0) & (tf.cumsum(history_lengths) >= excess)
    last_cut = tf.reduce_min(tf.where(enough, items, _NO_LIMIT))
    return (items == 0) | (excess <= 0) | (items > last_cut)


def _fit_targets(lengths: tf.Tensor, alive: tf.Tensor, limit: int) -> tf.Tensor:
    """Which targets stay: the newest that fit, always the last one: [m] bool."""
    newest_first = tf.cumsum(tf.where(alive, lengths, 0), reverse=True)
    size = tf.size(lengths)
    return (alive & (newest_first <= limit)) | (tf.range(size) == size - 1)


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
    model = output_features["inputs"].vocabulary.sp_model
    # An EOS after every part: targets keep it, inputs leave it out.
    tokenizer = tf_text.SentencepieceTokenizer(model=model, out_type=tf.int32, add_eos=True)
    limits = sequence_length or {}
    inputs_limit = limits.get("inputs") or _NO_LIMIT
    targets_limit = limits.get("targets") or _NO_LIMIT

    def tokenize(example: Example) -> Example:
        size = tf.size(example["inputs_parts"])
        parts = tf.concat([example["inputs_parts"], example["targets_parts"]], 0)
        tokens = tokenizer.tokenize(parts)
        splits = tf.cast(tokens.row_splits, tf.int32)
        starts, ends = splits[:-1], splits[1:]

        blocks, items = example["inputs_part_blocks"], example["inputs_part_items"]
        is_plain = tf.cast(tf.reduce_max(blocks) == 0, tf.int32)
        room = inputs_limit - is_plain
        begin, end = starts[:size], ends[:size] - 1
        kept = _fit_history(end - begin, items, room)
        lengths = tf.where(kept, end - begin, 0)
        inputs = tf.gather(tokens.values, tf.ragged.range(begin, begin + lengths).values)[:room]
        inputs_blocks = tf.repeat(blocks, lengths)[:room]
        inputs = tf.concat([inputs, tf.fill([is_plain], EOS_ID)], 0)
        inputs_blocks = tf.concat([inputs_blocks, tf.zeros([is_plain], tf.int32)], 0)

        target_blocks = example["targets_part_blocks"]
        last_cut_block = tf.reduce_max(tf.where(kept, -1, blocks))
        begin, end = starts[size:], ends[size:]
        answered = _fit_targets(end - begin, target_blocks > last_cut_block, targets_limit)
        lengths = tf.where(answered, end - begin, 0)
        targets = tf.gather(tokens.values, tf.ragged.range(begin, begin + lengths).values)
        # A single target longer than the limit loses its tail, not its EOS.
        targets = tf.concat([targets[:-1][: targets_limit - 1], [EOS_ID]], 0)
        targets_blocks = tf.repeat(target_blocks, lengths)[:targets_limit]
        num_tokens = tf.size(tokens.values) - size + is_plain
        num_cut = tf.math.count_nonzero(~kept, dtype=tf.int32) + tf.math.count_nonzero(
            ~answered, dtype=tf.int32
        )
        passed_on = {k: v for k, v in example.items() if not k.endswith(_PART_SUFFIXES)}
        return passed_on | {
            "inputs": inputs,
            "inputs_blocks": inputs_blocks,
            "targets": targets,
            "targets_blocks": targets_blocks,
            "num_cut_parts": num_cut,
            "num_cut_tokens": num_tokens - tf.size(inputs) - tf.size(targets),
        }

    return dataset.map(tokenize, num_parallel_calls=tf.data.AUTOTUNE)
