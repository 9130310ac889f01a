"""Comparisons of planted lists: scores and tests by hand, slices, breadth, tables and page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rec_align import comparison_page
from rec_align.metrics import comparison, rendering, slices
from rec_align.metrics.beyond_accuracy import coverage, novelty
from rec_align.metrics.comparison import Lists, Users

NUM_USERS, NUM_ITEMS = 40, 12


def always(place: int) -> Lists:
    """Lists of 10 with the target, item u % 12 of user u, at a place; 11 = not at all."""
    rows = []
    for user in range(NUM_USERS):
        others = [item for item in range(NUM_ITEMS) if item != user % NUM_ITEMS][:10]
        others.insert(place - 1, user % NUM_ITEMS)
        rows.append(others[:10])
    return Lists(full=np.array(rows))


USERS = Users(
    target=np.arange(NUM_USERS) % NUM_ITEMS,
    histories=[np.full(1 + user % 4, (user + 1) % NUM_ITEMS) for user in range(NUM_USERS)],
    item_counts=np.arange(NUM_ITEMS) + 1,
)


@pytest.fixture(scope="module")
def results():
    half = np.where(np.arange(NUM_USERS)[:, None] % 2, always(1).full, always(11).full)
    systems = {"third": [always(3)], "half": [Lists(full=half)], "two": [always(1), always(11)]}
    return comparison.compare(USERS, systems)


def test_scores_and_seeds_by_hand(results):
    third, half, two = (results["systems"][name]["metrics"] for name in ("third", "half", "two"))
    assert third["full/hr@5"] == 1 and third["full/ndcg@10"] == 1 / np.log2(4)
    assert half["full/hr@10"] == two["full/hr@10"] == 0.5
    # Each user of "two" has the mean of his two runs, so nothing differs between users.
    assert two["full/hr@10_low"] == two["full/hr@10_high"] == 0.5
    assert two["full/hr@10_sd"] == pytest.approx(np.std([0, 1], ddof=1))
    assert half["full/hr@10_low"] < 0.4 and "full/hr@10_sd" not in half
    # Items of the history leave the list, and the target moves up.
    assert third["unseen/ndcg@10"] > third["full/ndcg@10"]


def test_differences_are_to_the_first_system(results):
    assert "difference" not in results["systems"]["third"]
    found = results["systems"]["half"]["difference"]["full/hr@10"]
    assert found["difference"] == -0.5 and found["high"] < 0 and found["p_value"] < 0.01
    assert results["systems"]["two"]["difference"]["full/hr@10"]["difference"] == -0.5


def test_a_list_decoded_without_the_history_counts_for_unseen():
    found = comparison.compare(USERS, {"a": [Lists(full=always(11).full, unseen=always(1).full)]})
    metrics = found["systems"]["a"]["metrics"]
    assert metrics["full/hr@10"] == 0 and metrics["unseen/hr@10"] == 1


def test_slices_hold_every_user_once_and_mean_to_the_whole(results):
    for found in results["slices"].values():
        assert sum(part["n"] for part in found.values()) == NUM_USERS
        for name, system in results["systems"].items():
            total = sum(p["n"] * p["systems"][name]["full/hr@5"] for p in found.values())
            assert total / NUM_USERS == pytest.approx(system["metrics"]["full/hr@5"])
    assert list(results["slices"]["items in the history"]) == ["1", "2", "3", "4"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.integers(1, 6))
def test_every_user_is_in_one_slice(values, num_slices):
    found = slices.quantile_slices(values, num_slices)
    assert np.sum([mask for _, mask in found], axis=0).tolist() == [1] * len(values)
    assert 1 <= len(found) <= num_slices
    assert len({label for label, _ in found}) == len(found)


def test_slices_of_different_values_are_equal():
    sizes = [mask.sum() for _, mask in slices.quantile_slices(np.arange(100))]
    assert sizes == [25] * 4


def test_breadth_by_hand():
    rows = np.array([[0, 1, 9], [0, -1, 9]])
    assert coverage(rows, num_items=10, k=2) == 0.2
    # Counts 1 and 5 with one more each, of 6 + 4 in all.
    counts = np.array([1, 5, 0, 0])
    expected = [-(np.log2(0.2) + np.log2(0.6)) / 2, -np.log2(0.2)]
    np.testing.assert_allclose(novelty(rows, counts, k=2), expected)
    assert novelty(np.array([[-1]]), counts, k=1).tolist() == [0]


def test_tables_name_the_protocol_and_mark_the_best(results):
    scores, difference, by_history, by_popularity = comparison.tables(results, "unseen")
    assert "history excluded" in scores.caption and "n = 40" in scores.caption
    assert scores.columns[0] == "runs" and scores.rows["two"][0] == "2"
    assert {name for name, column in scores.best if column == "hr@5"} == {"third"}
    assert list(difference.rows) == ["half", "two"] and "third" in difference.title
    assert re.fullmatch(r"-0\.5000 \[-.*\] p 0\.\d+", difference.rows["half"][0])
    assert "n = 10" in by_history.columns[0] and "interactions" in by_popularity.title


def test_the_page_stands_alone_and_escapes(results):
    name = "<b>&one</b>"
    results = comparison.compare(USERS, {name: [always(1)], "other": [always(2)]})
    page = comparison_page.render(results, "shop <1>")
    assert name not in page and "&lt;b&gt;&amp;one" in page and "shop &lt;1&gt;" in page
    assert not re.search(r'(?:src|href)="(?!#)(?!data:)', re.sub(r"xmlns[^ >]*", "", page))
    assert page.count("<svg") == 4
    body = page.split("<body>")[1].split("</body>")[0]
    ElementTree.fromstring(f"<div>{body}</div>")  # well-formed


def test_one_system_needs_no_differences():
    results = comparison.compare(USERS, {"only": [always(1)]})
    titles = [table.title for table in comparison.tables(results)]
    assert not any(title.startswith("Against") for title in titles)
    assert "only" in rendering.markdown(comparison.tables(results))
    with pytest.raises(ValueError, match="systems is empty"):
        comparison.compare(USERS, {})
