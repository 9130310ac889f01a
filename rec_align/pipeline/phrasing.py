"""Phrasing: items and ratings -> the parts of each field of a template.

A field F is three features: `F_parts` [n] string, `F_blocks` [n] int32, and `F_items` [n] int32,
which says of a part that may be cut which history item it belongs to (1 = the oldest) and is 0 for
the rest; the last two may be left out where they are 0. The field `target` has no `_items`.
"""

import tensorflow as tf

from rec_align.pipeline.item_writing import open_writing
from rec_align.pipeline.ragged import Batch, Rows, as_ragged, from_splits, map_batches


def item_texts(corpus: str, suffix: str = "") -> tf.Tensor:
    """All items' texts, each with `suffix`: [num_items] string.

    The ";" of a list is left out where an item's end is seen without it.
    """
    writing = open_writing(corpus)
    if suffix == ";" and writing.ends_itself:
        suffix = ""
    return tf.constant([text + suffix for text in writing.texts])


def history_field(parts: tf.RaggedTensor, blocks: tf.RaggedTensor | None = None) -> Batch:
    """The field `history`, one part an item, oldest first: [batch, (items)]."""
    numbers = parts.with_values(Rows.of(parts.row_splits).positions + 1)
    return {
        "history_parts": parts,
        "history_blocks": tf.zeros_like(numbers) if blocks is None else blocks,
        "history_items": numbers,
    }


def target_field(parts: tf.RaggedTensor, blocks: tf.RaggedTensor | None = None) -> Batch:
    """The field `target`, one part a target: [batch, (targets)]."""
    ones = parts.with_values(tf.ones(tf.shape(parts.values), tf.int32))
    return {"target_parts": parts, "target_blocks": ones if blocks is None else blocks}


def written(texts: tf.Tensor, item_indices: tf.Tensor | tf.RaggedTensor) -> tf.RaggedTensor:
    """The text of each item: [num_items] string, [batch, (n)] or [batch] -> [batch, (n)]."""
    if item_indices.shape.rank == 1:
        item_indices = item_indices[:, None]
    rows = as_ragged(item_indices)
    return rows.with_values(tf.gather(texts, rows.values))


def phrase_next_items(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`next_item_windows` -> history 'A;' 'B;', targets 'C'.

    Held-out examples get `in_catalogue` 1: their answer is one item, to be decoded as such.
    """
    listed = item_texts(corpus, ";")
    plain = item_texts(corpus)

    def phrase(batch: Batch) -> Batch:
        history = written(listed, batch["history_item_indices"])
        targets = written(plain, batch["target_item_indices"])
        phrased = (
            batch
            | history_field(history, batch["history_blocks"])
            | target_field(targets, batch["target_blocks"])
        )
        if "target_item_index" in batch:
            phrased["in_catalogue"] = tf.ones_like(batch["target_item_index"])
        return phrased

    return map_batches(dataset, phrase)


def rating_texts(ratings: tf.Tensor) -> tf.Tensor:
    """Ratings as text: 4.0 -> '4', 3.5 -> '3.5'; [n] float32 -> [n] string."""
    whole = tf.round(ratings)
    return tf.where(
        tf.equal(ratings, whole),
        tf.strings.as_string(tf.cast(whole, tf.int32)),
        tf.strings.as_string(ratings, precision=1),
    )


def phrase_ratings(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`rating_windows` -> history 'A:' '4;' 'B;' 'C:', targets '3'.

    Every item has two parts, so that they are cut together; an unrated one is written 'B;' with an
    empty rating. The last item's rating is never shown, and its title never cut.
    """
    asked = item_texts(corpus, ":")
    listed = item_texts(corpus, ";")

    def phrase(batch: Batch) -> Batch:
        rows = Rows.of(batch["item_indices"].row_splits)
        items, ratings, is_target, title_blocks, rating_blocks, target_blocks = (
            batch[name].values
            for name in (
                *("item_indices", "ratings", "is_target"),
                *("title_blocks", "rating_blocks", "target_blocks"),
            )
        )
        numbers = rows.positions + 1
        is_last = tf.equal(numbers, tf.gather(rows.lengths, rows.numbers))
        is_rated = ~tf.math.is_nan(ratings)
        texts = rating_texts(tf.where(is_rated, ratings, 0.0))
        titles = tf.where(is_rated, tf.gather(asked, items), tf.gather(listed, items))
        given = tf.where(is_rated & ~is_last, texts + ";", "")
        item_numbers = tf.where(is_last, 0, numbers)

        def in_turn(of_title: tf.Tensor, of_rating: tf.Tensor) -> tf.RaggedTensor:
            """[n, 2] -> [2n]: title and rating of each item in turn."""
            both = tf.reshape(tf.stack([of_title, of_rating], axis=1), [-1])
            return from_splits(both, 2 * batch["item_indices"].row_splits)

        history = {
            "history_parts": in_turn(titles, given),
            "history_blocks": in_turn(title_blocks, rating_blocks),
            "history_items": in_turn(item_numbers, item_numbers),
        }
        targets = Rows.of_lengths(rows.sums(tf.cast(is_target, tf.int32))).splits
        answers = from_splits(tf.boolean_mask(texts, is_target), targets)
        blocks = from_splits(tf.boolean_mask(target_blocks, is_target), targets)
        return batch | history | target_field(answers, blocks)

    return map_batches(dataset, phrase)


def phrase_ranking(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`ranking_candidates` -> history 'A;' 'B;', candidates '1. C;' '2. D;', target 'D'."""
    listed = item_texts(corpus, ";")
    plain = item_texts(corpus)

    def phrase(batch: Batch) -> Batch:
        candidates = tf.gather(listed, batch["candidate_item_indices"])
        numbers = tf.constant([f"{number}. " for number in range(1, candidates.shape[1] + 1)])
        return (
            batch
            | history_field(written(listed, batch["history_item_indices"]))
            | {"candidates_parts": numbers + candidates}
            | target_field(written(plain, batch["target_item_index"]))
        )

    return map_batches(dataset, phrase)


def phrase_pair(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`ranking_candidates` with two candidates -> history, first 'A', second 'B', target 'B'."""
    listed = item_texts(corpus, ";")
    plain = item_texts(corpus)

    def phrase(batch: Batch) -> Batch:
        pair = tf.gather(plain, batch["candidate_item_indices"])
        return (
            batch
            | history_field(written(listed, batch["history_item_indices"]))
            | {"first_parts": pair[:, :1], "second_parts": pair[:, 1:]}
            | target_field(written(plain, batch["target_item_index"]))
        )

    return map_batches(dataset, phrase)
