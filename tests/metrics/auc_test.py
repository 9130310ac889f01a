"""The area under the ROC curve against all pairs, and its bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.metrics import rating, seqio_metrics
from rec_align.metrics.auc import auc, auc_bounds

examples = st.lists(st.tuples(st.booleans(), st.sampled_from([1.0, 2.0, 2.5, 4.0])), max_size=30)


def by_pairs(is_positive, scores) -> float:
    """Each positive against each negative: 1 in order, 1/2 tied."""
    pairs = [
        (p > n) + (p == n) / 2
        for p, is_p in zip(scores, is_positive, strict=True)
        for n, is_n in zip(scores, is_positive, strict=True)
        if is_p and not is_n
    ]
    return float(np.mean(pairs)) if pairs else np.nan


@settings(max_examples=100, deadline=None)
@given(examples)
def test_it_is_the_share_of_pairs_in_order(pairs):
    is_positive, scores = [p for p, _ in pairs], [s for _, s in pairs]
    np.testing.assert_allclose(auc(is_positive, scores), by_pairs(is_positive, scores))


def test_bounds_are_those_of_drawn_examples():
    rng = np.random.default_rng(0)
    is_positive = rng.random(300) < 0.6
    scores = np.round(rng.normal(size=300) + is_positive, 1)
    draws = rng.integers(0, 300, (1000, 300))
    expected = np.quantile([auc(is_positive[d], scores[d]) for d in draws], [0.025, 0.975])
    np.testing.assert_allclose(auc_bounds(is_positive, scores), expected, atol=0.01)
    assert expected[0] < auc(is_positive, scores) < expected[1]


def test_liked_items_are_those_rated_4_and_more():
    targets, predictions = [5.0, 4.0, 3.5, 1.0], [4.5, np.nan, 3.0, 3.1]
    found = rating.liked_auc(targets, predictions)
    # The missing one counts as 3.0: behind 3.1, level with 3.0.
    assert found["liked_auc"] == (2 + 1 / 2) / 4
    assert seqio_metrics.score_ratings(targets, predictions)["liked_auc"] == found["liked_auc"]
    assert rating.liked_auc([5.0, 4.0], [1.0, 2.0]) == {} == rating.liked_auc([3.0], [1.0])


def test_numbers_beside_the_texts_are_scored_instead():
    found = seqio_metrics.rating([4.0, 2.0], ["4", "4"], {"predicted_rating": [4.5, 2.0]})
    assert (found["mae"], found["liked_auc"], found["num_invalid"]) == (0.25, 1.0, 0)
    assert seqio_metrics.rating([4.0, 2.0], ["4", "4"], {})["mae"] == 1


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: auc([True], [1.0, 2.0]), r"is_positive \(1,\) and scores \(2,\)"),
        (lambda: auc([True, False], [1.0, np.nan]), "scores holds nan"),
        (lambda: auc_bounds([True, True], [1.0, 2.0]), "one kind"),
    ],
)
def test_bad_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
