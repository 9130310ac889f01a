"""Masking: items hidden from a history (`mim`), and spans hidden from its text (`mlm`).

Spans follow T5 (Raffel et al. 2020, arXiv 1910.10683, sections 3.1.4 and 3.3.4): 15 % of the
tokens in spans of 3 on average, each span replaced by one sentinel; the target repeats each
sentinel before what it stood for.
"""

from collections.abc import Callable

import gin
import seqio
import tensorflow as tf

from rec_align.pipeline.phrasing import history_field, item_texts, target_field, written
from rec_align.pipeline.ragged import Batch, as_ragged, map_batches
from rec_align.pipeline.seeds import MASK, SPANS, fold
from rec_align.pipeline.vocabulary import EOS_ID, EXTRA_IDS

Example = dict[str, tf.Tensor]
Features = dict[str, seqio.Feature]


@gin.configurable
def mask_items(
    dataset: tf.data.Dataset,
    *,
    corpus: str,
    masked_share: float = 0.17,
) -> tf.data.Dataset:
    """`history_windows` -> history 'A;' '<extra_id_0>;', target '<extra_id_0> B'.

    Args:
      dataset: examples with `history_item_indices` [h].
      corpus: the corpus's name.
      masked_share: the share of items hidden, in 0-1; at least 1 and at most 100 items.

    Raises:
      ValueError: `masked_share` is not between 0 and 1.
    """
    if not 0 < masked_share < 1:
        raise ValueError(f"mask_items.masked_share={masked_share}: must lie between 0 and 1")
    listed = item_texts(corpus, ";")
    plain = item_texts(corpus)
    sentinels = tf.constant([f"<extra_id_{number}>" for number in range(EXTRA_IDS)])

    def mask(example: Example) -> Example:
        items = example["history_item_indices"]
        size = tf.size(items)
        count = tf.cast(tf.round(masked_share * tf.cast(size, tf.float32)), tf.int32)
        count = tf.clip_by_value(count, 1, EXTRA_IDS)
        scores = tf.random.stateless_uniform([size], fold(example["seed"], MASK))
        hidden = tf.sort(tf.math.top_k(scores, count).indices)
        parts = tf.tensor_scatter_nd_update(
            tf.gather(listed, items), hidden[:, None], sentinels[:count] + ";"
        )
        answers = sentinels[:count] + " " + tf.gather(plain, tf.gather(items, hidden))
        target = tf.strings.reduce_join(answers, separator=" ")[None]
        return example | {"history_parts": parts, "target_parts": target}

    def phrase(batch: Batch) -> Batch:
        target = target_field(as_ragged(batch["target_parts"]))
        return batch | history_field(batch["history_parts"]) | target

    return map_batches(dataset.map(mask), phrase)


def phrase_history(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`history_windows` -> history 'A;' 'B;' in block 1, for `corrupt_spans`; an empty target."""
    listed = item_texts(corpus, ";")

    def phrase(batch: Batch) -> Batch:
        parts = written(listed, batch["history_item_indices"])
        ones = parts.with_values(tf.ones(tf.shape(parts.values), tf.int32))
        nothing = as_ragged(tf.fill([parts.nrows(), 1], ""))
        after = as_ragged(tf.fill([parts.nrows(), 1], 2))
        return batch | history_field(parts, ones) | target_field(nothing, after)

    return map_batches(dataset, phrase)


def _random_segments(num_items: tf.Tensor, num_segments: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Lengths of `num_segments` non-empty runs that make `num_items`: -> [num_segments] int32."""
    scores = tf.random.stateless_uniform([num_items - 1], seed)
    cuts = tf.sort(tf.math.top_k(scores, num_segments - 1).indices) + 1
    edges = tf.concat([[0], cuts, [num_items]], 0)
    return edges[1:] - edges[:-1]


def noise_mask(
    length: tf.Tensor, seed: tf.Tensor, noise_share: float, mean_span: float
) -> tf.Tensor:
    """Which tokens are hidden: [length] bool, starting with a shown one; length >= 2.

    Unlike T5's mask it may end with shown tokens, else a short text would always lose its end.
    """
    num_noise = tf.cast(tf.round(noise_share * tf.cast(length, tf.float32)), tf.int32)
    num_noise = tf.clip_by_value(num_noise, 1, length - 1)
    num_shown = length - num_noise
    num_spans = tf.cast(tf.round(tf.cast(num_noise, tf.float32) / mean_span), tf.int32)
    most = tf.minimum(EXTRA_IDS, tf.minimum(num_noise, num_shown))
    num_spans = tf.clip_by_value(num_spans, 1, most)
    # One more shown run than hidden ones; the last may be empty, so it is drawn one too long.
    shown = _random_segments(num_shown + 1, num_spans + 1, fold(seed, 1))
    hidden = _random_segments(num_noise, num_spans, seed)
    runs = tf.stack([shown[:-1], hidden], axis=1)
    lengths = tf.concat([tf.reshape(runs, [-1]), shown[-1:] - 1], 0)
    return tf.repeat(tf.range(2 * num_spans + 1) % 2 == 1, lengths)


def replace_runs(tokens: tf.Tensor, mask: tf.Tensor, sentinels_end: int) -> tf.Tensor:
    """Each run of masked tokens becomes one sentinel, counted down from where they end.

    Example: sentinels_end 100, tokens 5 6 7 8, mask 0 1 1 0 -> 5 99 8.
    """
    first = mask & ~tf.concat([[False], mask[:-1]], 0)
    sentinels = sentinels_end - tf.cumsum(tf.cast(first, tf.int32))
    return tf.boolean_mask(tf.where(first, sentinels, tokens), _is_shown(mask))


def _is_shown(mask: tf.Tensor) -> tf.Tensor:
    """Where a token, or the sentinel for a run of masked ones, is left: [n] bool -> [n] bool."""
    return ~mask | ~tf.concat([[False], mask[:-1]], 0)


def _without_gaps(entities: tf.Tensor) -> tf.Tensor:
    """Numbers what is left from 1 on: [n] int32, ascending but for 0.

    Example: 0 2 2 0 5 -> 0 1 1 0 2.
    """
    present = tf.unique(tf.boolean_mask(entities, entities > 0)).y
    return tf.where(entities > 0, tf.searchsorted(present, entities) + 1, 0)


def open_blanks(
    sequence_length: dict[str, int] | None, output_features: Features
) -> Callable[[Example, tf.Tensor], Example]:
    """What makes plain examples of tokenised ones whose text is to be hidden in part.

    Args:
      sequence_length: limits of `inputs` and `targets`, or None.
      output_features: of the task.

    Returns:
      A function of an example and a mask. The mask, [t] bool, says which of the tokens with a block
      above 0 are hidden, at least one but not the first: each run becomes a sentinel, and the
      target repeats it before the run. Both sides are EOS-ended, their blocks 0 and 1; a sentinel
      is of the entity where its run begins. `inputs_pretokenized` is the inputs' text, and
      `targets_pretokenized` that of the targets before they are cut.
    """
    vocabulary = output_features["inputs"].vocabulary
    sentinels_end = vocabulary.sentinels_end
    limits = sequence_length or {}

    def end(tokens: tf.Tensor, name: str) -> tf.Tensor:
        limit = limits.get(name)
        kept = tokens if limit is None else tokens[: limit - 1]
        return tf.concat([kept, [EOS_ID]], 0)

    def put_blanks(example: Example, mask: tf.Tensor) -> Example:
        tokens, is_text = example["inputs"], tf.cast(example["inputs_blocks"] > 0, tf.int32)
        begin = tf.argmax(is_text, output_type=tf.int32)
        stop = begin + tf.reduce_sum(is_text)
        text = tokens[begin:stop]
        shown = replace_runs(text, mask, sentinels_end)
        inputs = end(tf.concat([tokens[:begin], shown, tokens[stop:]], 0), "inputs")
        numbers = example.get("inputs_entities", tf.zeros_like(tokens))
        numbers_shown = tf.boolean_mask(numbers[begin:stop], _is_shown(mask))
        entities = _without_gaps(tf.concat([numbers[:begin], numbers_shown, numbers[stop:]], 0))
        size = tf.reduce_max(tf.where(mask)) + 1  # nothing is asked for after the last span
        answers = replace_runs(text[:size], ~mask[:size], sentinels_end)
        targets = end(answers, "targets")
        return example | {
            "inputs": inputs,
            "inputs_blocks": tf.zeros_like(inputs),
            "inputs_entities": tf.concat([entities[: tf.size(inputs) - 1], [0]], 0),
            "inputs_pretokenized": vocabulary.decode_tf(inputs[:-1]),
            "targets": targets,
            "targets_blocks": tf.ones_like(targets),
            "targets_pretokenized": vocabulary.decode_tf(answers),
        }

    return put_blanks


@gin.configurable
def corrupt_spans(
    dataset: tf.data.Dataset,
    sequence_length: dict[str, int] | None,
    output_features: Features,
    *,
    noise_share: float = 0.15,
    mean_span: float = 3.0,
) -> tf.data.Dataset:
    """T5's span corruption of the tokens in block 1; the prompt around them stays.

    Args:
      dataset: tokenised examples.
      sequence_length: limits of `inputs` and `targets`, or None.
      output_features: of the task.
      noise_share: share of tokens hidden, in 0-1.
      mean_span: mean length of a hidden span, in tokens.

    Returns:
      The examples as plain ones: EOS-ended `inputs` and `targets`, blocks 0 and 1. A sentinel is
      of the entity where its span begins.
    """
    put_blanks = open_blanks(sequence_length, output_features)

    def corrupt(example: Example) -> Example:
        size = tf.math.count_nonzero(example["inputs_blocks"], dtype=tf.int32)
        seed = fold(example["seed"], SPANS)
        return put_blanks(example, noise_mask(size, seed, noise_share, mean_span))

    long_enough = dataset.filter(lambda example: tf.reduce_sum(example["inputs_blocks"]) > 1)
    return long_enough.map(corrupt)
