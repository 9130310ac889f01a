"""Tables and the metrics file: golden text, marks, unequal rows, a write that fails."""

import io
import json

import pytest
import rich.console

from rec_align.metrics import table


def bounded(**metrics):
    """Each (value, low, high) under the names of `seqio_metrics`; `__` for "/", `_at_` for "@"."""
    flat = {}
    for name, (value, low, high) in metrics.items():
        name = name.replace("__", "/").replace("_at_", "@")
        flat |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return flat


RESULTS = {
    "flan_t5_small": {
        "retrieval": {
            **bounded(full__hr_at_5=(0.05, 0.04, 0.06), full__hr_at_10=(0.0986, 0.08, 0.118)),
            **bounded(unseen__hr_at_5=(0.07, 0.06, 0.08)),
            "n": 943,
        },
        "rating": {**bounded(rmse=(0.95, 0.9, 1.0), mae=(0.8, 0.75, 0.85)), "n": 943},
    },
    "popularity": {
        "retrieval": {
            **bounded(full__hr_at_5=(0.05, 0.04, 0.06), full__hr_at_10=(0.07, 0.05, 0.09)),
            **bounded(unseen__hr_at_5=(0.04, 0.03, 0.05)),
            "n": 943,
        },
    },
    "item_mean": {"rating": {**bounded(rmse=(1.02, 0.97, 1.07)), "mae": 0.79, "n": 943}},
}

GOLDEN = """\
### retrieval

n = 943; full ranking over 1,349 items, history not excluded; [95 % bootstrap interval over users]

| system | hr@5 | ndcg@5 | hr@10 | ndcg@10 | mrr |
|---|---|---|---|---|---|
| flan_t5_small (ours) | **0.0500 [0.040, 0.060]** | - | **0.0986 [0.080, 0.118]** | - | - |
| popularity | **0.0500 [0.040, 0.060]** | - | 0.0700 [0.050, 0.090] | - | - |

n = 943; full ranking over 1,349 items, history excluded; [95 % bootstrap interval over users]

| system | hr@5 | ndcg@5 | hr@10 | ndcg@10 | mrr |
|---|---|---|---|---|---|
| flan_t5_small (ours) | **0.0700 [0.060, 0.080]** | - | - | - | - |
| popularity | 0.0400 [0.030, 0.050] | - | - | - | - |

### rating

n = 943; ratings on the 1-5 scale, lower is better; [95 % bootstrap interval over users]

| system | rmse | mae |
|---|---|---|
| flan_t5_small (ours) | **0.9500 [0.900, 1.000]** | 0.8000 [0.750, 0.850] |
| item_mean | 1.0200 [0.970, 1.070] | **0.7900** |
"""


def printed(results, width, **arguments):
    console = rich.console.Console(file=io.StringIO(), width=width)
    table.print_tables(results, console=console, **arguments)
    return console.file.getvalue()


def test_markdown_golden_text():
    assert table.render_markdown(RESULTS, ours="flan_t5_small", num_items=1349) == GOLDEN


def test_terminal_golden_text():
    results = {system: {"rating": RESULTS[system]["rating"]} for system in ("item_mean",)}
    results["ours"] = {"rating": {"rmse": 0.5, "n": 943}}
    lines = [line.rstrip() for line in printed(results, 90, ours="ours").splitlines()]
    assert [line for line in lines if line] == [
        "rating",
        "  system        rmse                    mae",
        " ────────────────────────────────────────────────",
        "  item_mean     1.0200 [0.970, 1.070]   0.7900 *",
        "  ours (ours)   0.5000 *                -",
        "n = 943; ratings on the 1-5 scale, lower is",
        "better; [95 % bootstrap interval over users]",
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_loses_no_number(width):
    names = ("hr@1", "hr@5", "ndcg@5", "hr@10", "ndcg@10", "mrr")
    metrics = {}
    for number, name in enumerate(names, start=1):
        metrics |= {name: number / 7, f"{name}_low": number / 8, f"{name}_high": number / 6}
    narrow, wide = (printed({"ours": {"ranking": metrics}}, w) for w in (width, 300))
    assert "0.1429 [0.125, 0.167]" in wide
    # Folding moves characters to other lines, and keeps them all.
    kept = [sorted(filter(str.isdigit, text)) for text in (narrow, wide)]
    assert kept[0] == kept[1] and "…" not in narrow


def test_unequal_users_are_said():
    results = {"a": {"t": {"rmse": 1.0, "n": 5}}, "b": {"t": {"rmse": 1.0, "n": 1200}}}
    assert table.tables(results)[0].caption.startswith("n = (differs between rows: a 5, b 1,200);")


def test_ranking_says_its_candidates():
    results = {"a": {"t": {"hr@1": 1.0, "n": 5, "num_candidates": 100.0}}}
    assert "ranking of 100 candidates" in table.tables(results)[0].caption


def test_catalogue_of_unknown_size_is_not_made_up():
    assert "full ranking over the catalogue," in table.tables(RESULTS)[0].caption


def test_a_task_without_known_metrics_is_refused():
    with pytest.raises(ValueError, match=r"task 'x' hold \['bleu'\]"):
        table.render_markdown({"a": {"x": {"bleu": 1.0}}})


def test_metrics_json_comes_back_in_one_order(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    table.write_metrics_json(path, {"b": {"t": {"z": 1, "a": 0.5}}, "a": {}}, {"seed": 0})
    first = path.read_text()
    assert json.loads(first) == {
        "schema": 1,
        "context": {"seed": 0},
        "results": {"a": {}, "b": {"t": {"a": 0.5, "z": 1}}},
    }
    table.write_metrics_json(path, {"a": {}, "b": {"t": {"a": 0.5, "z": 1}}}, {"seed": 0})
    assert path.read_text() == first
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match=r"results\['a'\]\['t'\]\['m'\] is"):
        table.write_metrics_json(tmp_path / "m.json", {"a": {"t": {"m": value}}}, {})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    table.write_metrics_json(path, {}, {"run": 1})
    old = path.read_text()

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(table.os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        table.write_metrics_json(path, {}, {"run": 2})
    assert path.read_text() == old and list(tmp_path.iterdir()) == [path]


def test_seen_and_unseen_templates_stand_side_by_side():
    """No table where no task has both; only what both have, and the difference as unseen - seen."""
    assert "templates" not in {drawn.title for drawn in table.tables(RESULTS)}
    tasks = {
        "rating": {"rmse": 0.9, "mae": 0.7, "n": 9},
        "rating_unseen": {"rmse": 1.0, "n": 9},
        "entity_infilling": {**bounded(entity_match=(0.5, 0.4, 0.6)), "n": 9},
        "entity_infilling_unseen": {**bounded(entity_match=(0.25, 0.2, 0.3)), "n": 9},
        "ranking": {"hr@1": 0.5, "n": 9},
    }
    [drawn] = [t for t in table.tables({"rec_align": tasks}) if t.title == "templates"]
    assert drawn.columns == ("seen", "unseen", "difference")
    assert drawn.rows == {
        "rating rmse": ("0.9000", "1.0000", "+0.1000"),
        "entity_infilling entity_match": (
            "0.5000 [0.400, 0.600]",
            "0.2500 [0.200, 0.300]",
            "-0.2500",
        ),
    }
