"""Ranks and rank metrics: formulas, ranx and scikit-learn, ties, repeats, bounds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.metrics import ranking

N = 200


def random_lists(seed, num_items=40, k=20):
    """[N, k] lists without repeats, and one target each, about half of them in the list."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(num_items)[:k] for _ in range(N)])
    return lists, rng.integers(num_items, size=N)


def slow_rank(items, target, excluded=()):
    """One user at a time, by the words of the docstring."""
    place, before = 0, set()
    for item in items:
        if item in before or item in excluded:
            continue
        place += 1
        if item == target:
            return place
        if item >= 0:
            before.add(item)
    return 0


def test_metrics_equal_their_formulas():
    ranks = [1, 2, 5, 6, 0, np.inf]
    np.testing.assert_array_equal(ranking.hit_rate(ranks, 5), [1, 1, 1, 0, 0, 0])
    expected = [1 / math.log2(2), 1 / math.log2(3), 1 / math.log2(6), 0, 0, 0]
    np.testing.assert_allclose(ranking.ndcg(ranks, 5), expected)
    np.testing.assert_allclose(ranking.reciprocal_rank(ranks), [1, 1 / 2, 1 / 5, 1 / 6, 0, 0])


def test_all_metrics_have_their_names():
    per_user = ranking.rank_metrics_per_user([1, 0, 7])
    names = ["hr@1", "hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr"]
    assert list(per_user) == names
    assert all(values.shape == (3,) for values in per_user.values())
    assert per_user["hr@5"].tolist() == [1, 0, 0] and per_user["hr@10"].tolist() == [1, 0, 1]


def test_equal_to_ranx(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # 7 seconds; compiling takes 33
    import ranx  # here, because it is slow to import

    lists, target = random_lists(seed=1)
    relevant = {str(u): {str(t): 1} for u, t in enumerate(target)}
    run = {
        str(u): {str(item): float(len(row) - place) for place, item in enumerate(row)}
        for u, row in enumerate(lists)
    }
    names = {"hr@1": "hit_rate@1", "hr@5": "hit_rate@5", "hr@20": "hit_rate@20"}
    names |= {name: name for name in ("ndcg@5", "ndcg@10", "ndcg@20", "mrr")}
    theirs = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(run), list(names.values()))
    ours = ranking.rank_metrics_per_user(ranking.rank_in_list(lists, target))
    assert 0.2 < ours["hr@20"].mean() < 0.8  # hits and misses both occur
    for name, their_name in names.items():
        np.testing.assert_allclose(ours[name].mean(), theirs[their_name], err_msg=name)


def test_ndcg_among_scores_equals_scikit_learn():
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(2)
    scores, position = rng.normal(size=(N, 15)), rng.integers(15, size=N)
    ranks = ranking.rank_among_scores(scores, position)
    expected = ndcg_score(np.eye(15)[position], scores, k=5)
    np.testing.assert_allclose(ranking.ndcg(ranks, 5).mean(), expected)


@pytest.mark.parametrize(
    ("items", "target", "rank"),
    [
        ([4, 5, 6], 4, 1),
        ([4, 5, 6], 6, 3),
        ([4, 5, 6], 7, 0),
        ([4, 4, 4, 6], 6, 2),  # a repeated item takes no second place
        ([6, 4, 6], 6, 1),  # the first of two counts
        ([-1, -1, 6], 6, 3),  # outputs that are no item keep their places
        ([-1, -1], 0, 0),
        ([], 3, 0),
    ],
)
def test_rank_in_list(items, target, rank):
    assert ranking.rank_in_list([items], [target]).tolist() == [rank]


def test_excluded_items_leave_the_list():
    lists = [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 1, -1, 3]]
    history = [[1, 2], [], [3], [1]]
    ranks = ranking.rank_in_list(lists, [3, 3, 3, 3], excluded=history)
    assert ranks.tolist() == [1, 3, 0, 2]


def test_excluded_items_are_those_of_the_same_user():
    ranks = ranking.rank_in_list([[1, 2], [1, 2]], [2, 2], excluded=[np.array([1]), np.array([9])])
    assert ranks.tolist() == [1, 2]


def test_lists_of_any_length():
    assert ranking.rank_in_list([[1, 2, 3], [3], []], [3, 3, 3]).tolist() == [3, 1, 0]


small_items = st.lists(st.integers(-1, 6), max_size=8)
users = st.lists(
    st.tuples(small_items, st.integers(0, 6), st.lists(st.integers(0, 6), max_size=4)), min_size=1
)


@given(users)
@settings(max_examples=200, deadline=None)
def test_rank_in_list_equals_one_user_at_a_time(rows):
    lists, targets, history = zip(*rows, strict=True)
    full = ranking.rank_in_list(lists, targets)
    assert full.tolist() == [slow_rank(i, t) for i, t, _ in rows]
    unseen = ranking.rank_in_list(lists, targets, excluded=history)
    assert unseen.tolist() == [slow_rank(i, t, h) for i, t, h in rows]
    new_target = np.array([t not in h for _, t, h in rows])
    # A target outside the history is found in both, and never lower without the history.
    assert (unseen <= full)[new_target].all()
    assert ((unseen > 0) == (full > 0))[new_target].all()
    assert (unseen == 0)[~new_target].all()


@given(st.lists(st.one_of(st.integers(0, 60), st.just(np.inf)), min_size=1))
def test_bounds(ranks):
    cutoffs = (1, 2, 5, 10, 20)
    hits = np.stack([ranking.hit_rate(ranks, k) for k in cutoffs])
    gains = np.stack([ranking.ndcg(ranks, k) for k in cutoffs])
    reciprocal = ranking.reciprocal_rank(ranks)
    assert ((hits == 0) | (hits == 1)).all()
    assert (np.diff(hits, axis=0) >= 0).all() and (np.diff(gains, axis=0) >= 0).all()
    assert (gains >= 0).all() and (gains <= hits).all()
    assert (reciprocal >= 0).all() and (reciprocal <= 1).all()
    found = np.array([0 < rank < np.inf for rank in ranks])
    assert ((reciprocal > 0) == found).all()


def test_ties_count_against_the_target():
    scores = np.array([[0.5, 0.5, 0.5], [0.1, 0.9, 0.1], [0.9, 0.1, 0.2]])
    assert ranking.rank_among_scores(scores, [1, 2, 0]).tolist() == [3, 3, 1]


def test_nan_counts_against_the_target():
    scores = np.array([[np.nan, 0.1, 0.2], [0.9, np.nan, 0.2], [np.nan] * 3])
    assert ranking.rank_among_scores(scores, [0, 0, 1]).tolist() == [3, 2, 3]


def test_masked_candidates_do_not_count():
    scores = np.array([[0.5, 0.9, 0.7, 0.5]])
    mask = np.array([[True, False, True, False]])
    assert ranking.rank_among_scores(scores, [0], mask).tolist() == [2]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: ranking.hit_rate([-1], 5), "ranks holds -1"),
        (lambda: ranking.hit_rate([1.5], 5), "ranks holds 1.5"),
        (lambda: ranking.reciprocal_rank([np.nan]), "ranks holds nan"),
        (lambda: ranking.ndcg([1], 0), "k is 0"),
        (lambda: ranking.rank_in_list([[1]], [1, 2]), "item_indices has 1 lists"),
        (lambda: ranking.rank_in_list([[-1]], [-1]), "target holds -1"),
        (lambda: ranking.rank_in_list([[1.5]], [1]), "float64 entries"),
        (lambda: ranking.rank_in_list([[1]], [1], excluded=[]), "excluded has 0 entries"),
        (lambda: ranking.rank_among_scores([[1.0]], [1]), "target_position is 1 in row 0"),
        (
            lambda: ranking.rank_among_scores([[1.0]], [0], np.array([[False]])),
            "target_position is 0 in row 0",
        ),
        (lambda: ranking.rank_among_scores([[1.0]], [0, 0]), "do not fit"),
    ],
)
def test_wrong_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
