"""Records: tabular data as text, the interactions of a user one after the other as entities.

After RecSysLLM (Chu et al. 2023), text for tabular data. An interaction is written as

  date: 2014-03-05 category: Kettles brand: Acme item: Red Kettle rating: 4

and, where it is given, `review:` with the sentence of its review that explains it. What is not
known is left out. Ours: the wording; and the order, from the general to the particular, in which
each entity can be asked for when those before it are known, the item before its rating. A date is
written where the time lies in 1971 to 2099: smaller ones are counters, as of logs without clocks.

Each entity is two parts, its label and its value, with a number in `history_blocks` that says of
every token which entity it is of; see `code`. `entity_masks` hides them.
"""

import gin
import numpy as np
import tensorflow as tf

from rec_align.data.corpus import read_catalogue
from rec_align.pipeline.phrasing import item_texts, rating_texts, target_field
from rec_align.pipeline.ragged import (
    Batch,
    Rows,
    as_ragged,
    from_splits,
    lengths_of,
    map_batches,
    slices,
)
from rec_align.pipeline.seeds import ORDER, WINDOW, uniform
from rec_align.pipeline.sources import is_train

KINDS = ("date", "category", "brand", "item", "rating", "review")
DATE, CATEGORY, BRAND, ITEM, RATING, REVIEW = range(len(KINDS))
LABELS = tuple(f"{kind}:" for kind in KINDS)

_SECONDS_A_DAY = 86_400
_FIRST_DAY, _LAST_DAY = np.datetime64("1971-01-01"), np.datetime64("2099-12-31")
_LISTS = ("item_indices", "ratings", "timestamps")


def code(interaction: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """The number of an entity's label; its value has the next. Text of no entity has 0.

    Args:
      interaction: 1 is the oldest of the record.
      kind: index into `KINDS`.
    """
    return 2 * (len(KINDS) * interaction + kind)


def date_texts(timestamps: tf.Tensor) -> tf.Tensor:
    """Seconds since 1970 -> year-month-day in UTC, '' before 1971: [n] int64 -> [n] string.

    Example: 1_394_000_000 -> '2014-03-05', 7 -> ''.
    """
    texts = np.arange(_FIRST_DAY, _LAST_DAY + 1).astype(str)
    table = tf.constant(["", *texts, ""])
    day = timestamps // _SECONDS_A_DAY - int(_FIRST_DAY.astype(np.int64)) + 1
    return tf.gather(table, tf.clip_by_value(day, 0, len(texts) + 1))


def category_and_brand_texts(corpus: str) -> tuple[list[str], list[str]]:
    """Of each item the narrowest category and the brand, '' where there is none."""
    catalogue = read_catalogue(corpus)
    return [names[-1] if names else "" for names in catalogue.categories], list(catalogue.brands)


@gin.configurable
def record_windows(dataset: tf.data.Dataset, *, max_history: int = 20) -> tf.data.Dataset:
    """Runs of a user's interactions with what is known of each.

    Args:
      dataset: examples of a `CorpusSource`, with seeds.
      max_history: the length of a run.

    Returns:
      Examples with `item_indices` [h] int32, `ratings` [h] float32 (NaN = none), `timestamps` [h]
      int64. Training: one random run a user a pass; held-out splits: the newest interactions, the
      held-out one last.

    Raises:
      ValueError: `max_history` is below 1.
    """
    if max_history < 1:
        raise ValueError(f"record_windows.max_history={max_history}: must be at least 1")
    kept = ("user_index", "seed", "held_out_item_index")

    def run(batch: Batch, begins: tf.Tensor) -> Batch:
        ends = tf.minimum(begins + max_history, lengths_of(batch["item_indices"]))
        lists = {name: slices(batch[name], begins, ends) for name in _LISTS}
        return {name: batch[name] for name in kept if name in batch} | lists

    def most(batch: Batch) -> tf.Tensor:
        return tf.maximum(lengths_of(batch["item_indices"]) - max_history, 0)

    def random_run(batch: Batch) -> Batch:
        return run(batch, uniform(batch["seed"], WINDOW, 0, most(batch) + 1))

    def newest(batch: Batch) -> Batch:
        last = [batch[f"held_out_{name}"] for name in ("item_index", "rating", "timestamp")]
        lists = {
            name: tf.concat([batch[name], value[:, None]], axis=1)
            for name, value in zip(_LISTS, last, strict=True)
        }
        return run(batch | lists, most(batch | lists))

    return map_batches(dataset, random_run if is_train(dataset) else newest)


def review_records(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """`ReviewSource` -> records of one interaction, with `reviews` [1] string.

    Reviews without an explaining sentence are left out.
    """

    def record(batch: Batch) -> Batch:
        lists = {
            "item_indices": batch["item_index"],
            "ratings": batch["rating"],
            "timestamps": batch["timestamp"],
            "reviews": batch["explanation"],
        }
        return {name: batch[name] for name in ("user_index", "seed")} | {
            name: tf.RaggedTensor.from_tensor(values[:, None]) for name, values in lists.items()
        }

    explained = dataset.filter(lambda example: tf.not_equal(example["explanation"], ""))
    return map_batches(explained, record)


def phrase_records(
    dataset: tf.data.Dataset, *, corpus: str, ends_early: bool = True
) -> tf.data.Dataset:
    """`record_windows` -> history 'item:' 'Red Kettle' 'rating:' '4' ...; an empty target.

    Args:
      dataset: examples of `record_windows` or `review_records`.
      corpus: the corpus's name.
      ends_early: the newest interaction is written as far as an entity drawn from those it has,
        the date excepted. So in training any kind may come last, as it does in held-out splits,
        where this entity is what is asked for.

    Returns:
      The examples with the field `history`, `history_blocks` being codes, and `target`; held-out
      ones also with `entity_kind` int32, the kind asked for.
    """
    items = item_texts(corpus)
    categories, brands = map(tf.constant, category_and_brand_texts(corpus))
    labels = tf.constant(LABELS)

    def phrase(batch: Batch) -> Batch:
        indices = as_ragged(batch["item_indices"])
        rows = Rows.of(indices.row_splits)
        ratings = batch["ratings"].values
        is_rated = ~tf.math.is_nan(ratings)
        no_text = tf.fill(tf.shape(ratings), "")
        texts = tf.stack(
            [
                date_texts(batch["timestamps"].values),
                tf.gather(categories, indices.values),
                tf.gather(brands, indices.values),
                tf.gather(items, indices.values),
                tf.where(is_rated, rating_texts(tf.where(is_rated, ratings, 0.0)), ""),
                batch["reviews"].values if "reviews" in batch else no_text,
            ],
            axis=1,
        )  # [n, kinds]
        present = tf.not_equal(texts, "")
        is_last = tf.equal(rows.positions + 1, tf.gather(rows.lengths, rows.numbers))
        last_kinds = _draw_kind(tf.boolean_mask(present, is_last), batch["seed"])
        if ends_early:
            beyond = tf.range(len(KINDS)) > tf.gather(last_kinds, rows.numbers)[:, None]
            present &= ~(is_last[:, None] & beyond)
        places = tf.cast(tf.where(present), tf.int32)  # [entities, 2]
        interactions, kinds = places[:, 0], places[:, 1]
        codes = code(tf.gather(rows.positions + 1, interactions), kinds)
        # The newest interaction is never cut.
        numbers = tf.gather(tf.where(is_last, 0, rows.positions + 1), interactions)
        counts = rows.sums(tf.reduce_sum(tf.cast(present, tf.int32), axis=1))
        splits = Rows.of_lengths(2 * counts).splits

        def in_turn(of_label: tf.Tensor, of_value: tf.Tensor) -> tf.RaggedTensor:
            return from_splits(tf.reshape(tf.stack([of_label, of_value], axis=1), [-1]), splits)

        history = {
            "history_parts": in_turn(tf.gather(labels, kinds), tf.boolean_mask(texts, present)),
            "history_blocks": in_turn(codes, codes + 1),
            "history_items": in_turn(numbers, numbers),
        }
        nothing = as_ragged(tf.fill([indices.nrows(), 1], ""))
        after = as_ragged(tf.fill([indices.nrows(), 1], tf.int32.max))
        asked = {"entity_kind": last_kinds} if "held_out_item_index" in batch else {}
        return batch | history | target_field(nothing, after) | asked

    return map_batches(dataset, phrase)


def _draw_kind(present: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """One of the kinds that each interaction has, dates excepted: -> [n] int32.

    Every interaction has an item.

    Args:
      present: [n, kinds] bool.
      seeds: [n, 2] int32.
    """
    can_end = present & tf.constant([kind != "date" for kind in KINDS])
    so_far = tf.cumsum(tf.cast(can_end, tf.int32), axis=1)
    chosen = uniform(seeds, ORDER, 0, so_far[:, -1])
    is_chosen = can_end & tf.equal(so_far, chosen[:, None] + 1)
    return tf.argmax(tf.cast(is_chosen, tf.int32), axis=1, output_type=tf.int32)
