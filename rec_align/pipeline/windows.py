"""Windows: which items of a user's sequence are history, and which are targets.

Item indices only; `phrasing` writes them. Each function is a preprocessor whose keyword arguments
can be bound with gin, for instance `next_item_windows.targets = 'window'`. Training draws afresh
from `seed`; held-out splits take the newest items before the held-out one.
"""

import gin
import tensorflow as tf

from rec_align.pipeline.ragged import (
    Batch,
    Rows,
    from_splits,
    lengths_of,
    map_batches,
    only,
    slices,
)
from rec_align.pipeline.rating_shares import check_share, chosen_ratings
from rec_align.pipeline.seeds import NUM_PURPOSES, SHUFFLE, WINDOW, uniform
from rec_align.pipeline.sources import is_train

EVERY_ITEM, SEVERAL, ONE = "every_item", "window", "one"
_TILED = ("item_indices", "ratings", "taught_item_indices")  # an entry an item


def _check_choice(function: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{function}.targets={value!r}: choose one of {', '.join(allowed)}")


def _check_positive(function: str, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{function}.{name}={value!r}: must be at least 1")


def _keep(batch: Batch) -> Batch:
    """What every window hands on; `held_out_item_index` says that it is not for training."""
    return {k: batch[k] for k in ("user_index", "seed", "held_out_item_index") if k in batch}


def _with_at_least(batch: Batch, num_items: int) -> Batch:
    return only(batch, lengths_of(batch["item_indices"]) >= num_items)


def _newest(rows: tf.RaggedTensor, ends: tf.Tensor, count: int) -> tf.RaggedTensor:
    """Of each row the `count` values before place `ends` [batch] int32."""
    return slices(rows, tf.maximum(ends - count, 0), ends)


def _append(rows: tf.RaggedTensor, values: tf.Tensor) -> tf.RaggedTensor:
    """Each row with one more value at its end."""
    return tf.concat([rows, values[:, None]], axis=1)


def _numbers(rows: tf.RaggedTensor) -> tf.RaggedTensor:
    """1, 2, ... in each row."""
    return rows.with_values(Rows.of(rows.row_splits).positions + 1)


def _pick(rows: tf.RaggedTensor, places: tf.Tensor) -> tf.Tensor:
    """One value of each row: [batch, (n)], [batch] int32 -> [batch]."""
    return tf.gather(rows.values, tf.cast(rows.row_starts(), tf.int32) + places)


def _held_out_history(batch: Batch, max_history: int) -> Batch:
    """What every evaluation example knows: the newest items, and the whole sequence before."""
    items = batch["item_indices"]
    return _keep(batch) | {
        "history_item_indices": _newest(items, lengths_of(items), max_history),
        "seen_item_indices": items,
        "target_item_index": batch["held_out_item_index"],
    }


def _taught(batch: Batch) -> tf.RaggedTensor:
    """[batch, (n)] targets: the items, or where one before is shown what was taught for them."""
    items = batch["item_indices"]
    if "taught_item_indices" not in batch:
        return items
    shown = Rows.of(items.row_splits).positions > 0
    return items.with_values(tf.where(shown, batch["taught_item_indices"].values, items.values))


def _tile(batch: Batch, length: int) -> Batch:
    """Cuts each sequence into runs of `length` items, from a random phase on.

    Every item is in exactly one run a pass. Example: length 3, phase 1,
    items a b c d e -> a, b c d, e. Each run has the user's features, a seed of its own, and its
    slice of `item_indices`, `ratings` and `taught_item_indices`.
    """
    batch = _with_at_least(batch, 1)
    sizes = lengths_of(batch["item_indices"])
    phases = uniform(batch["seed"], WINDOW, 0, length)
    runs = Rows.of_lengths((sizes + phases + length - 1) // length)
    users, places = runs.numbers, runs.positions
    begins = places * length - tf.gather(phases, users)
    ends = tf.minimum(begins + length, tf.gather(sizes, users))
    begins = tf.maximum(begins, 0)
    tiled = {name: tf.gather(values, users) for name, values in _keep(batch).items()}
    tiled["seed"] += tf.stack([tf.zeros_like(places), places * NUM_PURPOSES], axis=1)
    starts = tf.gather(tf.cast(batch["item_indices"].row_starts(), tf.int32), users)
    spans = tf.ragged.range(starts + begins, starts + ends)
    for name in [name for name in _TILED if name in batch]:
        tiled[name] = from_splits(tf.gather(batch[name].values, spans.values), spans.row_splits)
    return tiled


@gin.configurable
def next_item_windows(
    dataset: tf.data.Dataset,
    *,
    targets: str = EVERY_ITEM,
    max_history: int = 50,
    targets_per_window: int = 5,
) -> tf.data.Dataset:
    """Windows for next-item prediction.

    Worked example, items a b c, `targets="every_item"`: history a b in blocks 1 2, targets a b c in
    blocks 1 2 3. Target c sees the prompt (block 0) and a b; target a sees the prompt only.

    Args:
      dataset: examples of a `CorpusSource`, with seeds; those of `teaching.draw_taught_items` have
        the taught items as targets, and one in the mode "window".
      targets: "every_item": each user is cut into runs of `max_history` items from a random phase
        on, and each item of a run is a target that sees the items before it in the run; so each
        item is a target exactly once a pass. "window": one random place a user a pass; the history
        before it is seen whole, and the next `targets_per_window` items are targets on their own.
        "one": the same with one target.
      max_history: how many items are shown at most.
      targets_per_window: how many targets a window has at most, in the mode "window".

    Returns:
      Examples with `history_item_indices` [h] int32, `history_blocks` [h] int32,
      `target_item_indices` [m] int32, `target_blocks` [m] int32; held-out ones also with
      `target_item_index` and `seen_item_indices` (the whole earlier sequence).
    """
    _check_choice("next_item_windows", targets, (EVERY_ITEM, SEVERAL, ONE))
    _check_positive(
        "next_item_windows", max_history=max_history, targets_per_window=targets_per_window
    )

    causal = targets == EVERY_ITEM

    def held_out(batch: Batch) -> Batch:
        found = _held_out_history(batch, max_history)
        history = found["history_item_indices"]
        answers = tf.RaggedTensor.from_tensor(found["target_item_index"][:, None])
        next_blocks = lengths_of(history)[:, None] + 1
        return found | {
            "history_blocks": _numbers(history) if causal else tf.zeros_like(history),
            "target_item_indices": answers,
            "target_blocks": answers.with_values(
                tf.reshape(next_blocks if causal else tf.ones_like(next_blocks), [-1])
            ),
        }

    def every_item(batch: Batch) -> Batch:
        runs = _tile(batch, max_history)
        items = runs["item_indices"]
        # No target sees the last item, so it is not shown.
        shown = slices(items, tf.zeros_like(lengths_of(items)), lengths_of(items) - 1)
        return _keep(runs) | {
            "history_item_indices": shown,
            "history_blocks": _numbers(shown),
            "target_item_indices": _taught(runs),
            "target_blocks": _numbers(items),
        }

    def one_place(batch: Batch) -> Batch:
        batch = _with_at_least(batch, 2)
        items = batch["item_indices"]
        sizes = lengths_of(items)
        places = uniform(batch["seed"], WINDOW, 1, sizes)
        history = _newest(items, places, max_history)
        # A later item was taught with those between, which are not shown.
        several = targets == SEVERAL and "taught_item_indices" not in batch
        most = targets_per_window if several else 1
        answers = slices(_taught(batch), places, tf.minimum(places + most, sizes))
        return _keep(batch) | {
            "history_item_indices": history,
            "history_blocks": tf.zeros_like(history),
            "target_item_indices": answers,
            "target_blocks": tf.ones_like(answers),
        }

    if not is_train(dataset):
        return map_batches(dataset, held_out)
    return map_batches(dataset, every_item if causal else one_place)


@gin.configurable
def rating_windows(
    dataset: tf.data.Dataset,
    *,
    targets: str = EVERY_ITEM,
    max_history: int = 30,
    train_share: float = 1.0,
) -> tf.data.Dataset:
    """Windows for rating prediction: rated items, whose ratings are asked for.

    Items without a rating are shown, and never asked about. Worked example, items a b c, all
    rated, `targets="every_item"`: titles in blocks 1 3 5, ratings in blocks 2 4 6, targets in
    blocks 2 4 6. The target of b sees title a, rating a, title b.

    Args:
      dataset: examples of a `CorpusSource`, with seeds.
      targets: "every_item": runs of `max_history` items as in `next_item_windows`; each rating of
        a run is a target that sees the titles up to its own and the ratings before it. "one": one
        random rated item a user a pass is asked about, and everything before it is seen.
      max_history: how many items are shown at most, the one asked about included.
      train_share: above 0 and at most 1: the share of train's ratings that are targets, those of
        `rating_shares.chosen_ratings`. The others are shown and never asked about; a run or user
        that has no target left is no example, and where none has any, training waits for ever.

    Returns:
      Examples with `item_indices` [n] int32, `ratings` [n] float32, `is_target` [n] bool, and the
      blocks of each item: `title_blocks`, `rating_blocks`, `target_blocks` [n] int32. Held-out
      ones also have `rating` float32.
    """
    _check_choice("rating_windows", targets, (EVERY_ITEM, ONE))
    _check_positive("rating_windows", max_history=max_history)
    check_share("rating_windows.train_share", train_share)

    causal = targets == EVERY_ITEM

    def window(batch: Batch, items, ratings, is_target) -> Batch:
        numbers = _numbers(items)
        zeros = tf.zeros_like(numbers)
        return _keep(batch) | {
            "item_indices": items,
            "ratings": ratings,
            "is_target": is_target,
            "title_blocks": 2 * numbers - 1 if causal else zeros,
            "rating_blocks": 2 * numbers if causal else zeros,
            "target_blocks": 2 * numbers if causal else zeros + 1,
        }

    def last_only(batch: Batch, items, ratings, ends: tf.Tensor) -> Batch:
        items = _newest(items, ends, max_history)
        ratings = _newest(ratings, ends, max_history)
        rows = Rows.of(items.row_splits)
        is_last = tf.equal(rows.positions + 1, tf.gather(rows.lengths, rows.numbers))
        return window(batch, items, ratings, items.with_values(is_last))

    def held_out(batch: Batch) -> Batch:
        batch = only(batch, ~tf.math.is_nan(batch["held_out_rating"]))
        items = _append(batch["item_indices"], batch["held_out_item_index"])
        ratings = _append(batch["ratings"], batch["held_out_rating"])
        windows = last_only(batch, items, ratings, lengths_of(items))
        return windows | {"rating": batch["held_out_rating"]}

    def every_item(batch: Batch) -> Batch:
        runs = _with_targets(_tile(batch, max_history), train_share)
        return window(runs, runs["item_indices"], runs["ratings"], runs["is_target"])

    def one_place(batch: Batch) -> Batch:
        batch = _with_targets(batch, train_share)
        asked = tf.where(batch["is_target"].values)[:, 0]
        counts = _num_targets(batch)
        chosen = uniform(batch["seed"], WINDOW, 0, counts) + tf.cumsum(counts, exclusive=True)
        ends = tf.cast(tf.gather(asked, chosen), tf.int32) + 1
        ends -= tf.cast(batch["ratings"].row_starts(), tf.int32)
        return last_only(batch, batch["item_indices"], batch["ratings"], ends)

    if not is_train(dataset):
        return map_batches(dataset, held_out)
    return map_batches(dataset, every_item if causal else one_place)


def _with_targets(batch: Batch, share: float) -> Batch:
    """Adds `is_target` [batch, (n)] bool, and leaves out examples without any."""
    ratings, items = batch["ratings"], batch["item_indices"]
    is_target = ~tf.math.is_nan(ratings.values)
    if share < 1:
        users = tf.gather(batch["user_index"], Rows.of(items.row_splits).numbers)
        is_target &= chosen_ratings(users, items.values, share)
    batch = batch | {"is_target": ratings.with_values(is_target)}
    return only(batch, _num_targets(batch) > 0)


def _num_targets(batch: Batch) -> tf.Tensor:
    """How many items of each example are asked about: [batch] int32."""
    is_target = batch["is_target"]
    return Rows.of(is_target.row_splits).sums(tf.cast(is_target.values, tf.int32))


@gin.configurable
def one_item_windows(dataset: tf.data.Dataset, *, max_history: int = 30) -> tf.data.Dataset:
    """Windows with one next item, for tasks that add negatives to it.

    Args:
      dataset: examples of a `CorpusSource`, with seeds.
      max_history: how many items are shown at most.

    Returns:
      Examples with `history_item_indices` [h] int32, `target_item_index` int32 and
      `seen_item_indices` int32: in training the user's whole sequence, in held-out splits that
      before the target.
    """
    _check_positive("one_item_windows", max_history=max_history)

    def one_place(batch: Batch) -> Batch:
        batch = _with_at_least(batch, 2)
        items = batch["item_indices"]
        places = uniform(batch["seed"], WINDOW, 1, lengths_of(items))
        return _keep(batch) | {
            "history_item_indices": _newest(items, places, max_history),
            "seen_item_indices": items,
            "target_item_index": _pick(items, places),
        }

    if is_train(dataset):
        return map_batches(dataset, one_place)
    return map_batches(dataset, lambda batch: _held_out_history(batch, max_history))


def _shuffled(rows: tf.RaggedTensor, seeds: tf.Tensor) -> tf.RaggedTensor:
    """Each row in a random order: [batch, (n)], [batch, 2] int32 -> [batch, (n)]."""
    numbers, places = Rows.of(rows.row_splits).numbers, Rows.of(rows.row_splits).positions
    steps = tf.stack([tf.zeros_like(places), places * NUM_PURPOSES], axis=1)
    keys = uniform(tf.gather(seeds, numbers) + steps, SHUFFLE, 0, 2**31 - 1)
    order = tf.argsort(tf.cast(numbers, tf.int64) * 2**31 + tf.cast(keys, tf.int64), stable=True)
    return rows.with_values(tf.gather(rows.values, order))


@gin.configurable
def unordered_windows(dataset: tf.data.Dataset, *, max_history: int = 30) -> tf.data.Dataset:
    """Windows without order: any item of a user, beside a drawing of the others.

    Worked example, items a b c b: target b, history c a, drawn from a and c.

    Args:
      dataset: examples of a `CorpusSource`, with seeds.
      max_history: how many items are shown at most.

    Returns:
      As of `one_item_windows`, the history shuffled and without the target; in training it may
      hold items that came after the target, as no order is asked for.
    """
    _check_positive("unordered_windows", max_history=max_history)

    def window(batch: Batch, items: tf.RaggedTensor, target: tf.Tensor) -> Batch:
        rows = Rows.of(items.row_splits)
        is_other = tf.not_equal(items.values, tf.gather(target, rows.numbers))
        sizes = rows.sums(tf.cast(is_other, tf.int32))
        others = from_splits(tf.boolean_mask(items.values, is_other), Rows.of_lengths(sizes).splits)
        return _keep(batch) | {
            "history_item_indices": slices(
                others, tf.zeros_like(sizes), tf.minimum(sizes, max_history)
            ),
            "seen_item_indices": batch["item_indices"],
            "target_item_index": target,
        }

    def any_item(batch: Batch) -> Batch:
        batch = _with_at_least(batch, 2)
        items = _shuffled(batch["item_indices"], batch["seed"])
        return window(batch, items, _pick(items, tf.zeros_like(lengths_of(items))))

    def held_out(batch: Batch) -> Batch:
        items = _shuffled(batch["item_indices"], batch["seed"])
        return window(batch, items, batch["held_out_item_index"])

    return map_batches(dataset, any_item if is_train(dataset) else held_out)


@gin.configurable
def history_windows(dataset: tf.data.Dataset, *, max_history: int = 50) -> tf.data.Dataset:
    """Runs of a user's history, for tasks that hide parts of it.

    Args:
      dataset: examples of a `CorpusSource`, with seeds.
      max_history: the length of a run.

    Returns:
      Examples with `history_item_indices` [h] int32. Training: one random run a user a pass;
      held-out splits: the newest items, the held-out one last.
    """
    _check_positive("history_windows", max_history=max_history)

    def random_run(batch: Batch) -> Batch:
        batch = _with_at_least(batch, 1)
        items = batch["item_indices"]
        most = tf.maximum(lengths_of(items) - max_history, 0)
        begins = uniform(batch["seed"], WINDOW, 0, most + 1)
        ends = tf.minimum(begins + max_history, lengths_of(items))
        return _keep(batch) | {"history_item_indices": slices(items, begins, ends)}

    def newest(batch: Batch) -> Batch:
        items = _append(batch["item_indices"], batch["held_out_item_index"])
        return _keep(batch) | {
            "history_item_indices": _newest(items, lengths_of(items), max_history)
        }

    return map_batches(dataset, random_run if is_train(dataset) else newest)
