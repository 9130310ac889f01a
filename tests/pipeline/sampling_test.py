"""Seeds, windows and negatives, on histories made in memory."""

import gin
import numpy as np
import pytest
import tensorflow as tf

from rec_align.pipeline import masking, negatives, seeds, windows

NAN = float("nan")


def histories(*rows: list[int], held_out: list[int] | None = None, ratings=None) -> tf.data.Dataset:
    """Users with these items; `held_out` makes it a test split."""
    ratings = ratings or [[3.0] * len(row) for row in rows]

    def generate():
        for user, row in enumerate(rows):
            example = {
                "user_index": user,
                "item_indices": np.array(row, np.int32),
                "ratings": np.array(ratings[user][: len(row)], np.float32),
                "timestamps": np.arange(len(row)),
            }
            if held_out:
                example |= {"held_out_item_index": held_out[user]}
                example |= {"held_out_rating": ratings[user][-1]}
            yield example

    signature = {
        "user_index": tf.TensorSpec([], tf.int64),
        "item_indices": tf.TensorSpec([None], tf.int32),
        "ratings": tf.TensorSpec([None], tf.float32),
        "timestamps": tf.TensorSpec([None], tf.int64),
    }
    if held_out:
        signature["held_out_item_index"] = tf.TensorSpec([], tf.int32)
        signature["held_out_rating"] = tf.TensorSpec([], tf.float32)
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def with_seeds(dataset: tf.data.Dataset, seed: int = 0, family: str = "f") -> tf.data.Dataset:
    import seqio

    with seqio.map_seed_manager(seed):
        return seeds.attach_seed(dataset, family=family)


def seeds_of(dataset: tf.data.Dataset) -> list[tuple[int, int]]:
    return [tuple(e["seed"].tolist()) for e in dataset.as_numpy_iterator()]


USERS = [[1, 2, 3]] * 5


def test_train_seeds_are_fresh_in_every_pass_and_fixed_by_the_seed():
    dataset = with_seeds(histories(*USERS)).repeat(2)
    once = seeds_of(dataset)
    assert len(set(once)) == 10
    assert seeds_of(dataset.take(5)) != once[5:]
    assert seeds_of(with_seeds(histories(*USERS)).repeat(2)) == once
    assert not set(seeds_of(with_seeds(histories(*USERS), seed=1))) & set(once)
    assert not set(seeds_of(with_seeds(histories(*USERS), family="g"))) & set(once)


def test_held_out_seeds_depend_on_the_user_alone():
    first = seeds_of(with_seeds(histories(*USERS, held_out=[4] * 5)))
    assert len(set(first)) == 5
    again = with_seeds(histories(*USERS, held_out=[4] * 5), seed=9).repeat(2)
    assert seeds_of(again) == first * 2


def test_draws_of_many_seeds_are_tensorflows_of_each():
    rows = [[0, 0], [1, -1], [-5, 7], [2**31 - 1, -(2**31)], [123456789, 987654321]]
    low, high = [0, 1, -3, 0, 10], [1, 50, 4, 2**31 - 1, 11]
    drawn = seeds.uniform(tf.constant(rows), seeds.WINDOW, tf.constant(low), tf.constant(high))
    for row, a, b, found in zip(rows, low, high, drawn.numpy(), strict=True):
        seed = seeds.fold(tf.constant(row), seeds.WINDOW)
        assert found == tf.random.stateless_uniform([], seed, a, b, tf.int32).numpy()


def test_every_item_is_a_target_once_a_pass_with_the_items_before_it():
    dataset = with_seeds(histories(list(range(10, 21)), [7])).repeat(20)
    found = list(
        windows.next_item_windows(dataset, targets="every_item", max_history=4).as_numpy_iterator()
    )
    items = [item for e in found if e["user_index"] == 0 for item in e["target_item_indices"]]
    assert items == list(range(10, 21)) * 20
    for e in found:
        size = len(e["target_item_indices"])
        assert size <= 4
        assert e["target_blocks"].tolist() == list(range(1, size + 1))
        assert e["history_item_indices"].tolist() == e["target_item_indices"][:-1].tolist()
        assert e["history_blocks"].tolist() == list(range(1, size))
    first_runs = {len(e["target_item_indices"]) for e in found if e["target_item_indices"][0] == 10}
    assert first_runs == {1, 2, 3, 4}  # every phase
    assert sum(e["user_index"] == 1 for e in found) == 20


@pytest.mark.parametrize(("targets", "most"), [("window", 3), ("one", 1)])
def test_windows_with_a_bidirectional_history(targets, most):
    dataset = with_seeds(histories(list(range(10, 20)), [7])).repeat(100)
    places = set()
    for e in windows.next_item_windows(
        dataset, targets=targets, max_history=4, targets_per_window=3
    ).as_numpy_iterator():
        history, answers = e["history_item_indices"], e["target_item_indices"]
        joined = np.concatenate([history, answers])
        assert (np.diff(joined) == 1).all()
        assert len(answers) == min(most, 20 - answers[0])
        assert len(history) == min(4, answers[0] - 10)
        assert not e["history_blocks"].any() and (e["target_blocks"] == 1).all()
        assert e["user_index"] == 0  # one item is no history
        places.add(int(answers[0]))
    assert places == set(range(11, 20))


@pytest.mark.parametrize(
    ("targets", "history_blocks", "target_blocks"),
    [("every_item", [1, 2], [3]), ("one", [0, 0], [1])],
)
def test_held_out_windows(targets, history_blocks, target_blocks):
    dataset = with_seeds(histories([5, 6, 7], held_out=[8]))
    (e,) = windows.next_item_windows(dataset, targets=targets, max_history=2).as_numpy_iterator()
    assert e["history_item_indices"].tolist() == [6, 7]
    assert e["history_blocks"].tolist() == history_blocks
    assert e["target_item_indices"].tolist() == [8]
    assert e["target_blocks"].tolist() == target_blocks
    assert e["seen_item_indices"].tolist() == [5, 6, 7]


def test_windows_refuse_unknown_modes_and_read_gin():
    dataset = with_seeds(histories([5, 6, 7]))
    with pytest.raises(ValueError, match="choose one of every_item, window, one"):
        windows.next_item_windows(dataset, targets="all")
    with pytest.raises(ValueError, match="max_history=0: must be at least 1"):
        windows.next_item_windows(dataset, max_history=0)
    gin.parse_config(
        "from __gin__ import dynamic_registration\n"
        "from rec_align.pipeline import windows\n"
        "windows.next_item_windows.targets = 'one'\n"
    )
    try:
        (e,) = windows.next_item_windows(dataset).as_numpy_iterator()
    finally:
        gin.clear_config()
    assert len(e["target_item_indices"]) == 1 and (e["target_blocks"] == 1).all()


def test_rating_windows_in_blocks():
    dataset = with_seeds(histories([5, 6, 7], ratings=[[4.0, NAN, 2.0]]))
    (e,) = [
        e
        for e in windows.rating_windows(dataset.repeat(50), max_history=3).as_numpy_iterator()
        if len(e["item_indices"]) == 3
    ][:1]
    assert e["is_target"].tolist() == [True, False, True]
    assert e["title_blocks"].tolist() == [1, 3, 5]
    assert e["rating_blocks"].tolist() == e["target_blocks"].tolist() == [2, 4, 6]


def test_rating_windows_never_ask_for_a_missing_rating():
    rows = [[5, 6, 7], [8, 9]]
    ratings = [[4.0, NAN, 2.0], [NAN, NAN]]
    for targets in ("every_item", "one"):
        dataset = with_seeds(histories(*rows, ratings=ratings)).repeat(30)
        for e in windows.rating_windows(
            dataset, targets=targets, max_history=2
        ).as_numpy_iterator():
            assert e["user_index"] == 0
            assert e["is_target"].any() and not np.isnan(e["ratings"][e["is_target"]]).any()
            if targets == "one":
                assert e["is_target"].tolist()[:-1] == [False] * (len(e["item_indices"]) - 1)
                assert (e["target_blocks"] == 1).all() and not e["title_blocks"].any()


def test_held_out_ratings_that_are_missing_are_left_out():
    dataset = histories([5, 6], [7, 8], held_out=[1, 2], ratings=[[1.0, 2.0, NAN], [3.0, 4.0, 5.0]])
    (e,) = windows.rating_windows(with_seeds(dataset)).as_numpy_iterator()
    assert e["item_indices"].tolist() == [7, 8, 2] and e["rating"] == 5.0
    assert e["is_target"].tolist() == [False, False, True]


def test_history_windows_are_runs():
    dataset = with_seeds(histories(list(range(10)))).repeat(100)
    begins = set()
    for e in windows.history_windows(dataset, max_history=4).as_numpy_iterator():
        items = e["history_item_indices"]
        assert (np.diff(items) == 1).all() and len(items) == 4
        begins.add(int(items[0]))
    assert begins == set(range(7))


@pytest.mark.parametrize(("num_items", "count"), [(40, 5), (400, 5), (9, 5)])
def test_negatives_are_unseen_distinct_and_uniform(num_items, count):
    seen = np.array([3, 1, 3, 7, 0], np.int32)
    draw = tf.function(lambda seed: negatives.draw_negatives(seed, seen, num_items, count))
    num_draws = 400
    drawn = np.stack([draw(tf.constant([number, 5])).numpy() for number in range(num_draws)])
    assert all(len(set(row)) == count for row in drawn.tolist())
    unseen = sorted(set(range(num_items)) - set(seen.tolist()))
    assert set(np.unique(drawn)) <= set(unseen)
    # Each unseen item is drawn about equally often: 5 standard errors of a binomial share.
    share = count / len(unseen)
    error = (share * (1 - share) / num_draws) ** 0.5
    counts = np.array([(drawn == item).any(axis=1).mean() for item in unseen])
    assert np.abs(counts - share).max() <= 5 * error + 1e-9


def test_too_few_unseen_items_is_said():
    with pytest.raises(tf.errors.InvalidArgumentError, match="lower num_candidates"):
        negatives.draw_negatives(tf.constant([1, 2]), tf.range(8), 10, 3)


@pytest.mark.parametrize("length", [2, 3, 20, 100, 2000])
def test_noise_mask_hides_the_share_in_spans(length):
    masks = [
        masking.noise_mask(tf.constant(length), tf.constant([i, 0]), 0.15, 3.0).numpy()
        for i in range(20)
    ]
    expected = max(1, round(0.15 * length))
    spans = min(100, max(1, round(expected / 3)))
    for mask in masks:
        assert len(mask) == length and mask.sum() == expected and not mask[0]
        assert (np.diff(mask.astype(int)) == 1).sum() == spans
    if length > 10:
        assert len({mask.tobytes() for mask in masks}) > 5
        assert {bool(mask[-1]) for mask in masks} == {False, True} or length > 100


def test_replace_runs_by_hand():
    tokens = tf.constant([5, 6, 7, 8, 9])
    mask = tf.constant([False, True, True, False, True])
    assert masking.replace_runs(tokens, mask, 100).numpy().tolist() == [5, 99, 8, 98]
    assert masking.replace_runs(tokens, ~mask, 100).numpy().tolist() == [99, 6, 7, 98, 9]
