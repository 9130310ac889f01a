"""Comparisons of planted lists: scores and tests by hand, slices, breadth, tables and page."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rec_align import comparison_page
from rec_align.metrics import comparison, rendering, slices
from rec_align.metrics.beyond_accuracy import coverage, novelty
from rec_align.metrics.comparison import Lists, Users, without_history
from rec_align.metrics.comparison_tables import tables

NUM_USERS, NUM_ITEMS = 40, 12


USERS = Users(
    target=np.arange(NUM_USERS) % NUM_ITEMS,
    histories=[np.full(1 + user % 4, (user + 1) % NUM_ITEMS) for user in range(NUM_USERS)],
    item_counts=np.arange(NUM_ITEMS) + 1,
)


def lists(rows: np.ndarray) -> Lists:
    return Lists(full=rows, unseen=without_history(rows, USERS.histories))


def always(place: int) -> np.ndarray:
    """Rows of 10 with the target, item u % 12 of user u, at a place; 11 = not at all."""
    rows = []
    for user in range(NUM_USERS):
        others = [item for item in range(NUM_ITEMS) if item != user % NUM_ITEMS][:10]
        others.insert(place - 1, user % NUM_ITEMS)
        rows.append(others[:10])
    return np.array(rows)


HALF = np.where(np.arange(NUM_USERS)[:, None] % 2, always(1), always(11))


@pytest.fixture(scope="module")
def results():
    rows = {"third": [always(3)], "half": [HALF], "two": [always(1), always(11)]}
    return comparison.compare(USERS, {name: list(map(lists, of)) for name, of in rows.items()})


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


def test_intervals_and_p_equal_a_bootstrap_by_loops(results):
    """As many users redrawn one by one: nothing shared with the code under test."""
    rng = np.random.default_rng(7)
    ours = np.arange(NUM_USERS) % 2
    third = np.full(NUM_USERS, 1 / np.log2(4))
    drawn = []
    for _ in range(4000):
        users = rng.integers(NUM_USERS, size=NUM_USERS)
        drawn.append((ours[users].mean(), ours[users].mean() - third[users].mean()))
    scores, differences = np.array(drawn).T
    metrics = results["systems"]["half"]["metrics"]
    bounds = [metrics["full/hr@10_low"], metrics["full/hr@10_high"]]
    np.testing.assert_allclose(bounds, np.quantile(scores, [0.025, 0.975]), atol=0.03)
    found = results["systems"]["half"]["difference"]["full/ndcg@10"]
    bounds = [found["low"], found["high"]]
    np.testing.assert_allclose(bounds, np.quantile(differences, [0.025, 0.975]), atol=0.03)
    expected = 2 * min((differences <= 0).mean(), (differences >= 0).mean())
    assert found["p_value"] == pytest.approx(min(1, expected), abs=0.1)


def test_lists_without_the_history_count_for_unseen():
    found = comparison.compare(USERS, {"a": [Lists(full=always(11), unseen=always(1))]})
    metrics = found["systems"]["a"]["metrics"]
    assert metrics["full/hr@10"] == 0 and metrics["unseen/hr@10"] == 1


def test_short_lists_and_proofs_are_told():
    rows = np.where(np.arange(NUM_USERS)[:, None] < 10, always(1)[:, :10], -1)
    system = Lists(full=always(1), unseen=rows, num_exact=np.arange(NUM_USERS))
    metrics = comparison.compare(USERS, {"a": [system]})["systems"]["a"]["metrics"]
    assert metrics["full/short@10"] == 0 and metrics["unseen/short@10"] == 0.75
    assert metrics["proven@10"] == 0.75


def test_what_does_not_fit_is_refused():
    rows = always(1)
    for bad, message in (
        ({}, "give one or more"),
        ({"a": []}, "at least one run"),
        ({"a": [lists(rows), Lists(full=rows[:3], unseen=rows)]}, "'a' has lists of 3 users"),
        ({"a": [Lists(full=rows, unseen=rows + 5)]}, "item 16, beyond the 12"),
    ):
        with pytest.raises(ValueError, match=message):
            comparison.compare(USERS, bad)


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
    # Of 9 users 1 and 4 have the items, which count as 2 and 5 of 10.
    expected = -(2 * np.log2(0.2) + np.log2(0.5)) / 3
    assert novelty(rows, np.array([1, 4, 0]), num_users=9, k=2) == pytest.approx(expected)
    assert np.isnan(novelty(np.array([[-1]]), np.array([1]), num_users=9, k=1))


def test_tables_name_the_protocol_and_mark_the_best(results):
    scores, difference, breadth, by_history, by_popularity = tables(results, "unseen")
    assert breadth.rows["half"][-1] == "100.0%" and breadth.rows["half"][1].endswith(" bits")
    assert "history excluded" in scores.caption and "n = 40" in scores.caption
    assert scores.columns[0] == "runs" and scores.rows["two"][0] == "2"
    assert {name for name, column in scores.best if column == "hr@5"} == {"third"}
    assert list(difference.rows) == ["half", "two"] and "third" in difference.title
    assert re.fullmatch(r"-0\.5000 \[-.*\] p ≤ 0\.0002", difference.rows["half"][0])
    assert "n = 10" in by_history.columns[0] and "interactions" in by_popularity.title
    nothing = comparison.compare(USERS, {name: [lists(always(11))] for name in "ab"})
    assert not tables(nothing)[0].best  # none is the best of zeros


def test_the_page_stands_alone_and_escapes():
    names = ["<b>&one</b>", "a$x_$", "_hidden", "a|b", "日本"]
    found = comparison.compare(USERS, {name: [lists(always(2))] for name in names})
    page = comparison_page.render(found, "shop <1>")
    assert names[0] not in page and "&lt;b&gt;&amp;one" in page and "shop &lt;1&gt;" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4
    images = [base64.b64decode(source.split(",", 1)[1]).decode() for source in sources]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    for image in images[2:]:  # the legends
        for name in ("&amp;one", "_hidden", "日本"):
            assert name in image
    assert page == comparison_page.render(found, "shop <1>")
    ElementTree.fromstring(page.split("</head>")[1].replace("</html>", ""))  # well-formed
    assert r"a\|b" in rendering.markdown(tables(found))


def test_one_system_needs_no_differences():
    found = comparison.compare(USERS, {"only": [lists(always(1))]})
    titles = [table.title for table in tables(found)]
    assert not any(title.startswith("Against") for title in titles)
