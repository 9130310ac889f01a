"""Phrasing: items and ratings -> the parts of each field of a template.

A field F is three features: `F_parts` [n] string, `F_blocks` [n] int32, and `F_items` [n] int32,
which says of a part that may be cut which history item it belongs to (1 = the oldest) and is 0 for
the rest; the last two may be left out where they are 0. The field `target` has no `_items`.
"""

import seqio
import tensorflow as tf

from rec_align.pipeline.item_index import open_item_index

Example = dict[str, tf.Tensor]
Features = dict[str, seqio.Feature]


def item_texts(corpus: str, output_features: Features, suffix: str = "") -> tf.Tensor:
    """All items' texts, each with `suffix`: [num_items] string."""
    texts = open_item_index(corpus, output_features["targets"].vocabulary).texts
    return tf.constant([text + suffix for text in texts])


def history_field(parts: tf.Tensor, blocks: tf.Tensor | None = None) -> Example:
    """The field `history`, one part an item, oldest first."""
    numbers = tf.range(1, tf.size(parts) + 1)
    zeros = tf.zeros_like(numbers)
    return {
        "history_parts": parts,
        "history_blocks": zeros if blocks is None else blocks,
        "history_items": numbers,
    }


def target_field(parts: tf.Tensor, blocks: tf.Tensor | None = None) -> Example:
    """The field `target`, one part a target."""
    ones = tf.ones(tf.shape(parts), tf.int32)
    return {"target_parts": parts, "target_blocks": ones if blocks is None else blocks}


def _map(dataset: tf.data.Dataset, function) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)


def phrase_next_items(
    dataset: tf.data.Dataset, output_features: Features, *, corpus: str
) -> tf.data.Dataset:
    """`next_item_windows` -> history 'A;' 'B;', targets 'C'.

    Held-out examples get `in_catalogue` 1: their answer is one item, to be decoded as such.
    """
    listed = item_texts(corpus, output_features, ";")
    plain = item_texts(corpus, output_features)

    def phrase(example: Example) -> Example:
        history = tf.gather(listed, example["history_item_indices"])
        targets = tf.gather(plain, example["target_item_indices"])
        phrased = (
            example
            | history_field(history, example["history_blocks"])
            | target_field(targets, example["target_blocks"])
        )
        if "target_item_index" in example:
            phrased["in_catalogue"] = tf.constant(1, tf.int32)
        return phrased

    return _map(dataset, phrase)


def rating_texts(ratings: tf.Tensor) -> tf.Tensor:
    """Ratings as text: 4.0 -> '4', 3.5 -> '3.5'; [n] float32 -> [n] string."""
    whole = tf.round(ratings)
    return tf.where(
        tf.equal(ratings, whole),
        tf.strings.as_string(tf.cast(whole, tf.int32)),
        tf.strings.as_string(ratings, precision=1),
    )


def phrase_ratings(
    dataset: tf.data.Dataset, output_features: Features, *, corpus: str
) -> tf.data.Dataset:
    """`rating_windows` -> history 'A:' '4;' 'B;' 'C:', targets '3'.

    Every item has two parts, so that they are cut together; an unrated one is written 'B;' with an
    empty rating. The last item's rating is never shown, and its title never cut.
    """
    asked = item_texts(corpus, output_features, ":")
    listed = item_texts(corpus, output_features, ";")

    def phrase(example: Example) -> Example:
        items, ratings, is_target = (
            example["item_indices"],
            example["ratings"],
            example["is_target"],
        )
        size = tf.size(items)
        numbers = tf.range(1, size + 1)
        is_last = tf.equal(numbers, size)
        is_rated = ~tf.math.is_nan(ratings)
        texts = rating_texts(tf.where(is_rated, ratings, 0.0))
        titles = tf.where(is_rated, tf.gather(asked, items), tf.gather(listed, items))
        given = tf.where(is_rated & ~is_last, texts + ";", "")
        # [n, 2] -> [2n]: title and rating of each item in turn.
        parts = tf.reshape(tf.stack([titles, given], axis=1), [-1])
        blocks = tf.stack([example["title_blocks"], example["rating_blocks"]], axis=1)
        history = {
            "history_parts": parts,
            "history_blocks": tf.reshape(blocks, [-1]),
            "history_items": tf.repeat(tf.where(is_last, 0, numbers), 2),
        }
        targets = tf.boolean_mask(texts, is_target)
        target_blocks = tf.boolean_mask(example["target_blocks"], is_target)
        return example | history | target_field(targets, target_blocks)

    return _map(dataset, phrase)


def phrase_ranking(
    dataset: tf.data.Dataset, output_features: Features, *, corpus: str
) -> tf.data.Dataset:
    """`ranking_candidates` -> history 'A;' 'B;', candidates '1. C;' '2. D;', target 'D'."""
    listed = item_texts(corpus, output_features, ";")
    plain = item_texts(corpus, output_features)

    def phrase(example: Example) -> Example:
        candidates = tf.gather(listed, example["candidate_item_indices"])
        numbers = tf.constant([f"{number}. " for number in range(1, candidates.shape[0] + 1)])
        return (
            example
            | history_field(tf.gather(listed, example["history_item_indices"]))
            | {"candidates_parts": numbers + candidates}
            | target_field(tf.gather(plain, example["target_item_index"])[None])
        )

    return _map(dataset, phrase)


def phrase_pair(
    dataset: tf.data.Dataset, output_features: Features, *, corpus: str
) -> tf.data.Dataset:
    """`ranking_candidates` with two candidates -> history, first 'A', second 'B', target 'B'."""
    listed = item_texts(corpus, output_features, ";")
    plain = item_texts(corpus, output_features)

    def phrase(example: Example) -> Example:
        pair = tf.gather(plain, example["candidate_item_indices"])
        return (
            example
            | history_field(tf.gather(listed, example["history_item_indices"]))
            | {"first_parts": pair[:1], "second_parts": pair[1:]}
            | target_field(tf.gather(plain, example["target_item_index"])[None])
        )

    return _map(dataset, phrase)
