"""Bootstrap: coverage, theory, scipy as second implementation, paired comparisons."""

import numpy as np
import pytest
import scipy.stats

from rec_align.metrics import bootstrap


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = {"hit": 0, "rmse": 0}
    repeats = 400
    for seed in range(repeats):
        per_user = {"hit": rng.random(200) < 0.3, "rmse": rng.normal(scale=2, size=200) ** 2}
        s = bootstrap.summarise(per_user, {"rmse": np.sqrt}, num_resamples=400, seed=seed)
        for name, truth in (("hit", 0.3), ("rmse", 2.0)):
            covered[name] += s[f"{name}_low"] <= truth <= s[f"{name}_high"]
    # The standard error of the share is .011.
    assert 0.91 < covered["hit"] / repeats < 0.985, covered
    assert 0.91 < covered["rmse"] / repeats < 0.985, covered


def test_resampled_means_spread_as_theory_says():
    values = np.random.default_rng(1).exponential(size=(500, 2))
    means = bootstrap.resampled_means(values, num_resamples=4000)
    np.testing.assert_allclose(means.mean(axis=0), values.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(means.std(axis=0), values.std(axis=0) / np.sqrt(500), rtol=0.05)
    # The two columns belong to the same users.
    together = np.corrcoef(means.T)[0, 1]
    assert together == pytest.approx(np.corrcoef(values.T)[0, 1], abs=0.06)


def test_equal_users_are_drawn_as_often_as_they_occur():
    hits = np.repeat([1.0, 0.0], [30, 270])[:, None]
    means = bootstrap.resampled_means(hits, num_resamples=4000)
    assert means.mean() == pytest.approx(0.1, abs=0.001)
    assert means.std() == pytest.approx(np.sqrt(0.1 * 0.9 / 300), rel=0.05)


def test_equal_to_scipy():
    values = np.random.default_rng(2).gamma(2, size=300)
    ours = bootstrap.summarise({"rmse": values}, {"rmse": np.sqrt}, num_resamples=9000)
    theirs = scipy.stats.bootstrap(
        (values,),
        lambda x, axis: np.sqrt(x.mean(axis=axis)),
        method="percentile",
        n_resamples=9000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours["rmse"] == pytest.approx(np.sqrt(values.mean()))
    assert ours["rmse_low"] == pytest.approx(theirs.low, abs=width * 0.04)
    assert ours["rmse_high"] == pytest.approx(theirs.high, abs=width * 0.04)


def test_level_widens_the_interval():
    values = {"x": np.random.default_rng(4).normal(size=100)}
    wide, narrow = (bootstrap.summarise(values, level=level) for level in (0.99, 0.5))
    assert wide["x_low"] < narrow["x_low"] < narrow["x_high"] < wide["x_high"]


def test_a_seed_fixes_the_result_and_another_changes_it():
    values = {"x": np.random.default_rng(5).normal(size=50)}
    assert bootstrap.summarise(values, seed=1) == bootstrap.summarise(values, seed=1)
    assert bootstrap.summarise(values, seed=1) != bootstrap.summarise(values, seed=2)


def test_chunks_do_not_change_what_is_computed(monkeypatch):
    values = np.random.default_rng(6).normal(size=(30, 1))
    whole = bootstrap.resampled_means(values, num_resamples=101)
    monkeypatch.setattr(bootstrap, "_CHUNK_ENTRIES", 7 * 30)
    np.testing.assert_allclose(bootstrap.resampled_means(values, num_resamples=101), whole)


def test_one_user_and_equal_users_have_no_width():
    assert bootstrap.summarise({"x": [0.25]}) == {"x": 0.25, "x_low": 0.25, "x_high": 0.25}
    assert bootstrap.summarise({"x": [0.0] * 9})["x_high"] == 0


def test_results_are_plain_floats():
    summary = bootstrap.summarise({"x": np.ones(3)}, {"x": np.sqrt})
    assert {type(value) for value in summary.values()} == {float}


def test_paired_difference_finds_a_small_steady_gain_that_intervals_hide():
    rng = np.random.default_rng(7)
    theirs = rng.normal(size=400)
    noise = rng.normal(scale=0.1, size=400)
    ours = theirs + 0.05 + noise - noise.mean()
    found = bootstrap.paired_difference(ours, theirs)
    assert found.difference == pytest.approx(0.05)
    half_width = 1.96 * noise.std() / np.sqrt(400)
    assert found.low == pytest.approx(0.05 - half_width, abs=0.1 * half_width)
    assert found.high == pytest.approx(0.05 + half_width, abs=0.1 * half_width)
    assert found.p_value == pytest.approx(2 / 1001) and found.num_users == 400
    alone = bootstrap.summarise({"ours": ours, "theirs": theirs})
    assert alone["ours_low"] < alone["theirs_high"]
    back = bootstrap.paired_difference(theirs, ours)
    assert back.difference == pytest.approx(-found.difference)
    assert back.p_value == found.p_value


def test_paired_p_values_are_even_without_a_difference():
    rng = np.random.default_rng(8)
    p_values = [
        bootstrap.paired_difference(*rng.normal(size=(2, 150)), num_resamples=300).p_value
        for _ in range(300)
    ]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    assert 0.42 < np.mean(np.array(p_values) < 0.5) < 0.58


def test_paired_difference_of_rmse_takes_the_root_of_each_mean():
    ours, theirs = np.array([4.0, 4.0, 4.0]), np.array([9.0, 9.0, 9.0])
    found = bootstrap.paired_difference(ours, theirs, np.sqrt)
    assert (found.difference, found.low, found.high) == (2 - 3, 2 - 3, 2 - 3)


def test_equal_systems_have_p_one_and_no_width():
    values = np.random.default_rng(9).random(101)
    found = bootstrap.paired_difference(values, values.copy(), np.sqrt)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_equal_sums_tie_whatever_their_last_bit():
    ours, theirs = np.array([7, 7, 0, 4]), np.array([6, 6, 3, 6])
    whole = bootstrap.paired_difference(ours, theirs)  # sums of whole numbers are exact
    assert bootstrap.paired_difference(ours / 10, theirs / 10).p_value == whole.p_value


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: bootstrap.summarise({"x": []}), "at least one user"),
        (lambda: bootstrap.summarise({"x": [1.0], "y": [1.0, 2.0]}), "'y': 2"),
        (lambda: bootstrap.summarise({"x": [np.nan]}), "values holds nan"),
        (lambda: bootstrap.summarise({"x": [1.0]}, level=95), "level is 95"),
        (lambda: bootstrap.summarise({"x": [1.0]}, num_resamples=0), "num_resamples is 0"),
        (lambda: bootstrap.paired_difference([1.0], [1.0, 2.0]), "ours has 1 users and theirs 2"),
    ],
)
def test_wrong_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
