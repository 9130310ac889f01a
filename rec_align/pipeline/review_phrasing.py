"""Reviews as fields of a template: why a rating was given, and what a review says."""

from collections.abc import Callable

import tensorflow as tf

from rec_align.pipeline.phrasing import item_texts, rating_texts, target_field, written
from rec_align.pipeline.ragged import Batch, as_ragged, map_batches, only

# Reviews are long: what no later step or metric asks for is not handed on.
_KEPT = ("user_index", "item_index", "seed", "held_out_item_index", "rating", "feature")


def _column(texts: tf.Tensor) -> tf.RaggedTensor:
    """One part an example: [batch] string -> [batch, (1)]."""
    return as_ragged(texts[:, None])


def _kept(batch: Batch) -> Batch:
    return {name: batch[name] for name in _KEPT if name in batch}


def phrase_explanations(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """Reviews -> item 'A', rating '4', feature 'sound', target 'I like the sound.'

    Reviews without an explaining sentence, or without a rating, are left out.

    Args:
      dataset: examples of a `ReviewSource`, with seeds.
      corpus: the corpus's name.
    """
    plain = item_texts(corpus)

    def phrase(batch: Batch) -> Batch:
        is_explained = tf.not_equal(batch["explanation"], "")
        batch = only(batch, is_explained & ~tf.math.is_nan(batch["rating"]))
        return (
            _kept(batch)
            | {"item_parts": written(plain, batch["item_index"])}
            | {"rating_parts": _column(rating_texts(batch["rating"]))}
            | {"feature_parts": _column(batch["feature"])}
            | target_field(_column(batch["explanation"]))
        )

    return map_batches(dataset, phrase)


def _phrase_reviews(
    dataset: tf.data.Dataset, answer: Callable[[Batch], tf.Tensor]
) -> tf.data.Dataset:
    """Reviews -> review 'I like the sound.', and as target the answer, where it is not ''."""

    def phrase(batch: Batch) -> Batch:
        batch = only(batch, tf.not_equal(answer(batch), ""))
        review = {"review_parts": _column(batch["text"])}
        return _kept(batch) | review | target_field(_column(answer(batch)))

    return map_batches(dataset, phrase)


def phrase_summaries(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Reviews -> review 'I like the sound.', target 'Sounds good'; those with a summary only."""
    return _phrase_reviews(dataset, lambda batch: batch["summary"])


def phrase_review_ratings(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Reviews -> review 'I like the sound.', target '4'; those with a rating only."""

    def rating(batch: Batch) -> tf.Tensor:
        ratings = batch["rating"]
        is_rated = ~tf.math.is_nan(ratings)
        return tf.where(is_rated, rating_texts(tf.where(is_rated, ratings, 0.0)), "")

    return _phrase_reviews(dataset, rating)
