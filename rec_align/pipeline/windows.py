"""Windows: which items of a user's sequence are history, and which are targets.

Item indices only; `phrasing` writes them. Each function is a preprocessor whose keyword arguments
can be bound with gin, for instance `next_item_windows.targets = 'window'`. Training draws afresh
from `seed`; held-out splits take the newest items before the held-out one.
"""

import gin
import tensorflow as tf

from rec_align.pipeline.seeds import NUM_PURPOSES, WINDOW, fold
from rec_align.pipeline.sources import is_train

Example = dict[str, tf.Tensor]

EVERY_ITEM, SEVERAL, ONE = "every_item", "window", "one"


def _check_choice(function: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{function}.targets={value!r}: choose one of {', '.join(allowed)}")


def _check_positive(function: str, **arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{function}.{name}={value!r}: must be at least 1")


def _map(dataset: tf.data.Dataset, function) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)


def _with_at_least(dataset: tf.data.Dataset, num_items: int) -> tf.data.Dataset:
    return dataset.filter(lambda example: tf.size(example["item_indices"]) >= num_items)


def _keep(example: Example) -> Example:
    """What every window hands on; `held_out_item_index` says that it is not for training."""
    return {k: example[k] for k in ("user_index", "seed", "held_out_item_index") if k in example}


def _uniform(example: Example, low: int | tf.Tensor, high: int | tf.Tensor) -> tf.Tensor:
    """A whole number, low <= it < high."""
    return tf.random.stateless_uniform([], fold(example["seed"], WINDOW), low, high, tf.int32)


def _held_out_history(example: Example, max_history: int) -> Example:
    """What every evaluation example knows: the newest items, and the whole sequence before."""
    return _keep(example) | {
        "history_item_indices": example["item_indices"][-max_history:],
        "seen_item_indices": example["item_indices"],
        "target_item_index": example["held_out_item_index"],
    }


def _tile(dataset: tf.data.Dataset, length: int) -> tf.data.Dataset:
    """Cuts each sequence into runs of `length` items, from a random phase on.

    Every item is in exactly one run a pass. Example: length 3, phase 1,
    items a b c d e -> a, b c d, e. Runs come as `begin` and `end` beside the whole sequence, each
    with a seed of its own.
    """

    def runs(example: Example) -> tf.data.Dataset:
        size = tf.size(example["item_indices"])
        begin = tf.range(-_uniform(example, 0, length), size, length)
        numbers = tf.range(tf.size(begin)) * NUM_PURPOSES
        seeds = example["seed"] + tf.stack([tf.zeros_like(numbers), numbers], axis=1)
        slices = {
            "begin": tf.maximum(begin, 0),
            "end": tf.minimum(begin + length, size),
            "seed": seeds,
        }
        return tf.data.Dataset.from_tensor_slices(slices).map(lambda run: example | run)

    return _with_at_least(dataset, 1).flat_map(runs)


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
      dataset: examples of a `CorpusSource`, with seeds.
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

    def held_out(example: Example) -> Example:
        found = _held_out_history(example, max_history)
        size = tf.size(found["history_item_indices"])
        causal = targets == EVERY_ITEM
        return found | {
            "history_blocks": tf.range(1, size + 1) if causal else tf.zeros([size], tf.int32),
            "target_item_indices": found["target_item_index"][None],
            "target_blocks": (size + 1)[None] if causal else tf.ones([1], tf.int32),
        }

    def every_item(example: Example) -> Example:
        items = example["item_indices"][example["begin"] : example["end"]]
        blocks = tf.range(1, tf.size(items) + 1)
        return _keep(example) | {
            # No target sees the last item, so it is not shown.
            "history_item_indices": items[:-1],
            "history_blocks": blocks[:-1],
            "target_item_indices": items,
            "target_blocks": blocks,
        }

    def one_place(example: Example) -> Example:
        items = example["item_indices"]
        place = _uniform(example, 1, tf.size(items))
        history = items[:place][-max_history:]
        answers = items[place:][: targets_per_window if targets == SEVERAL else 1]
        return _keep(example) | {
            "history_item_indices": history,
            "history_blocks": tf.zeros_like(history),
            "target_item_indices": answers,
            "target_blocks": tf.ones_like(answers),
        }

    if not is_train(dataset):
        return _map(dataset, held_out)
    if targets == EVERY_ITEM:
        return _map(_tile(dataset, max_history), every_item)
    return _map(_with_at_least(dataset, 2), one_place)


@gin.configurable
def rating_windows(
    dataset: tf.data.Dataset, *, targets: str = EVERY_ITEM, max_history: int = 30
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

    Returns:
      Examples with `item_indices` [n] int32, `ratings` [n] float32, `is_target` [n] bool, and the
      blocks of each item: `title_blocks`, `rating_blocks`, `target_blocks` [n] int32. Held-out
      ones also have `rating` float32.
    """
    _check_choice("rating_windows", targets, (EVERY_ITEM, ONE))
    _check_positive("rating_windows", max_history=max_history)

    def window(example: Example, items, ratings, is_target) -> Example:
        numbers = tf.range(1, tf.size(items) + 1)
        causal = targets == EVERY_ITEM
        return _keep(example) | {
            "item_indices": items,
            "ratings": ratings,
            "is_target": is_target,
            "title_blocks": 2 * numbers - 1 if causal else tf.zeros_like(numbers),
            "rating_blocks": 2 * numbers if causal else tf.zeros_like(numbers),
            "target_blocks": 2 * numbers if causal else tf.ones_like(numbers),
        }

    def last_only(example: Example, items, ratings) -> Example:
        items, ratings = items[-max_history:], ratings[-max_history:]
        size = tf.size(items)
        return window(example, items, ratings, tf.equal(tf.range(size), size - 1))

    def held_out(example: Example) -> Example:
        items = tf.concat([example["item_indices"], example["held_out_item_index"][None]], 0)
        ratings = tf.concat([example["ratings"], example["held_out_rating"][None]], 0)
        return last_only(example, items, ratings) | {"rating": example["held_out_rating"]}

    def every_item(example: Example) -> Example:
        begin, end = example["begin"], example["end"]
        ratings = example["ratings"][begin:end]
        is_rated = ~tf.math.is_nan(ratings)
        return window(example, example["item_indices"][begin:end], ratings, is_rated)

    def one_place(example: Example) -> Example:
        rated = tf.where(~tf.math.is_nan(example["ratings"]))[:, 0]
        end = rated[_uniform(example, 0, tf.size(rated))] + 1
        return last_only(example, example["item_indices"][:end], example["ratings"][:end])

    if not is_train(dataset):
        dataset = dataset.filter(lambda example: ~tf.math.is_nan(example["held_out_rating"]))
        return _map(dataset, held_out)
    if targets == ONE:
        has_rating = dataset.filter(
            lambda example: tf.reduce_any(~tf.math.is_nan(example["ratings"]))
        )
        return _map(has_rating, one_place)
    runs = _map(_tile(dataset, max_history), every_item)
    return runs.filter(lambda example: tf.reduce_any(example["is_target"]))


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

    def one_place(example: Example) -> Example:
        items = example["item_indices"]
        place = _uniform(example, 1, tf.size(items))
        return _keep(example) | {
            "history_item_indices": items[:place][-max_history:],
            "seen_item_indices": items,
            "target_item_index": items[place],
        }

    if is_train(dataset):
        return _map(_with_at_least(dataset, 2), one_place)
    return _map(dataset, lambda example: _held_out_history(example, max_history))


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

    def window(example: Example, items) -> Example:
        return _keep(example) | {
            "history_item_indices": items,
        }

    def random_run(example: Example) -> Example:
        items = example["item_indices"]
        begin = _uniform(example, 0, tf.maximum(tf.size(items) - max_history, 0) + 1)
        return window(example, items[begin : begin + max_history])

    def newest(example: Example) -> Example:
        items = tf.concat([example["item_indices"], example["held_out_item_index"][None]], 0)
        return window(example, items[-max_history:])

    if is_train(dataset):
        return _map(_with_at_least(dataset, 1), random_run)
    return _map(dataset, newest)
