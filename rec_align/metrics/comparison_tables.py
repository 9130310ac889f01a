"""The results of a comparison as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_align.metrics.comparison import NUM_RESAMPLES, PLACES, PROTOCOLS, SCORES
from rec_align.metrics.rendering import Table, format_cell

_LEAST_P = 2 / (NUM_RESAMPLES + 1)


def tables(results: Mapping[str, Any], protocol: str = "full") -> list[Table]:
    """Scores, differences to the first system, and slices under one protocol.

    Args:
      results: of `comparison.compare`.
      protocol: of `comparison.PROTOCOLS`.

    Example:
      >>> from rec_align.metrics.comparison import Lists, Users, compare
      >>> users = Users(target=np.array([4]), histories=[[0]], item_counts=np.ones(5, int))
      >>> rows = np.array([[2, 4]])
      >>> scores = tables(compare(users, {"a": [Lists(full=rows, unseen=rows)]}))[0]
      >>> scores.title, scores.rows["a"][0]
      ('Retrieval, history not excluded', '1.0000 [1.000, 1.000]')
    """
    how = PROTOCOLS[protocol]
    asked = f"n = {results['num_users']:,}; {results['num_items']:,} items, {how}"
    return [
        _scores(results["systems"], protocol, asked),
        *_differences(results["systems"], protocol),
        _breadth(results["systems"], protocol),
        *(_slices(by, slices, protocol, asked) for by, slices in results["slices"].items()),
    ]


def _scores(systems: Mapping[str, Any], protocol: str, asked: str) -> Table:
    several = any(found["num_runs"] > 1 for found in systems.values())
    names = [f"{protocol}/{name}" for name in SCORES]
    rows = {}
    for system, found in systems.items():
        metrics = found["metrics"]
        cells = [str(found["num_runs"])] if several else []
        for name in names:
            spread = f" ± {metrics[f'{name}_sd']:.4f}" if f"{name}_sd" in metrics else ""
            cells.append(format_cell(metrics, name) + spread)
        rows[system] = tuple(cells)
    spread = "; ± standard deviation over runs" if several else ""
    return Table(
        title=f"Retrieval, {PROTOCOLS[protocol]}",
        caption=f"{asked}; [95 % bootstrap interval over users]{spread}",
        columns=(*(["runs"] if several else []), *SCORES),
        rows=rows,
        best=_best(SCORES, {s: [v["metrics"][n] for n in names] for s, v in systems.items()}),
    )


def _breadth(systems: Mapping[str, Any], protocol: str) -> Table:
    columns = ("coverage", "novelty", "short", "proven")
    rows = {}
    for system, found in systems.items():
        metrics = found["metrics"] | {
            f"{protocol}/proven@{PLACES}": found["metrics"][f"proven@{PLACES}"]
        }
        values = {name: metrics.get(f"{protocol}/{name}@{PLACES}") for name in columns}
        rows[system] = tuple(
            "-" if value is None else f"{value:.2f} bits" if name == "novelty" else f"{value:.1%}"
            for name, value in values.items()
        )
    return Table(
        title=f"The first {PLACES} places, {PROTOCOLS[protocol]}",
        caption="coverage: share of the catalogue that anyone is shown; novelty: self-information "
        "of an item, more is rarer; short: users who get fewer items, and may miss their target "
        "for it; proven: users whose top is proven to be the model's own, not the beam's, before "
        "the history is excluded",
        columns=columns,
        rows=rows,
        best=frozenset(),
    )


def _differences(systems: Mapping[str, Any], protocol: str) -> list[Table]:
    first, *others = systems
    if not others:
        return []
    rows = {
        name: tuple(_difference(systems[name]["difference"][f"{protocol}/{m}"]) for m in SCORES)
        for name in others
    }
    caption = (
        f"the system less {first}, on the same users; [95 % interval] and p, two-sided, of a "
        "paired bootstrap over users: of these runs, since training is not repeated; not corrected "
        "for the number of tests"
    )
    title = f"Against {first}, {PROTOCOLS[protocol]}"
    return [Table(title=title, caption=caption, columns=SCORES, rows=rows, best=frozenset())]


def _difference(found: Mapping[str, float]) -> str:
    bounds = f"[{found['low']:+.3f}, {found['high']:+.3f}]"
    p = found["p_value"]
    shown = f"p ≤ {_LEAST_P:.4f}" if p <= _LEAST_P else f"p {p:.4f}"
    return f"{found['difference']:+.4f} {bounds} {shown}"


def _slices(by: str, slices: Mapping[str, Any], protocol: str, asked: str) -> Table:
    metric = f"{protocol}/ndcg@10"
    columns = tuple(f"{label} (n = {found['n']:,})" for label, found in slices.items())
    systems = list(next(iter(slices.values()))["systems"])
    of_system = {name: [s["systems"][name] for s in slices.values()] for name in systems}
    return Table(
        title=f"NDCG@10 by {by}, {PROTOCOLS[protocol]}",
        caption=f"{asked}; [95 % bootstrap interval over users]",
        columns=columns,
        rows={
            name: tuple(format_cell(metrics, metric) for metrics in found)
            for name, found in of_system.items()
        },
        best=_best(columns, {k: [m[metric] for m in v] for k, v in of_system.items()}),
    )


def _best(
    columns: Sequence[str], values: Mapping[str, Sequence[float]]
) -> frozenset[tuple[str, str]]:
    """Where each column's highest values stand, as `Table` wants it; nothing is best at 0."""
    highest = np.max(list(values.values()), axis=0)
    return frozenset(
        (system, column)
        for system, row in values.items()
        for column, value, top in zip(columns, row, highest, strict=True)
        if value == top > 0
    )
