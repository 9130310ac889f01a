"""Neighbours against a cosine by hand, and factors on planted clusters."""

import numpy as np
import pytest

from rec_align.baselines import protocol
from rec_align.baselines.item_knn import ItemKNN
from rec_align.baselines.matrix_factorization import ALS, BPRMF
from rec_align.baselines.popularity import Popularity

pytest.importorskip("implicit", reason="pip install 'rec_align[baselines]'")


def silent(line):
    del line


def test_item_knn_is_the_cosine_of_the_nearest():
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 15, size=rng.integers(0, 9)) for _ in range(40)]
    has = np.zeros((40, 16))  # item 15 has no user
    for user, history in enumerate(histories):
        has[user, history] = 1
    lengths = np.maximum(np.sqrt((has**2).sum(0)), 1)
    cosines = (has.T @ has) / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, 0)
    nearest = np.where(cosines >= np.sort(cosines, axis=1)[:, [-4]], cosines, 0)

    everything = ItemKNN.fit(histories, 16, report=silent, num_neighbours=16)
    np.testing.assert_allclose(everything.similarities.toarray(), cosines, atol=1e-6)
    few = ItemKNN.fit(histories, 16, report=silent, num_neighbours=4).similarities.toarray()
    assert ((few > 0).sum(1) <= 4).all()
    # Which of equally near ones is kept may differ, how near they are may not.
    np.testing.assert_allclose(np.sort(few)[:, -4:], np.sort(nearest)[:, -4:], atol=1e-6)
    asked = [np.array([2, 7, 2]), np.array([], int)]
    expected = np.array([cosines[2] + cosines[7], np.zeros(16)])
    np.testing.assert_allclose(everything.score([0, 1], asked), expected, atol=1e-6)


@pytest.fixture(scope="module")
def planted():
    """Five groups of users, each with its own ten items, the last of a user's held out."""
    rng = np.random.default_rng(1)
    whole = [10 * (user % 5) + rng.permutation(10)[:8] for user in range(200)]
    held_out = protocol.HeldOut(
        users=np.arange(200),
        histories=[items[:-1] for items in whole],
        targets=np.array([items[-1] for items in whole]),
    )
    return held_out.histories, held_out


@pytest.mark.parametrize("baseline", [ItemKNN, ALS, BPRMF])
def test_groups_are_found(planted, baseline):
    histories, held_out = planted

    def hits(fitted):
        return (protocol.ranks(fitted, held_out, exclude_history=True) <= 3).mean()

    assert hits(baseline.fit(histories, 50, report=silent)) > 0.8  # three items are left
    assert hits(Popularity.fit(histories, 50)) < 0.3


def test_als_looks_at_the_history_given_and_bpr_at_the_user(planted):
    histories, held_out = planted
    of_another_group = [histories[1]]
    als, bpr = (method.fit(histories, 50, report=silent) for method in (ALS, BPRMF))
    assert als.score([0], of_another_group)[0].argmax() // 10 == 1
    assert als.score([10_000], of_another_group)[0].argmax() // 10 == 1  # unknown to train
    assert bpr.score([0], of_another_group)[0].argmax() // 10 == 0
    with pytest.raises(ValueError, match="users holds 200, but BPR was fitted on 200 users"):
        bpr.score([200], of_another_group)
    assert held_out.users.max() == 199


def test_of_a_user_without_items_only_the_biases_are_known():
    bpr = BPRMF.fit([np.array([0, 1]), np.array([], int)], 3, report=silent)
    np.testing.assert_array_equal(bpr.score([1], [[]]), [bpr.item_factors[:, -1]])
    als = ALS.fit([np.array([0, 1]), np.array([1, 2])], 3, report=silent)
    assert als.score([0], [[]]).tolist() == [[0, 0, 0]]


def test_progress_is_told(planted):
    told = []
    ALS.fit(planted[0], 50, report=told.append)
    assert told == ["ALS: epoch 10 of 15", "ALS: epoch 15 of 15"]
