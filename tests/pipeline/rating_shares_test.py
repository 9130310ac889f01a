"""A share of the train ratings: how large, always the same, and the same for the baselines."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from rec_align.pipeline import seeds, windows
from rec_align.pipeline.rating_shares import chosen_ratings
from rec_align.pipeline.sources import CorpusSource

NUM_USERS, NUM_ITEMS = 60, 60
NAN = float("nan")


def example(user: int) -> dict[str, np.ndarray]:
    """A user, who has every item in an order of their own, and has not rated one of five."""
    items = np.random.default_rng(user).permutation(NUM_ITEMS).astype(np.int32)
    ratings = np.where(items % 5 == 0, np.nan, 1 + items % 3).astype(np.float32)
    return {"user_index": user, "item_indices": items, "ratings": ratings}


def users(seed: int) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_generator(
        lambda: (example(user) for user in range(NUM_USERS)),
        output_signature={
            "user_index": tf.TensorSpec([], tf.int64),
            "item_indices": tf.TensorSpec([None], tf.int32),
            "ratings": tf.TensorSpec([None], tf.float32),
        },
    )
    with seqio.map_seed_manager(seed):
        return seeds.attach_seed(dataset, family="f")


def asked(examples: list[dict[str, np.ndarray]]) -> list[tuple[int, int]]:
    """(user, item) of every target, sorted."""
    pairs = (
        (int(e["user_index"]), int(item))
        for e in examples
        for item in e["item_indices"][e["is_target"]]
    )
    return sorted(pairs)


def chosen(share: float) -> list[tuple[int, int]]:
    """(user, item) of every rating of the share, sorted, by way of NumPy."""
    pairs = []
    for user in range(NUM_USERS):
        items, ratings = (example(user)[name] for name in ("item_indices", "ratings"))
        wanted = chosen_ratings(user, items, share).numpy() & ~np.isnan(ratings)
        pairs += [(user, int(item)) for item in items[wanted]]
    return sorted(pairs)


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_the_share_is_asked_about_once_a_pass_for_every_seed(share):
    expected = chosen(share)
    total = NUM_USERS * NUM_ITEMS * 4 // 5
    assert abs(len(expected) - share * total) < 4 * np.sqrt(share * (1 - share) * total) + 1e-9
    for seed in (0, 7):
        found = list(windows.rating_windows(users(seed), train_share=share).as_numpy_iterator())
        assert asked(found) == expected
        assert all(e["is_target"].any() for e in found)  # other runs are left out
        twice = windows.rating_windows(users(seed).repeat(2), train_share=share)
        assert asked(list(twice.as_numpy_iterator())) == sorted(expected * 2)
        # What is not asked about is shown: each run with its ratings.
        for e in found:
            mine = example(int(e["user_index"]))
            first = mine["item_indices"].tolist().index(e["item_indices"][0])
            whole = slice(first, first + len(e["item_indices"]))
            np.testing.assert_array_equal(e["item_indices"], mine["item_indices"][whole])
            np.testing.assert_array_equal(e["ratings"], mine["ratings"][whole])


def test_one_target_a_pass_is_of_the_share():
    share, expected = 0.02, chosen(0.02)
    dataset = windows.rating_windows(users(0).repeat(40), targets="one", train_share=share)
    found = list(dataset.as_numpy_iterator())
    assert len(found) == 40 * len({user for user, _ in expected}) < 40 * NUM_USERS
    assert set(asked(found)) == set(expected)
    assert all(e["is_target"].sum() == 1 and e["is_target"][-1] for e in found)


def test_a_smaller_share_is_part_of_a_larger_one():
    assert set(chosen(0.01)) < set(chosen(0.1)) < set(chosen(1.0))
    items = np.arange(1000)
    by_user = [chosen_ratings(user, items, 0.5).numpy() for user in range(4)]
    for other in by_user[1:]:  # users draw apart
        assert 0.4 < (by_user[0] == other).mean() < 0.6


@pytest.mark.parametrize("share", [0, -0.5, 1.01, NAN])
def test_other_shares_are_refused(share):
    with pytest.raises(ValueError, match=r"rating_windows\.train_share=.*: must be above 0 and at"):
        windows.rating_windows(users(0), train_share=share)
    with pytest.raises(ValueError, match=r"share=.*: must be above 0 and at most 1"):
        chosen_ratings(0, [1, 2], share)


def test_held_out_ratings_are_all_asked_about(small_shop):
    for split in ("validation", "test"):
        source = CorpusSource(small_shop).get_dataset(split, shuffle=False)
        counts = [
            len(list(windows.rating_windows(seeds.attach_seed(source, family="f"), **options)))
            for options in ({}, {"train_share": 1e-6})
        ]
        assert counts[0] == counts[1] > 0
