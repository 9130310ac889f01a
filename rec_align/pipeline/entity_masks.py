"""Autoregressive blank infilling of entities, at three levels; RecSysLLM (Chu et al. 2023).

A mask keeps entities whole. Its level is drawn for each example: some entities (15 %), all entities
of one or several interactions, or one run of 50 to 100 % of the record's entities. Masked entities
that follow each other are one blank; the spans stand in the target in the order of time, each after
its sentinel. The label of a blank's first entity stays and so says of what kind it is:

  item: <extra_id_0> rating: 4 date: <extra_id_1> rating: 5
  -> <extra_id_0> Red Kettle <extra_id_1> 2014-03-05 category: Pans item: Iron Pan

Where the paper is silent, ours: the shares of the levels, and of the interactions masked.
"""

import math

import gin
import numpy as np
import seqio
import tensorflow as tf

from rec_align.pipeline import tokenization
from rec_align.pipeline.masking import Example, Features, open_blanks
from rec_align.pipeline.records import KINDS
from rec_align.pipeline.seeds import MASK, SPANS, fold
from rec_align.pipeline.sources import is_train
from rec_align.pipeline.vocabulary import EXTRA_IDS

LEVELS = ("entity", "sentence", "document")


def tokenize_records(
    dataset: tf.data.Dataset,
    sequence_length: dict[str, int] | None = None,
    *,
    output_features: dict[str, seqio.Feature],
) -> tf.data.Dataset:
    """`tokenize_parts` that leaves room for the EOS of `inputs`, which `hide_entities` puts."""
    limits = dict(sequence_length or {})
    if limits.get("inputs"):
        limits["inputs"] -= 1
    return tokenization.tokenize_parts(dataset, limits, output_features=output_features)


@gin.configurable
def hide_entities(
    dataset: tf.data.Dataset,
    sequence_length: dict[str, int] | None,
    output_features: Features,
    *,
    level_shares: tuple[float, float, float] = (0.5, 0.25, 0.25),
    masked_share: float = 0.15,
) -> tf.data.Dataset:
    """Hides entities of tokenised records; of held-out ones the last entity only.

    At least one entity is hidden. In training, spans beyond the limit of `targets`, or beyond the
    100 sentinels, stay shown from the first entity on that does not fit; a record whose first span
    is too long is left out of the pass. Held-out examples are all kept: of an entity that is too
    long `targets` loses the tail, but neither the text that it is scored by nor the values that are
    searched for it.

    The entities of networks that read them are the values, each its own; labels are none.

    Args:
      dataset: examples of `tokenize_records`.
      sequence_length: limits of `inputs` and `targets`, or None.
      output_features: of the task.
      level_shares: how often each of `LEVELS` is drawn; they sum to 1.
      masked_share: the share of entities, or of interactions, that are hidden, in 0-1.

    Returns:
      The examples as plain ones: EOS-ended `inputs` and `targets`, blocks 0 and 1.

    Raises:
      ValueError: a share is not between 0 and 1, or those of the levels do not sum to 1.
    """
    if (
        len(level_shares) != len(LEVELS)
        or min(level_shares) < 0
        or not math.isclose(sum(level_shares), 1, abs_tol=1e-6)
    ):
        raise ValueError(
            f"hide_entities.level_shares={level_shares}: give three shares that sum to 1, of "
            f"{', '.join(LEVELS)}"
        )
    if not 0 < masked_share < 1:
        raise ValueError(f"hide_entities.masked_share={masked_share}: must lie between 0 and 1")
    limit = (sequence_length or {}).get("targets") or tf.int32.max
    put_blanks = open_blanks(sequence_length, output_features)
    for_training = is_train(dataset)

    def draw(example: Example) -> Example:
        codes = tf.boolean_mask(example["inputs_blocks"], example["inputs_blocks"] > 0)
        entities, numbers = tf.unique(codes // 2)
        if for_training:
            masked = draw_mask(entities // len(KINDS), example["seed"], level_shares, masked_share)
            masked = _fitting(masked, numbers, codes % 2 > 0, limit)
        else:
            masked = tf.range(tf.size(entities)) + 1 >= tf.size(entities)
        return example | {
            "is_hidden": hidden_tokens(masked, numbers, codes % 2 > 0),
            "inputs_entities": value_codes(example["inputs_blocks"]),
        }

    def hide(example: Example) -> Example:
        return put_blanks(example, example.pop("is_hidden"))

    drawn = dataset.map(draw).filter(lambda example: tf.reduce_any(example["is_hidden"]))
    return drawn.map(hide)


def draw_mask(
    interactions: tf.Tensor,
    seed: tf.Tensor,
    level_shares: tuple[float, float, float],
    masked_share: float,
) -> tf.Tensor:
    """Which entities are hidden: [n] bool, at least one of them.

    Args:
      interactions: [n] int32, ascending, which interaction each entity is of.
      seed: [2] int32.
      level_shares: see `hide_entities`.
      masked_share: likewise.
    """
    size = tf.size(interactions)
    real_size = tf.cast(size, tf.float32)
    level, length, begin = tf.unstack(tf.random.stateless_uniform([3], fold(seed, MASK)))
    _, sentences = tf.unique(interactions)
    num_sentences = tf.reduce_max(sentences) + 1
    length = tf.math.ceil(real_size * (1 + length) / 2)
    begin = tf.floor(begin * (real_size - length + 1))
    places = tf.range(real_size)
    masks = (
        _some(size, masked_share, fold(seed, SPANS)),
        tf.gather(_some(num_sentences, masked_share, fold(seed, SPANS + 1)), sentences),
        (places >= begin) & (places < begin + length),
    )
    bounds = tf.constant(np.cumsum(level_shares)[:-1], tf.float32)
    return tf.stack(masks)[tf.searchsorted(bounds, [level], side="right")[0]]


def _some(size: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """A random share of `size` things, at least one: [size] bool."""
    count = tf.cast(tf.round(share * tf.cast(size, tf.float32)), tf.int32)
    scores = tf.random.stateless_uniform([size], seed)
    chosen = tf.math.top_k(scores, tf.clip_by_value(count, 1, size)).indices
    return tf.scatter_nd(chosen[:, None], tf.ones_like(chosen), [size]) > 0


def hidden_tokens(masked: tf.Tensor, numbers: tf.Tensor, is_value: tf.Tensor) -> tf.Tensor:
    """Which tokens are hidden: of a blank all but the label of its first entity.

    Example: entities of label and value, A a B b C c; A and B masked: a B b.

    Args:
      masked: [n] bool.
      numbers: [t] int32, ascending, which of the n entities a token is of.
      is_value: [t] bool, whether it is of the entity's value.
    """
    goes_on = tf.concat([[False], masked[:-1]], 0)
    return tf.gather(masked, numbers) & (is_value | tf.gather(goes_on, numbers))


def value_codes(codes: tf.Tensor) -> tf.Tensor:
    """The codes of values, 0 for labels and the prompt: [t] int32 -> [t] int32; see `records.code`.

    Example: 0 12 13 13 20 21 -> 0 0 13 13 0 21.
    """
    return tf.where(codes % 2 > 0, codes, 0)


def _fitting(masked: tf.Tensor, numbers: tf.Tensor, is_value: tf.Tensor, limit: int) -> tf.Tensor:
    """The mask without what the target or the sentinels have no room for; see `hidden_tokens`."""
    hidden = hidden_tokens(masked, numbers, is_value)
    begins = hidden & ~tf.concat([[False], hidden[:-1]], 0)
    num_spans = tf.cumsum(tf.cast(begins, tf.int32))
    sizes = tf.cumsum(tf.cast(hidden, tf.int32)) + num_spans + 1  # tokens, sentinels and EOS
    fits = (sizes <= limit) & (num_spans <= EXTRA_IDS)
    return masked & (tf.math.segment_min(tf.cast(fits, tf.int32), numbers) > 0)
