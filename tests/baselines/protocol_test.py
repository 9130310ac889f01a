"""Ranking by the protocol against a sort; and that no baseline sees what it is scored on."""

import dataclasses
import sys

import numpy as np
import pytest

from rec_align.baselines import protocol
from rec_align.baselines.popularity import Popularity
from rec_align.baselines.protocol import HeldOut
from rec_align.baselines.registry import BASELINES, NEED_IMPLICIT, WITHOUT_SEED
from rec_align.models.sasrec import SASRecConfig


class Fixed:
    """Scores [num_users, num_items] that were given."""

    def __init__(self, scores):
        self.scores = scores

    def score(self, users, histories):
        assert len(users) == len(histories)
        return self.scores[users]


@pytest.fixture(scope="module")
def scored():
    """More users than are scored at once, in no order, with scores that often tie."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(600, 30)).astype(np.float32)
    users = rng.permutation(600)
    histories = [rng.integers(0, 30, size=rng.integers(0, 40)) for _ in users]
    held_out = HeldOut(users=users, histories=histories, targets=rng.integers(0, 30, size=600))
    return Fixed(scores), held_out


def expected_order(scores, user, history):
    left = [item for item in range(30) if item not in history]
    return sorted(left, key=lambda item: (-scores[user, item], item))


@pytest.mark.parametrize("exclude_history", [False, True])
def test_ranks_count_what_is_not_below_the_target(scored, exclude_history):
    baseline, held_out = scored
    found = protocol.ranks(baseline, held_out, exclude_history=exclude_history)
    for rank, user, history, target in zip(
        found, held_out.users, held_out.histories, held_out.targets, strict=True
    ):
        kept = expected_order(baseline.scores, user, history if exclude_history else [])
        at_least = [i for i in kept if baseline.scores[user, i] >= baseline.scores[user, target]]
        assert rank == (len(at_least) if target in kept else 0)


@pytest.mark.parametrize("exclude_history", [False, True])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_lists_are_a_sort(scored, exclude_history, k):
    baseline, held_out = scored
    found = protocol.recommend(
        baseline, held_out.users, held_out.histories, k, exclude_history=exclude_history
    )
    assert found.shape == (600, k)
    for row, user, history in zip(found, held_out.users, held_out.histories, strict=True):
        best = expected_order(baseline.scores, user, history if exclude_history else [])[:k]
        assert row.tolist() == best + [-1] * (k - len(best))


def test_lists_by_popularity_are_its_own():
    counts = np.random.default_rng(3).integers(0, 4, size=20)
    popularity = Popularity(counts)
    histories = [np.array([1, 5]), np.array([], int), np.arange(20)]
    found = protocol.recommend(popularity, np.arange(3), histories, 8, exclude_history=True)
    for row, history in zip(found, histories, strict=True):
        assert row.tolist() == popularity.top_k(8, excluded=history).tolist()


def test_candidates_have_their_items_scores(scored):
    baseline, held_out = scored
    candidates = np.random.default_rng(2).integers(-1, 30, size=(600, 5))
    found = protocol.score_candidates(baseline, held_out.users, held_out.histories, candidates)
    for row, user, items in zip(found, held_out.users, candidates, strict=True):
        assert row.tolist() == [
            baseline.scores[user, i] if i >= 0 else float("-inf") for i in items
        ]


def examples(sequences, held_out):
    return [
        {"user_index": user, "item_indices": sequence[: len(sequence) - held_out]}
        for user, sequence in enumerate(sequences)
    ]


@pytest.fixture(scope="module")
def sequences():
    """Users of a third of the items each; the next item is often three further on."""
    rng = np.random.default_rng(4)
    return [
        (3 * (rng.integers(12) + np.cumsum(rng.integers(1, 3, size=9))) + user % 3) % 36
        for user in range(90)
    ]


SMALL = SASRecConfig(num_items=36, emb_dim=16, max_length=10)
OPTIONS = {"sasrec": {"num_epochs": 2, "config": SMALL}}


@pytest.mark.parametrize("name", BASELINES)
def test_the_seed_decides_and_nothing_else(name, sequences):
    if name in NEED_IMPLICIT:
        pytest.importorskip("implicit", reason="pip install 'rec_align[baselines]'")

    def scores(seed):
        baseline = BASELINES[name](
            protocol.train_histories(examples(sequences, 2)),
            36,
            validation=HeldOut.from_examples(examples(sequences, 1)),
            seed=seed,
            report=lambda line: None,
            **OPTIONS.get(name, {}),
        )
        test = HeldOut.from_examples(examples(sequences, 0))
        return baseline.score(test.users, test.histories)

    found = scores(3)
    assert found.shape == (90, 36) and found.dtype == np.float32
    np.testing.assert_array_equal(found, scores(3))
    assert (found == scores(4)).all() == (name in WITHOUT_SEED)


def test_validation_targets_decide_when_to_stop_and_nothing_else(sequences):
    train = protocol.train_histories(examples(sequences, 2))
    validation = HeldOut.from_examples(examples(sequences, 1))
    others = dataclasses.replace(validation, targets=(validation.targets + 5) % 36)
    found = [
        BASELINES["sasrec"](
            train,
            36,
            validation=held_out,
            report=lambda line: None,
            num_epochs=1,
            config=SMALL,
        ).score(validation.users, validation.histories)
        for held_out in (validation, others)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ["item_knn", "als", "bpr_mf"])
def test_without_the_library_the_error_says_what_to_install(name, monkeypatch):
    for module in ("implicit", *(m for m in sys.modules if m.startswith("implicit."))):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"pip install 'rec_align\[baselines\]'"):
        BASELINES[name]([np.array([0, 1])], 2, validation=None, report=lambda line: None)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: protocol.flatten([[0], [4]], 4), "num_items = 4"),
        (
            lambda: protocol.score_candidates(Popularity([1]), [0], [[]], [[1]]),
            "candidates holds 1, beyond the 1 items",
        ),
        (lambda: protocol.ranks(Popularity([1, 2]), TARGET_5, exclude_history=True), "histories"),
    ],
)
def test_wrong_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


TARGET_5 = HeldOut(users=np.array([0]), histories=[np.array([5])], targets=np.array([1]))
