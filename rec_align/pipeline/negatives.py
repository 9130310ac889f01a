"""Negatives: items the user has not taken, drawn uniformly without repeats.

The k-th item that a user has not seen is found by binary search in the sorted seen items, so the
cost does not grow with the catalogue.
"""

import gin
import seqio
import tensorflow as tf

from rec_align.data.corpus import num_items_at_build
from rec_align.pipeline.item_index import open_item_index
from rec_align.pipeline.seeds import NEGATIVES, ORDER, fold
from rec_align.pipeline.sources import is_train

Example = dict[str, tf.Tensor]


def draw_distinct(seed: tf.Tensor, bound: tf.Tensor, count: int) -> tf.Tensor:
    """`count` <= `bound` different whole numbers in [0, bound), uniformly: [count] int32."""

    def by_shuffle():
        return tf.math.top_k(tf.random.stateless_uniform([bound], seed), count).indices

    def by_rejection():
        # From 16 times as many numbers, 2 * count + 16 draws practically never fall short.
        draws = tf.random.stateless_uniform([2 * count + 16], seed, 0, bound, tf.int32)
        return tf.unique(draws).y[:count]

    drawn = tf.cond(bound < 16 * count, by_shuffle, by_rejection)
    return tf.ensure_shape(drawn, [count])


def draw_negatives(
    seed: tf.Tensor, seen_item_indices: tf.Tensor, num_items: int, count: int
) -> tf.Tensor:
    """Different items that are not among the seen ones.

    Worked example: items 0..5, seen 1 and 4. The unseen are 0 2 3 5; rank 2 of them is item 3,
    because one seen item is smaller: sorted seen minus their positions is [1, 3], and rank 2 lies
    after 1 of it.

    Args:
      seed: [2] int32.
      seen_item_indices: [s] int32, repeats allowed.
      num_items: items in the catalogue.
      count: how many to draw.

    Returns:
      [count] int32.
    """
    seen = tf.unique(tf.sort(seen_item_indices)).y
    num_unseen = num_items - tf.size(seen)
    enough = tf.debugging.Assert(
        num_unseen >= count,
        ["a user has only", num_unseen, "unseen items; lower num_candidates, it needs", count],
    )
    with tf.control_dependencies([enough] if enough is not None else []):
        ranks = draw_distinct(seed, num_unseen, count)
    return ranks + tf.searchsorted(seen - tf.range(tf.size(seen)), ranks, side="right")


@gin.configurable
def ranking_candidates(
    dataset: tf.data.Dataset,
    *,
    corpus: str,
    num_candidates: int = 20,
) -> tf.data.Dataset:
    """Adds the target's competitors, at random places, for a prompt that lists them.

    Args:
      dataset: examples of `one_item_windows`.
      corpus: the corpus's name.
      num_candidates: the target and `num_candidates - 1` negatives.

    Returns:
      Examples with `candidate_item_indices` [num_candidates] int32 and `target_position` int32.
    """
    return _with_candidates(dataset, corpus, num_candidates, "ranking_candidates")


@gin.configurable
def unlisted_candidates(
    dataset: tf.data.Dataset,
    *,
    corpus: str,
    num_candidates: int = 100,
) -> tf.data.Dataset:
    """The same for a prompt that does not list them, so that they cost no tokens.

    Args:
      dataset: held-out examples of `next_item_windows`.
      corpus: the corpus's name.
      num_candidates: as of `ranking_candidates`.
    """
    return _with_candidates(dataset, corpus, num_candidates, "unlisted_candidates")


def _with_candidates(
    dataset: tf.data.Dataset, corpus: str, num_candidates: int, function: str
) -> tf.data.Dataset:
    num_items = num_items_at_build(corpus)  # those that came later change no draw
    if not 2 <= num_candidates <= num_items:
        raise ValueError(
            f"{function}.num_candidates={num_candidates}: choose 2 to the number of items, "
            f"{num_items}"
        )

    def add(example: Example) -> Example:
        seen = tf.concat([example["seen_item_indices"], example["target_item_index"][None]], 0)
        seed = fold(example["seed"], NEGATIVES)
        negatives = draw_negatives(seed, seen, num_items, num_candidates - 1)
        position = tf.random.stateless_uniform(
            [], fold(example["seed"], ORDER), 0, num_candidates, tf.int32
        )
        candidates = tf.concat(
            [negatives[:position], example["target_item_index"][None], negatives[position:]], 0
        )
        candidates = tf.ensure_shape(candidates, [num_candidates])
        return example | {"candidate_item_indices": candidates, "target_position": position}

    return dataset.map(add)


def candidate_tokens(
    dataset: tf.data.Dataset, output_features: dict[str, seqio.Feature], *, corpus: str
) -> tf.data.Dataset:
    """Adds `candidate_tokens` [num_candidates, max_item_tokens] int32 to held-out examples.

    EOS-ended and 0-padded, so that a model can score every candidate as a whole target.
    """
    if is_train(dataset):
        return dataset
    index = open_item_index(corpus, output_features["targets"].vocabulary)
    item_tokens = tf.constant(index.item_tokens)
    return dataset.map(
        lambda example: (
            example
            | {"candidate_tokens": tf.gather(item_tokens, example["candidate_item_indices"])}
        )
    )
