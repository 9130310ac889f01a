"""Ratings and texts: what is read, errors against scikit-learn, token F1 by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rec_align.metrics import rating, text


@pytest.mark.parametrize(
    ("written", "value"),
    [("1", 1.0), ("5", 5.0), (" 4\n", 4.0), ("3.5", 3.5), ("5.0", 5.0), ("04", 4.0)],
)
def test_ratings_that_are_read(written, value):
    assert rating.parse_rating(written) == value


@pytest.mark.parametrize(
    "written",
    ["", " ", "four", "4 stars", "4,5", "-3", "+3", "0", "0.9", "5.1", "6", "1e0", "4.", ".5"],
)
def test_all_else_is_no_rating(written):
    assert np.isnan(rating.parse_rating(written))


@pytest.mark.parametrize(
    "written", ["nan", "inf", "4 4", "3.5.1", "4\n4", "\N{ARABIC-INDIC DIGIT FOUR}"]
)
def test_what_python_would_read_is_no_rating_either(written):
    assert np.isnan(rating.parse_rating(written))


@given(st.floats(1, 5))
def test_written_numbers_come_back(value):
    assert rating.parse_rating(f"{value:.12f}") == pytest.approx(value, abs=1e-11)


def test_errors_equal_scikit_learn():
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    rng = np.random.default_rng(0)
    targets, predictions = rng.integers(1, 6, 300).astype(float), rng.uniform(1, 5, 300)
    errors = rating.rating_errors_per_user(targets, predictions)
    rmse = rating.TRANSFORMS["rmse"](errors["rmse"].mean())
    np.testing.assert_allclose(rmse, root_mean_squared_error(targets, predictions))
    np.testing.assert_allclose(errors["mae"].mean(), mean_absolute_error(targets, predictions))


def test_a_missing_rating_is_the_middle_and_is_counted():
    predictions = rating.parse_ratings(["5", "?", "9"])
    errors = rating.rating_errors_per_user([5.0, 1.0, 3.5], predictions)
    np.testing.assert_allclose(errors["mae"], [0, 3 - 1, 3.5 - 3])
    assert rating.count_invalid(predictions) == {"num_invalid": 2, "invalid_share": 2 / 3}


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="targets holds nan"):
        rating.rating_errors_per_user([np.nan], [1.0])
    with pytest.raises(ValueError, match="do not fit"):
        rating.rating_errors_per_user([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="targets has 1 texts and predictions 0"):
        text.text_scores_per_user(["a"], [])


@pytest.mark.parametrize(
    ("target", "prediction", "f1"),
    [
        ("red car", "red car", 1),
        ("The Red-Car!", "redcar", 1),  # case, articles and punctuation do not count
        ("red car", "blue bus", 0),
        ("red car", "red", 2 * 1 * (1 / 2) / (1 + 1 / 2)),
        ("car car bus", "car bus bus", 2 / 3),  # a bag: each word as often as in both
        ("", "", 1),
        ("car", "", 0),
        ("the", "car", 0),
    ],
)
def test_token_f1(target, prediction, f1):
    assert text.token_f1(target, prediction) == pytest.approx(f1)
    assert text.token_f1(prediction, target) == pytest.approx(f1)


@given(st.text(), st.text())
def test_text_bounds(target, prediction):
    assert 0 <= text.token_f1(target, prediction) <= 1
    if text.exact_match(target, prediction):
        assert text.token_f1(target, prediction) == 1
    assert text.exact_match(target, f" {target}\n") == 1
