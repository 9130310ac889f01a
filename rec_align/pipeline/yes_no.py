"""Questions whose answer is yes or no: about an item of a pair, or about a rating."""

import seqio
import tensorflow as tf

from rec_align.pipeline.phrasing import (
    history_field,
    item_texts,
    phrase_ratings,
    target_field,
    written,
)
from rec_align.pipeline.ragged import Batch, as_ragged, map_batches
from rec_align.pipeline.sources import is_train
from rec_align.rating_scale import LIKED

ANSWERS = ("no", "yes")


def _answers(is_yes: tf.Tensor) -> tf.Tensor:
    """[n] bool -> [n] string."""
    return tf.where(is_yes, ANSWERS[1], ANSWERS[0])


def phrase_item_question(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`ranking_candidates` with two candidates -> history, item, target 'yes' or 'no'.

    The first candidate is asked about: the one that the user took in half of the examples, by seed.

    Example: history a, candidates b c, target c -> history 'A;', item 'B', target 'no'.
    """
    listed = item_texts(corpus, ";")
    plain = item_texts(corpus)

    def phrase(batch: Batch) -> Batch:
        is_yes = tf.equal(batch["target_position"], 0)
        return (
            batch
            | history_field(written(listed, batch["history_item_indices"]))
            | {"item_parts": written(plain, batch["candidate_item_indices"][:, 0])}
            | target_field(as_ragged(_answers(is_yes)[:, None]))
        )

    return map_batches(dataset, phrase)


def phrase_likes(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """`rating_windows` -> history 'A:' '4;' 'B;' 'C:', targets 'yes' where the rating is 4 or more.

    The history is that of `phrase_ratings`; only what is asked about each rated item differs.
    """

    def answer(batch: Batch) -> Batch:
        asked = tf.boolean_mask(batch["ratings"].values, batch["is_target"].values)
        answers = _answers(asked >= LIKED)
        return batch | {"target_parts": batch["target_parts"].with_values(answers)}

    return map_batches(phrase_ratings(dataset, corpus=corpus), answer)


def answer_tokens(
    dataset: tf.data.Dataset, output_features: dict[str, seqio.Feature]
) -> tf.data.Dataset:
    """Adds `candidate_tokens` [2, length] int32, 'no' and 'yes', to held-out examples.

    EOS-ended and 0-padded, so that a model scores both answers and never gives a third.
    """
    if is_train(dataset):
        return dataset
    vocabulary = output_features["targets"].vocabulary
    rows = [[*vocabulary.encode(answer), vocabulary.eos_id] for answer in ANSWERS]
    length = max(map(len, rows))
    tokens = tf.constant([row + [0] * (length - len(row)) for row in rows], tf.int32)
    return dataset.map(lambda example: example | {"candidate_tokens": tokens})
