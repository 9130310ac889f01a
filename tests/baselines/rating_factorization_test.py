"""Matrix factorisation of ratings: a planted matrix, its normal equations, newcomers, ML-100K."""

import numpy as np
import pytest

from rec_align.baselines.means import GlobalMean, ItemMean, UserMean
from rec_align.baselines.rating_factorization import RatingMF
from rec_align.eval import read_histories

NUM_USERS, NUM_ITEMS = 80, 60


def planted(rng: np.random.Generator) -> np.ndarray:
    """[users, items] of mean 3, with biases and one factor."""
    biases = rng.normal(scale=0.3, size=NUM_USERS)[:, None] + rng.normal(scale=0.3, size=NUM_ITEMS)
    return 3 + biases + np.outer(rng.normal(size=NUM_USERS), rng.normal(size=NUM_ITEMS))


def observed(ratings: np.ndarray, is_seen: np.ndarray) -> dict:
    items = np.arange(NUM_ITEMS)
    return {u: (items, np.where(is_seen[u], ratings[u], np.nan)) for u in range(len(ratings))}


def test_a_planted_matrix_is_found_from_half_of_it():
    rng = np.random.default_rng(0)
    ratings, is_seen = planted(rng), rng.random((NUM_USERS, NUM_ITEMS)) < 0.5
    options = {"num_factors": 2, "factor_ridge": 0.01, "bias_ridge": 0.01, "num_rounds": 30}
    mf = RatingMF.fit(observed(ratings, is_seen), **options)
    users, items = np.nonzero(~is_seen)
    errors = mf.predict(users, items) - ratings.clip(mf.lowest, mf.highest)[users, items]
    assert np.sqrt((errors**2).mean()) < 0.1 * ratings[~is_seen].std()
    # Without factors there is no product to be had.
    plain = RatingMF.fit(observed(ratings, is_seen), num_factors=0, bias_ridge=0.01)
    errors = plain.predict(users, items) - ratings[users, items]
    assert np.sqrt((errors**2).mean()) > 0.5 * ratings[~is_seen].std()


def test_the_last_half_round_is_the_ridge_regression():
    """Against a least-squares solver on the rows of one item, the ridge as rows of its own."""
    rng = np.random.default_rng(1)
    ratings, is_seen = planted(rng), rng.random((NUM_USERS, NUM_ITEMS)) < 0.3
    mf = RatingMF.fit(observed(ratings, is_seen), num_factors=3, factor_ridge=5.0, bias_ridge=2.0)
    for item in range(0, NUM_ITEMS, 7):
        raters = np.flatnonzero(is_seen[:, item])
        features = np.append(mf.users[raters, :-1], np.ones((len(raters), 1)), axis=1)
        residuals = ratings[raters, item] - mf.global_mean - mf.users[raters, -1]
        rows = np.concatenate([features, np.diag(np.sqrt([5.0, 5.0, 5.0, 2.0]))])
        expected = np.linalg.lstsq(rows, np.append(residuals, np.zeros(4)), rcond=None)[0]
        np.testing.assert_allclose(mf.items[item], expected, atol=1e-8)


def test_newcomers_have_what_is_known_of_the_other_side():
    rng = np.random.default_rng(2)
    ratings, is_seen = planted(rng), rng.random((NUM_USERS, NUM_ITEMS)) < 0.5
    is_seen[7], is_seen[:, 9] = False, False  # within the tables, but never rated
    mf = RatingMF.fit(observed(ratings, is_seen))
    mean = ratings[is_seen].mean()
    for user, item in ((7, 9), (999, 999), (-1, -1)):
        np.testing.assert_allclose(mf.predict([user], [item]), mean)
    np.testing.assert_allclose(mf.predict([7, 999], [3, 3]), mean + mf.items[3, -1])
    np.testing.assert_allclose(mf.predict([4, 4], [9, 999]), mean + mf.users[4, -1])
    everything = mf.predict(*map(np.ravel, np.indices(ratings.shape)))
    assert ratings[is_seen].min() <= everything.min()
    assert everything.max() <= ratings[is_seen].max()


def test_the_seed_fixes_it_and_nothing_to_learn_is_told():
    rng = np.random.default_rng(3)
    histories = observed(planted(rng), rng.random((NUM_USERS, NUM_ITEMS)) < 0.5)
    first, again, other = (RatingMF.fit(histories, seed=seed) for seed in (0, 0, 1))
    assert (first.users == again.users).all() and (first.items == again.items).all()
    assert not np.allclose(first.users, other.users)
    with pytest.raises(ValueError, match="histories of 1 users hold no rating"):
        RatingMF.fit({0: ([1], [np.nan])})


def test_it_beats_the_means_on_ml_100k(ml_100k_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
    train, test = (read_histories("ml_100k", split) for split in ("train", "test"))
    histories = {e["user_index"]: (e["item_indices"], e["ratings"]) for e in train}
    users, items, ratings = (
        np.array(column)
        for column in zip(
            *((e["user_index"], e["item_indices"][-1], e["ratings"][-1]) for e in test),
            strict=True,
        )
    )
    rmse = {
        baseline: np.sqrt(((baseline.fit(histories).predict(users, items) - ratings) ** 2).mean())
        for baseline in (GlobalMean, UserMean, ItemMean, RatingMF)
    }
    # Measured: 1.004 against 1.090; three seeds differ by .003.
    assert rmse[RatingMF] < 0.94 * min(v for k, v in rmse.items() if k is not RatingMF)
