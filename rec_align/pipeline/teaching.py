"""Taught targets: at each place of a train history an item that a teacher drew there."""

import tensorflow as tf

from rec_align.data import taught_items
from rec_align.pipeline.ragged import Batch, Rows, map_batches
from rec_align.pipeline.seeds import NUM_PURPOSES, TAUGHT, uniform


def draw_taught_items(dataset: tf.data.Dataset, *, corpus: str) -> tf.data.Dataset:
    """Adds what stands for the items of a history as targets: one of the draws of each place.

    Worked example: a history a b c, of which b has the draws d d e, and c has f f f: a d f, or half
    as often a e f. The first item stands for itself.

    Args:
      dataset: train examples of a `CorpusSource`, with seeds.
      corpus: the corpus's name.

    Returns:
      The examples with `taught_item_indices` [n] int32.
    """
    taught = taught_items.read(corpus)
    begins = tf.constant(taught.begins)
    items = tf.constant(taught.item_indices)
    num_draws = taught.item_indices.shape[1]

    def draw(batch: Batch) -> Batch:
        rows = Rows.of(batch["item_indices"].row_splits)
        users = tf.gather(batch["user_index"], rows.numbers)
        places = tf.gather(begins, users) + tf.cast(rows.positions, tf.int64)
        steps = tf.stack([tf.zeros_like(rows.positions), rows.positions * NUM_PURPOSES], axis=1)
        seeds = tf.gather(batch["seed"], rows.numbers) + steps
        chosen = uniform(seeds, TAUGHT, 0, num_draws)
        found = tf.gather(tf.gather(items, places), chosen, batch_dims=1)
        return batch | {"taught_item_indices": batch["item_indices"].with_values(found)}

    return map_batches(dataset, draw)
