"""The SeqIO metric functions: written results, missing and odd values, SeqIO's own signature."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.metrics import bootstrap, seqio_metrics

TARGETS = [
    {"item_index": 5, "history_item_indices": np.array([3, 4])},
    {"item_index": 6, "history_item_indices": np.array([], dtype=np.int64)},
    {"item_index": 7, "history_item_indices": np.array([7])},
    {"item_index": 8, "history_item_indices": np.array([1])},
]
# Full ranks 3, 1, 2, none; without history 1, 1, none (its own target), none.
LISTS = [[3, 4, 5, 9], [6, -1, -1, 2], [2, 7, 3, 4], [1, 2, 3, -1]]
TEXTS = ["a", "b", "c", "d"]


def test_retrieval():
    scores = seqio_metrics.retrieval(TARGETS, TEXTS, {"item_indices": LISTS})
    expected = {
        "full/hr@1": 1 / 4,
        "full/hr@5": 3 / 4,
        "full/ndcg@5": (1 / math.log2(4) + 1 + 1 / math.log2(3)) / 4,
        "full/mrr": (1 / 3 + 1 + 1 / 2) / 4,
        "unseen/hr@1": 2 / 4,
        "unseen/hr@20": 2 / 4,
        "unseen/mrr": 2 / 4,
        "invalid_share": 3 / 16,
        "target_in_history_share": 1 / 4,
        "list_length": 4,
        "n": 4,
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert "proven_top10_share" not in scores


def test_retrieval_has_every_metric_with_bounds():
    scores = seqio_metrics.retrieval(TARGETS, TEXTS, {"item_indices": LISTS})
    metrics = ["hr@1", "hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr"]
    for name in [f"{prefix}/{metric}" for prefix in ("full", "unseen") for metric in metrics]:
        assert 0 <= scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"] <= 1, name
    assert scores["full/hr@5_low"] < scores["full/hr@5_high"]
    assert {type(value) for value in scores.values()} == {float, int}


def test_retrieval_takes_what_a_decoder_returns():
    aux_values = {"item_indices": [np.array(row, np.int32) for row in LISTS]}
    aux_values["num_exact"] = [np.int32(n) for n in (10, 9, 0, 20)]
    scores = seqio_metrics.retrieval(TARGETS, TEXTS, aux_values)
    assert scores["proven_top10_share"] == 2 / 4
    assert scores["full/hr@5"] == 3 / 4


def test_retrieval_uses_a_list_decoded_without_history_where_there_is_one():
    unseen = [[5], [1], [1], [8]]
    scores = seqio_metrics.retrieval(
        TARGETS, TEXTS, {"item_indices": LISTS, "unseen_item_indices": unseen}
    )
    assert scores["unseen/hr@1"] == 2 / 4 and scores["full/hr@1"] == 1 / 4
    assert seqio_metrics.retrieval_per_user(
        TARGETS, {"item_indices": LISTS, "unseen_item_indices": unseen}
    )["unseen/hr@1"].tolist() == [1, 0, 0, 1]


def test_short_lists_count_only_what_they_return():
    scores = seqio_metrics.retrieval(
        TARGETS, TEXTS, {"item_indices": [[5], [], [-1, 7, 1], [-1, -1]]}
    )
    assert scores["invalid_share"] == 3 / 6 and scores["list_length"] == 6 / 4
    assert scores["full/mrr"] == (1 + 1 / 2) / 4


def test_lists_without_any_item():
    scores = seqio_metrics.retrieval(TARGETS, TEXTS, {"item_indices": [[], [], [], []]})
    assert scores["full/hr@20"] == 0 and scores["invalid_share"] == 0
    nothing = seqio_metrics.retrieval(TARGETS, TEXTS, {"item_indices": [[-1] * 5] * 4})
    assert nothing["full/hr@20"] == 0 and nothing["invalid_share"] == 1


def test_per_user_values_compare_two_systems():
    worse = {"item_indices": [[0, *row] for row in LISTS]}
    ours = seqio_metrics.retrieval_per_user(TARGETS, {"item_indices": LISTS})["full/mrr"]
    theirs = seqio_metrics.retrieval_per_user(TARGETS, worse)["full/mrr"]
    found = bootstrap.paired_difference(ours, theirs)
    expected = np.mean([1 / 3 - 1 / 4, 1 - 1 / 2, 1 / 2 - 1 / 3, 0])
    assert found.difference == pytest.approx(expected)


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("scores", "position", "rank", "num_candidates"),
    [
        ([0.1, 0.9, 0.5], 1, 1, 3),
        ([0.9, 0.9, 0.5], 1, 2, 3),
        ([0.9, 0.7, -INF, NAN], 1, 2, 2),
        ([0.9, NAN, -INF, 0.1], 1, 4, 4),  # an unscored target is last of all
        ([NAN, NAN, NAN], 0, 3, 3),
        ([-INF, -INF, -INF], 2, 3, 3),
    ],
)
def test_ranking(scores, position, rank, num_candidates):
    found = seqio_metrics.ranking(
        [{"target_position": position}], ["x"], {"candidate_scores": [scores]}
    )
    assert found["mrr"] == pytest.approx(1 / rank)
    assert found["hr@5"] == 1 and found["hr@1"] == (rank == 1)
    assert found["num_candidates"] == num_candidates and found["n"] == 1
    assert found["invalid_share"] == (not np.isfinite(scores[position]))


def test_ranking_has_every_metric_with_bounds_as_plain_numbers():
    found = seqio_metrics.ranking(
        [{"target_position": 0}, {"target_position": 1}],
        ["x", "y"],
        {"candidate_scores": [[0.5, 0.1], [0.5, 0.1, 0.2]]},
    )
    for name in ("hr@1", "hr@5", "hr@10", "ndcg@5", "ndcg@10", "mrr"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert found["num_candidates"] == 2.5
    assert {type(value) for value in found.values()} == {float, int}


@given(st.lists(st.lists(st.floats(-3, 3), min_size=2, max_size=30), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_ranking_bounds(rows):
    targets = [{"target_position": len(row) // 2} for row in rows]
    found = seqio_metrics.ranking(targets, [""] * len(rows), {"candidate_scores": rows})
    assert 0 <= found["hr@1"] <= found["hr@5"] <= found["hr@10"] <= 1
    assert found["ndcg@5"] <= found["hr@5"] and found["ndcg@10"] <= found["hr@10"]
    assert found["hr@1"] <= found["mrr"] <= 1


def test_rating():
    found = seqio_metrics.rating([4.0, {"rating": 5.0}, np.float32(1)], [" 2 ", "five", "1.0"], {})
    assert found["rmse"] == pytest.approx(math.sqrt(((4 - 2) ** 2 + (5 - 3) ** 2 + 0) / 3))
    assert found["mae"] == pytest.approx((2 + 2 + 0) / 3)
    assert (found["num_invalid"], found["n"]) == (1, 3)
    assert found["invalid_share"] == pytest.approx(1 / 3)
    assert 0 <= found["rmse_low"] <= found["rmse"] <= found["rmse_high"] <= 2
    assert {type(value) for value in found.values()} == {float, int}


def test_span_accuracy():
    found = seqio_metrics.span_accuracy(["red car", "a bus"], ["red car", "bus stop"])
    assert found["exact_match"] == 1 / 2
    assert found["token_f1"] == pytest.approx((1 + 2 * 1 / (1 + 2)) / 2)
    assert found["n"] == 2 and found["token_f1_low"] < found["token_f1_high"]
    assert {type(value) for value in found.values()} == {float, int}


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (seqio_metrics.retrieval, ["targets", "predictions", "aux_values"]),
        (seqio_metrics.ranking, ["targets", "predictions", "aux_values"]),
        (seqio_metrics.rating, ["targets", "predictions", "aux_values"]),
        (seqio_metrics.span_accuracy, ["targets", "predictions"]),
    ],
)
def test_arguments_have_the_names_that_seqio_asks_for(function, arguments):
    assert list(inspect.signature(function).parameters) == arguments


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: seqio_metrics.retrieval(TARGETS, TEXTS, {}), "no 'item_indices'"),
        (
            lambda: seqio_metrics.retrieval(TARGETS, TEXTS[:2], {"item_indices": LISTS}),
            "'predictions': 2",
        ),
        (
            lambda: seqio_metrics.retrieval(TARGETS, TEXTS, {"item_indices": LISTS[:3]}),
            "'item_indices': 3",
        ),
        (
            lambda: seqio_metrics.retrieval(
                TARGETS, TEXTS, {"item_indices": LISTS, "num_exact": [1]}
            ),
            "'num_exact': 1",
        ),
        (lambda: seqio_metrics.retrieval([], [], {"item_indices": []}), "at least one user"),
        (
            lambda: seqio_metrics.ranking(
                [{"target_position": 2}, {"target_position": 0}],
                ["", ""],
                {"candidate_scores": [[1.0, 2.0], [1.0, 2.0, 3.0]]},
            ),
            "target_position is 2 in row 0",
        ),
        (lambda: seqio_metrics.span_accuracy([], []), "at least one user"),
    ],
)
def test_wrong_arguments_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_padding_of_a_list_is_no_output():
    """SeqIO's Evaluator wants lists of one length; `num_returned` says where each ends."""
    targets = [{"item_index": 5, "history_item_indices": np.array([], int)}] * 2
    lists = {"item_indices": [[5, 3, -1, -1], [-1, 5, 7, 9]]}
    padded = seqio_metrics.retrieval(targets, ["", ""], lists | {"num_returned": [2, 4]})
    assert padded["invalid_share"] == 1 / 6 and padded["list_length"] == 3
    assert seqio_metrics.retrieval(targets, ["", ""], lists)["invalid_share"] == 3 / 8
