"""Several systems on the same users, under one protocol: scores, paired tests, slices, breadth.

A system may have several runs, its seeds: a user's metrics are their means over the runs, so
intervals and tests are about users; `*_sd` tells how far the runs' own means lie apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_align.metrics import bootstrap
from rec_align.metrics.beyond_accuracy import coverage, novelty
from rec_align.metrics.ranking import NO_ITEM, pad_lists, rank_in_list, rank_metrics_per_user
from rec_align.metrics.slices import quantile_slices

SCORES = ("hr@5", "ndcg@5", "hr@10", "ndcg@10")
PROTOCOLS = {"full": "history not excluded", "unseen": "history excluded"}
PLACES = 10
NUM_RESAMPLES = 10_000  # of a paired test, whose p-value is 2 / 10,001 at least


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
      unseen: [n, k] int, the same without the items of the history.
      num_exact: [n] int, how many first places of `full` are proven to be the model's own; None:
        all are.
    """

    full: np.ndarray
    unseen: np.ndarray
    num_exact: np.ndarray | None = None


def without_history(item_indices: np.ndarray, histories: Sequence[np.ndarray]) -> np.ndarray:
    """What is left of lists; the rest moves up, -1 at the end.

    Example:
      >>> without_history(np.array([[4, 2, 7]]), [[2, 3]]).tolist()
      [[4, 7, -1]]
    """
    rows = [
        row[~np.isin(row, history)] for row, history in zip(item_indices, histories, strict=True)
    ]
    left, _ = pad_lists(rows, NO_ITEM, np.int64)
    return np.pad(
        left, ((0, 0), (0, item_indices.shape[1] - left.shape[1])), constant_values=NO_ITEM
    )


def compare(users: Users, systems: Mapping[str, Sequence[Lists]]) -> dict[str, Any]:
    """Scores all systems and tests each against the first one.

    Args:
      users: whom and what was asked.
      systems: name -> its runs, at least one.

    Returns:
      JSON: "num_users", "num_items", "systems" {name: {"num_runs", "metrics", "difference" {metric:
      of `bootstrap.PairedDifference`}}} and "slices" {by: {label: {"n", "systems": {name:
      metrics}}}}. Metrics are `SCORES` under each of `PROTOCOLS`, "full/hr@5", with `_low`, `_high`
      and, of several runs, `_sd`; and, of whole systems, "full/coverage@10", "full/novelty@10",
      "full/short@10" (users with fewer items than that) and "proven@10".

    Raises:
      ValueError: no system, a system without runs, or lists that do not fit users and catalogue.

    Example: one user, whose target is the second item of the only system's list.
      >>> users = Users(target=np.array([4]), histories=[[0]], item_counts=np.ones(5, int))
      >>> rows = np.array([[2, 4]])
      >>> found = compare(users, {"a": [Lists(full=rows, unseen=rows)]})
      >>> metrics = found["systems"]["a"]["metrics"]
      >>> metrics["full/hr@5"], metrics["full/coverage@10"], metrics["full/short@10"]
      (1.0, 0.4, 1.0)
    """
    if not systems or not all(systems.values()):
        raise ValueError("systems: give one or more, each with at least one run")
    for name, runs in systems.items():
        for lists in runs:
            _check(name, lists, users)
    per_run = {name: [_per_user(lists, users) for lists in runs] for name, runs in systems.items()}
    per_user = {
        name: {metric: np.mean([run[metric] for run in runs], axis=0) for metric in runs[0]}
        for name, runs in per_run.items()
    }
    first = next(iter(systems))
    found: dict[str, Any] = {}
    for name, runs in systems.items():
        metrics = bootstrap.summarise(per_user[name])
        if len(runs) > 1:
            for metric in per_user[name]:
                means = [run[metric].mean() for run in per_run[name]]
                metrics[f"{metric}_sd"] = float(np.std(means, ddof=1))
        found[name] = {"num_runs": len(runs), "metrics": metrics | _breadth(runs, users)}
        if name != first:
            found[name]["difference"] = {
                metric: dataclasses.asdict(
                    bootstrap.paired_difference(
                        values, per_user[first][metric], num_resamples=NUM_RESAMPLES
                    )
                )
                for metric, values in per_user[name].items()
            }
    sliced_by = {
        "items in the history": np.array([len(history) for history in users.histories]),
        "train interactions of the target": users.item_counts[users.target],
    }
    return {
        "num_users": len(users.target),
        "num_items": len(users.item_counts),
        "systems": found,
        "slices": {by: _slices(values, per_user) for by, values in sliced_by.items()},
    }


def _check(name: str, lists: Lists, users: Users) -> None:
    for rows in (lists.full, lists.unseen):
        if len(rows) != len(users.target):
            raise ValueError(f"{name!r} has lists of {len(rows)} users, not {len(users.target)}")
        if rows.max(initial=NO_ITEM) >= len(users.item_counts):
            raise ValueError(
                f"{name!r} recommends item {rows.max()}, beyond the {len(users.item_counts)} of "
                "the catalogue: it is of another catalogue"
            )


def _per_user(lists: Lists, users: Users) -> dict[str, np.ndarray]:
    found = {}
    for protocol in PROTOCOLS:
        ranks = rank_in_list(getattr(lists, protocol), users.target)
        for name, values in rank_metrics_per_user(ranks).items():
            if name in SCORES:
                found[f"{protocol}/{name}"] = values
    return found


def _breadth(runs: Sequence[Lists], users: Users) -> dict[str, float]:
    """What is not an average over users, averaged over runs."""
    found = {}
    num_items = len(users.item_counts)
    for protocol in PROTOCOLS:
        shown = [getattr(lists, protocol) for lists in runs]
        of_runs = {
            "coverage": [coverage(rows, num_items, PLACES) for rows in shown],
            "novelty": [
                novelty(rows, users.item_counts, len(users.histories), PLACES) for rows in shown
            ],
            "short": [
                ((rows != NO_ITEM).sum(axis=1) < min(PLACES, num_items)).mean() for rows in shown
            ],
        }
        for name, values in of_runs.items():
            if np.isfinite(values).all():
                found[f"{protocol}/{name}@{PLACES}"] = float(np.mean(values))
    proven = [
        1.0 if lists.num_exact is None else (lists.num_exact >= PLACES).mean() for lists in runs
    ]
    return found | {f"proven@{PLACES}": float(np.mean(proven))}


def _slices(values: np.ndarray, per_user: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    return {
        label: {
            "n": int(mask.sum()),
            "systems": {
                name: bootstrap.summarise({m: of_users[mask] for m, of_users in metrics.items()})
                for name, metrics in per_user.items()
            },
        }
        for label, mask in quantile_slices(values)
    }
