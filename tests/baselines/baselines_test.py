"""Popularity and mean ratings: written results, ties, newcomers, and the whole evaluation."""

import math

import numpy as np
import pytest

from rec_align.baselines import evaluate as evaluate_lib
from rec_align.baselines.means import GlobalMean, ItemMean, UserMean
from rec_align.baselines.popularity import Popularity
from rec_align.metrics import seqio_metrics

NAN = math.nan


def test_popularity_order_and_ties():
    popularity = Popularity([2, 7, 2, 0, 7])
    assert popularity.top_k(4).tolist() == [1, 4, 0, 2]
    assert popularity.top_k(2, excluded=[1, 4]).tolist() == [0, 2]
    assert popularity.top_k(2, excluded=[3, 3, 3]).tolist() == [1, 4]
    assert popularity.top_k(9, excluded=[0]).tolist() == [1, 4, 2, 3, -1, -1, -1, -1, -1]


def test_popularity_equals_a_sort_of_all_items():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, size=50)
    for _ in range(50):
        excluded = rng.integers(0, 50, size=rng.integers(0, 30))
        k = int(rng.integers(1, 60))
        allowed = [i for i in range(50) if i not in excluded]
        expected = sorted(allowed, key=lambda i: (-counts[i], i))[:k]
        top = Popularity(counts).top_k(k, excluded=excluded)
        assert top.tolist() == expected + [-1] * (k - len(expected))


def test_popularity_counts_and_scores():
    popularity = Popularity.fit([[0, 2], [], [2]], num_items=4)
    assert popularity.item_counts.tolist() == [1, 0, 2, 0]
    assert popularity.score([0, 5], [[], [3]]).tolist() == [[1, 0, 2, 0]] * 2


HISTORIES = {0: ([0, 1], [5.0, 3.0]), 2: ([1, 2], [1.0, NAN]), 3: ([2], [NAN])}


def test_means():
    users, items = np.array([0, 2, 3, 1, 99]), np.array([1, 0, 2, 99, 1])
    everything = (5 + 3 + 1) / 3
    np.testing.assert_allclose(GlobalMean.fit(HISTORIES).predict(users, items), [everything] * 5)
    # User 3 has no rating, 1 and 99 are not in train.
    expected = [(5 + 3) / 2, 1, everything, everything, everything]
    np.testing.assert_allclose(UserMean.fit(HISTORIES).predict(users, items), expected)
    # Item 2 has no rating, 99 is not in train.
    expected = [(3 + 1) / 2, 5, everything, everything, (3 + 1) / 2]
    np.testing.assert_allclose(ItemMean.fit(HISTORIES).predict(users, items), expected)


TRAIN = [
    {"user_index": 0, "item_indices": np.array([0, 1]), "ratings": np.array([5.0, 3.0])},
    {"user_index": 1, "item_indices": np.array([1, 2]), "ratings": np.array([1.0, NAN])},
    {"user_index": 2, "item_indices": np.array([1, 0]), "ratings": np.array([2.0, 4.0])},
]  # counts: item 0 2, item 1 3, item 2 1, item 3 0
TEST = [
    {
        "user_index": 0,
        "item_indices": np.array([0, 1, 2]),
        "ratings": np.array([5.0, 3.0, 4.0]),
        "candidates": {"ranking": (np.array([3, 2, 0]), 1), "candidates": (np.array([2, 1]), 0)},
    },
    {
        "user_index": 1,
        "item_indices": np.array([1, 2, 0]),
        "ratings": np.array([1.0, NAN, NAN]),
        "candidates": {"ranking": (np.array([0, 3, -1]), 0)},
    },
]


def test_evaluate():
    results = evaluate_lib.evaluate(TEST, TRAIN, num_items=4)
    assert {system: list(tasks) for system, tasks in results.items()} == {
        "popularity": ["retrieval", "ranking", "candidates"],
        "global_mean": ["rating"],
        "user_mean": ["rating"],
        "item_mean": ["rating"],
        "mf": ["rating"],
    }
    retrieval = results["popularity"]["retrieval"]
    # Order 1, 0, 2, 3: targets 2 and 0 at ranks 3 and 2; without the history both are first.
    assert retrieval["full/mrr"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert retrieval["unseen/hr@1"] == 1 and retrieval["n"] == 2
    ranking = results["popularity"]["ranking"]
    # Counts 0, 1, 2 with the target at 1, and 2, 0, padding with the target at 2.
    assert ranking["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    assert ranking["num_candidates"] == (3 + 2) / 2
    # User 0 alone has these: counts 1 and 3.
    assert results["popularity"]["candidates"]["mrr"] == 1 / 2
    # Only user 0 has a rated target, 4.0 for item 2, which has no rating in train.
    everything = (5 + 3 + 1 + 2 + 4) / 5
    assert results["global_mean"]["rating"]["mae"] == pytest.approx(4 - everything)
    assert results["item_mean"]["rating"]["mae"] == pytest.approx(4 - everything)
    assert results["user_mean"]["rating"]["rmse"] == pytest.approx(4 - (5 + 3) / 2, abs=1e-12)
    assert results["user_mean"]["rating"]["n"] == 1
    # Nothing is known of the item, and the user rates above the mean.
    assert 4 - (5 + 3) / 2 < results["mf"]["rating"]["mae"] < 4 - everything


def test_history_does_not_shorten_the_unseen_list():
    """Scored from a list of k, a target behind the k seen items would be lost."""
    history = np.arange(5)
    train = [{"user_index": 0, "item_indices": np.append(np.repeat(history, 2), 5)}]
    test = [{"user_index": 0, "item_indices": np.append(history, 5)}]
    found = evaluate_lib.evaluate(test, train, num_items=10, k=5)["popularity"]["retrieval"]
    assert found["full/hr@20"] == 0 and found["unseen/hr@1"] == 1


def test_tasks_without_data_are_left_out():
    bare = [{key: e[key] for key in ("user_index", "item_indices")} for e in TEST]
    results = evaluate_lib.evaluate(bare, TRAIN, num_items=4)
    assert list(results) == ["popularity"] and list(results["popularity"]) == ["retrieval"]


def test_models_and_baselines_have_the_same_metrics():
    results = evaluate_lib.evaluate(TEST, TRAIN, num_items=4)
    model = seqio_metrics.rating([4.0], ["4"], {})
    assert list(results["item_mean"]["rating"]) == list(model)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Popularity([[1]]), r"item_counts has shape \(1, 1\)"),
        (lambda: Popularity([1, -1]), "lowest value of -1"),
        (lambda: Popularity.fit([[4]], num_items=4), "num_items = 4"),
        (lambda: Popularity.fit([[-1]], num_items=4), "indices from -1"),
        (lambda: GlobalMean.fit({}), "histories of 0 users hold no rating"),
        (lambda: UserMean.fit({0: ([1], [NAN])}), "histories of 1 users hold no rating"),
        (lambda: ItemMean.fit({7: ([1, 2], [1.0])}), r"histories\[7\] has 2 items and 1 ratings"),
        (lambda: evaluate_lib.evaluate([], TRAIN, 4), "test_examples is empty"),
        (lambda: evaluate_lib.evaluate(TEST, TRAIN * 2, 4), "6 examples of 3 users"),
    ],
)
def test_wrong_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
