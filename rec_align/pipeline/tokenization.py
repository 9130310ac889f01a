"""Tokenization: parts -> tokens, blocks and entities, cut to length at whole items.

Parts are cut at spaces, and the public T5 vocabulary has no piece that spans one, so there the
tokens of the parts are the tokens of the whole text. A corpus's own vocabulary may have such
pieces ('Toy Story'); then the parts decide, and an item is written by the same tokens wherever it
stands.
"""

import functools
from collections.abc import Mapping, Sequence

import seqio
import tensorflow as tf

from rec_align.pipeline.known_parts import PartTokenizer, open_tokenizer
from rec_align.pipeline.ragged import Batch, Rows, as_ragged, from_splits, map_batches
from rec_align.pipeline.vocabulary import EOS_ID

_NO_LIMIT = 2**31 - 1
_PART_FEATURES = (
    *("inputs_parts", "inputs_part_blocks", "inputs_part_items", "inputs_part_entities"),
    *("targets_parts", "targets_part_blocks"),
)
_PART_SUFFIXES = ("_parts", "_blocks", "_items", "_entities")


def _fit_history(lengths: tf.Tensor, items: tf.Tensor, rows: Rows, limits: tf.Tensor) -> tf.Tensor:
    """Which parts stay when the oldest items are cut until `limits` tokens a row are left.

    Example: one row of lengths 3 2 2 2, items 0 1 2 3, limit 7 -> True False True True.

    Args:
      lengths: [n] int32, tokens of each part.
      items: [n] int32.
      rows: of the parts.
      limits: [batch] int32.

    Returns:
      [n] bool.
    """
    excess = tf.gather(rows.sums(lengths) - limits, rows.numbers)
    history_lengths = tf.where(items > 0, lengths, 0)
    enough = (items > 0) & (rows.running_sums(history_lengths) >= excess)
    last_cut = -rows.maxima(tf.where(enough, -items, -_NO_LIMIT))
    return (items == 0) | (excess <= 0) | (items > tf.gather(last_cut, rows.numbers))


def _fit_targets(lengths: tf.Tensor, alive: tf.Tensor, rows: Rows, limit: int) -> tf.Tensor:
    """Which targets stay: of each row the newest that fit, always the last one: [m] bool."""
    alive_lengths = tf.where(alive, lengths, 0)
    totals = tf.gather(rows.sums(alive_lengths), rows.numbers)
    newest_first = totals - rows.running_sums(alive_lengths) + alive_lengths
    is_last = tf.equal(rows.positions + 1, tf.gather(rows.lengths, rows.numbers))
    return (alive & (newest_first <= limit)) | is_last


def _lay_out(
    tokens: tf.Tensor,
    begins: tf.Tensor,
    lengths: tf.Tensor,
    labels: Sequence[tf.Tensor],
    part_rows: Rows,
    limits: tf.Tensor,
    num_added: tf.Tensor,
) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
    """The tokens of parts as rows, each cut at its limit, some with an EOS added.

    Args:
      tokens: [t] int32.
      begins: [n] int32, where each part's tokens are.
      lengths: [n] int32, how many are taken of each part.
      labels: each [n] int32: what all tokens of a part have, its block for instance.
      part_rows: which parts are in which row.
      limits: [batch] int32.
      num_added: [batch] int32, 1 where an EOS labelled 0 is added, else 0.

    Returns:
      tokens and each label, one row after the other, and the rows' splits, all int32.
    """
    ranges = tf.ragged.range(begins, begins + lengths)
    parts = Rows.of(ranges.row_splits).numbers
    rows = Rows.of_lengths(part_rows.sums(lengths))
    positions = rows.positions
    kept = tf.where(positions < tf.gather(limits, rows.numbers))[:, 0]
    splits = tf.cumsum(tf.minimum(rows.lengths, limits) + num_added)
    splits = tf.concat([[0], splits], 0)
    places = tf.gather(tf.gather(splits, rows.numbers) + positions, kept)[:, None]
    parts = tf.gather(parts, kept)
    size = splits[-1:]
    laid_out = tf.tensor_scatter_nd_update(
        tf.fill(size, EOS_ID), places, tf.gather(tokens, tf.gather(ranges.values, kept))
    )
    labelled = [tf.scatter_nd(places, tf.gather(label, parts), size) for label in labels]
    return laid_out, labelled, splits


def _renumber(entities: tf.Tensor, kept: tf.Tensor, rows: Rows) -> tf.Tensor:
    """The numbers of what is left where whole entities are cut: [n] int32, [n] bool -> [n] int32.

    Example: one row of entities 0 1 1 2 3, the two parts of 1 cut -> 0 0 0 1 2.
    """
    before = tf.where(rows.positions > 0, tf.concat([[0], entities[:-1]], 0), 0)
    begins = kept & (entities > 0) & tf.not_equal(entities, before)
    return tf.where(entities > 0, rows.running_sums(tf.cast(begins, tf.int32)), 0)


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

    Entities are numbered anew where items were cut: 1 is the first that is left.

    Worked example: parts 'Next?' 'A;' 'B;' in blocks 0 1 2, targets 'A' 'B' in blocks 1 2, each
    word one token -> inputs [Next? A; B;], inputs_blocks [0 1 2], inputs_entities [0 1 2], targets
    [A EOS B EOS], targets_blocks [1 1 2 2].

    Args:
      dataset: examples of `fill_template`; without `inputs_part_entities` no part is one.
      sequence_length: limits of `inputs` and `targets` in tokens; None = no limit.
      output_features: of the task; the vocabulary of `inputs` is used.

    Returns:
      The examples with `inputs`, `inputs_blocks`, `inputs_entities`, `targets`, `targets_blocks`
      (int32), and `num_cut_parts`, `num_cut_tokens` (int32): what both sides lost. The parts are
      dropped.
    """
    limits = sequence_length or {}
    write = _writer(
        open_tokenizer(output_features["inputs"].vocabulary),
        limits.get("inputs") or _NO_LIMIT,
        limits.get("targets") or _NO_LIMIT,
    )

    def tokenize(batch: Batch) -> Batch:
        zeros = {"inputs_part_entities": tf.zeros_like(batch["inputs_part_items"])}
        ragged = [as_ragged((zeros | batch)[name]) for name in _PART_FEATURES]
        parts, _, _, _, target_parts, _ = ragged
        written = write(*(r.values for r in ragged), parts.row_splits, target_parts.row_splits)
        passed_on = {k: v for k, v in batch.items() if not k.endswith(_PART_SUFFIXES)}
        return passed_on | {
            "inputs": from_splits(written["inputs"], written["input_splits"]),
            "inputs_blocks": from_splits(written["inputs_blocks"], written["input_splits"]),
            "inputs_entities": from_splits(written["inputs_entities"], written["input_splits"]),
            "targets": from_splits(written["targets"], written["target_splits"]),
            "targets_blocks": from_splits(written["targets_blocks"], written["target_splits"]),
            "num_cut_parts": written["num_cut_parts"],
            "num_cut_tokens": written["num_cut_tokens"],
        }

    return map_batches(dataset, tokenize)


@functools.lru_cache(maxsize=32)
def _writer(tokenizer: PartTokenizer, inputs_limit: int, targets_limit: int):
    """What `tokenize_parts` does to a batch. Traced once for all tasks, for it takes a second.

    Its arguments are the values of `_PART_FEATURES` and the splits of the two kinds of parts.
    """
    strings, numbers = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)
    splits = tf.TensorSpec([None], tf.int64)

    @tf.function(
        input_signature=[strings, *[numbers] * 3, strings, numbers, splits, splits],
        autograph=False,
    )
    def write(
        parts, blocks, items, entities, target_parts, target_blocks, input_splits, target_splits
    ):
        rows, target_rows = Rows.of(input_splits), Rows.of(target_splits)
        size = tf.size(parts)
        tokens, begins, ends = tokenizer.tokenize(tf.concat([parts, target_parts], 0))

        begin, part_lengths = begins[:size], ends[:size] - 1 - begins[:size]
        is_plain = tf.cast(tf.equal(rows.maxima(blocks), 0), tf.int32)
        room = inputs_limit - is_plain
        kept = _fit_history(part_lengths, items, rows, room)
        lengths = tf.where(kept, part_lengths, 0)
        labels = (blocks, _renumber(entities, kept, rows))
        inputs = _lay_out(tokens, begin, lengths, labels, rows, room, is_plain)

        begin, target_lengths = begins[size:], ends[size:] - begins[size:]
        last_cut_block = tf.gather(rows.maxima(tf.where(kept, -1, blocks)), target_rows.numbers)
        alive = target_blocks > last_cut_block
        answered = _fit_targets(target_lengths, alive, target_rows, targets_limit)
        lengths = tf.where(answered, target_lengths, 0)
        most = tf.fill(tf.shape(room), targets_limit)
        targets = _lay_out(
            tokens, begin, lengths, (target_blocks,), target_rows, most, tf.zeros_like(room)
        )
        # A single target longer than the limit loses its tail, not its EOS.
        last = targets[2][1:, None] - 1
        ended = tf.tensor_scatter_nd_update(targets[0], last, tf.fill(tf.shape(room), EOS_ID))

        num_tokens = rows.sums(part_lengths) + is_plain + target_rows.sums(target_lengths)
        num_left = (inputs[2] + targets[2])[1:] - (inputs[2] + targets[2])[:-1]
        return {
            "inputs": inputs[0],
            "inputs_blocks": inputs[1][0],
            "inputs_entities": inputs[1][1],
            "input_splits": inputs[2],
            "targets": ended,
            "targets_blocks": targets[1][0],
            "target_splits": targets[2],
            "num_cut_parts": rows.sums(tf.cast(~kept, tf.int32))
            + target_rows.sums(tf.cast(~answered, tf.int32)),
            "num_cut_tokens": num_tokens - num_left,
        }

    return write
