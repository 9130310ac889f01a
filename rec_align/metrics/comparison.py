"""Several systems on the same users, under one protocol: scores, paired tests, slices, breadth.

A system may have several runs, its seeds: a user's metrics are their means over the runs, so
intervals and tests are about users; `*_sd` tells how far the runs' own means lie apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_align.metrics import bootstrap, seqio_metrics
from rec_align.metrics.beyond_accuracy import coverage, novelty
from rec_align.metrics.rendering import Table, format_cell
from rec_align.metrics.slices import quantile_slices

SHOWN = ("hr@5", "ndcg@5", "hr@10", "ndcg@10")
PROTOCOLS = {"full": "history not excluded", "unseen": "history excluded"}
PLACES = 10
COVERAGE, NOVELTY = f"coverage@{PLACES}", f"novelty@{PLACES}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Users:
    """The held-out targets that all systems are asked for.

    Attributes:
      target: [n] int, item indices.
      histories: [n] int arrays, what each user had before.
      item_counts: [num_items] int, train interactions of each item.
    """

    target: np.ndarray
    histories: Sequence[np.ndarray]
    item_counts: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lists:
    """What one run recommends.

    Attributes:
      full: [n, k] int, item indices, best first; -1 = no item.
      unseen: the same without the items of the history; None: what is left of `full`.
    """

    full: np.ndarray
    unseen: np.ndarray | None = None


def compare(users: Users, systems: Mapping[str, Sequence[Lists]]) -> dict[str, Any]:
    """Scores all systems and tests each against the first one.

    Args:
      users: whom and what was asked.
      systems: name -> its runs.

    Returns:
      JSON: "num_users", "num_items", "systems" {name: {"num_runs", "metrics", "coverage@10",
      "novelty@10", "difference" {metric: of `bootstrap.PairedDifference`}}} and "slices" {by:
      {label: {"n", "systems": {name: metrics}}}}. Metrics are "full/hr@5", ..., each with `_low`,
      `_high` and, of several runs, `_sd`.

    Raises:
      ValueError: no system, or a list of users is not as long as the others.

    Example: one user, whose target is the second item of the only system's list.
      >>> users = Users(target=np.array([4]), histories=[[0]], item_counts=np.ones(5, int))
      >>> found = compare(users, {"a": [Lists(full=np.array([[2, 4]]))]})
      >>> found["systems"]["a"]["metrics"]["full/hr@5"], found["systems"]["a"]["coverage@10"]
      (1.0, 0.4)
    """
    if not systems:
        raise ValueError("systems is empty; give one or more")
    per_run = {name: [_per_user(users, lists) for lists in runs] for name, runs in systems.items()}
    per_user = {
        name: {metric: np.mean([run[metric] for run in runs], axis=0) for metric in runs[0]}
        for name, runs in per_run.items()
    }
    first = next(iter(systems))
    results: dict[str, Any] = {
        "num_users": len(users.target),
        "num_items": len(users.item_counts),
        "systems": {},
        "slices": {},
    }
    for name, runs in systems.items():
        found = {"num_runs": len(runs), "metrics": bootstrap.summarise(per_user[name])}
        if len(runs) > 1:
            for metric in per_user[name]:
                means = [run[metric].mean() for run in per_run[name]]
                found["metrics"][f"{metric}_sd"] = float(np.std(means, ddof=1))
        shown = [lists.full for lists in runs]
        found[COVERAGE] = float(
            np.mean([coverage(rows, len(users.item_counts), PLACES) for rows in shown])
        )
        found[NOVELTY] = float(
            np.mean([novelty(rows, users.item_counts, PLACES) for rows in shown])
        )
        if name != first:
            found["difference"] = {
                metric: dataclasses.asdict(
                    bootstrap.paired_difference(per_user[name][metric], per_user[first][metric])
                )
                for metric in per_user[name]
            }
        results["systems"][name] = found
    sliced_by = {
        "items in the history": np.array([len(history) for history in users.histories]),
        "train interactions of the target": users.item_counts[users.target],
    }
    for by, values in sliced_by.items():
        results["slices"][by] = {
            label: {
                "n": int(mask.sum()),
                "systems": {
                    name: bootstrap.summarise(
                        {metric: values[mask] for metric, values in metrics.items()}
                    )
                    for name, metrics in per_user.items()
                },
            }
            for label, mask in quantile_slices(values)
        }
    return results


def tables(results: Mapping[str, Any], protocol: str = "full") -> list[Table]:
    """The results of `compare` under one protocol, as tables: scores, differences, slices.

    Args:
      results: of `compare`.
      protocol: "full" or "unseen".
    """
    names = [f"{protocol}/{metric}" for metric in SHOWN]
    systems = results["systems"]
    n, num_items = results["num_users"], results["num_items"]
    how = PROTOCOLS[protocol]
    asked = f"n = {n:,}; full ranking over {num_items:,} items, {how}"
    drawn = [_scores(f"Retrieval, {how}", asked, systems, names)]
    first, *others = systems
    if others:
        caption = (
            f"the system less {first}, on the same users; [95 % interval] and p, two-sided, of a "
            "paired bootstrap over users, not corrected for the number of tests"
        )
        rows = {
            name: tuple(_difference(systems[name]["difference"][metric]) for metric in names)
            for name in others
        }
        title = f"Against {first}, {how}"
        drawn.append(
            Table(title=title, caption=caption, columns=SHOWN, rows=rows, best=frozenset())
        )
    metric = f"{protocol}/ndcg@10"
    for by, slices in results["slices"].items():
        columns = tuple(f"{label} (n = {found['n']:,})" for label, found in slices.items())
        of_system = {name: [s["systems"][name] for s in slices.values()] for name in systems}
        drawn.append(
            Table(
                title=f"NDCG@10 by {by}, {how}",
                caption=asked,
                columns=columns,
                rows={
                    name: tuple(format_cell(metrics, metric) for metrics in found)
                    for name, found in of_system.items()
                },
                best=_best(columns, {k: [m[metric] for m in v] for k, v in of_system.items()}),
            )
        )
    return drawn


def _per_user(users: Users, lists: Lists) -> dict[str, np.ndarray]:
    targets = [
        {"item_index": target, "history_item_indices": history}
        for target, history in zip(users.target, users.histories, strict=True)
    ]
    given = {"item_indices": lists.full}
    if lists.unseen is not None:
        given["unseen_item_indices"] = lists.unseen
    found = seqio_metrics.retrieval_per_user(targets, given)
    return {name: values for name, values in found.items() if name.split("/")[1] in SHOWN}


def _scores(title: str, asked: str, systems: Mapping[str, Any], names: Sequence[str]) -> Table:
    several = any(found["num_runs"] > 1 for found in systems.values())
    rows = {}
    for system, found in systems.items():
        metrics = found["metrics"]
        cells = [str(found["num_runs"])] if several else []
        for name in names:
            spread = f" ± {metrics[f'{name}_sd']:.4f}" if f"{name}_sd" in metrics else ""
            cells.append(format_cell(metrics, name) + spread)
        rows[system] = (*cells, f"{found[COVERAGE]:.1%}", f"{found[NOVELTY]:.2f}")
    spread = "; ± standard deviation over runs" if several else ""
    return Table(
        title=title,
        caption=f"{asked}; [95 % bootstrap interval over users]{spread}; with the history, "
        f"{COVERAGE}: share of the catalogue that anyone is shown, {NOVELTY}: bits an item",
        columns=(*(["runs"] if several else []), *SHOWN, COVERAGE, NOVELTY),
        rows=rows,
        best=_best(SHOWN, {s: [v["metrics"][n] for n in names] for s, v in systems.items()}),
    )


def _best(
    columns: Sequence[str], values: Mapping[str, Sequence[float]]
) -> frozenset[tuple[str, str]]:
    """Where each column's highest values stand, as `Table` wants it."""
    highest = np.max(list(values.values()), axis=0)
    return frozenset(
        (system, column)
        for system, row in values.items()
        for column, value, top in zip(columns, row, highest, strict=True)
        if value == top
    )


def _difference(found: Mapping[str, float]) -> str:
    bounds = f"[{found['low']:+.3f}, {found['high']:+.3f}]"
    return f"{found['difference']:+.4f} {bounds} p {found['p_value']:.3f}"
