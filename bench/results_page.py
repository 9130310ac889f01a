"""Fills the tables of docs/results.md from bench/results: python bench/results_page.py"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pages import fill, read, table

WHOLE_CATALOGUE = {
    "full/hr@5": "HR@5",
    "full/ndcg@5": "NDCG@5",
    "full/hr@10": "HR@10",
    "full/ndcg@10": "NDCG@10",
}
WITH_AND_WITHOUT_HISTORY = {
    "full/hr@10": "HR@10",
    "unseen/hr@10": "HR@10, history excluded",
    "full/ndcg@10": "NDCG@10",
    "unseen/ndcg@10": "NDCG@10, history excluded",
}


def of_experiment(name: str, columns: Mapping[str, str] = WHOLE_CATALOGUE) -> str:
    """Systems and baselines of an experiment: seeds, tokens an item, and metric -> its head."""
    record = read(f"quality/{name}")
    rows = []
    for system, found in record["compared"]["systems"].items():
        metrics, length, runs = found["metrics"], "", ""
        if system in record["runs"]:
            config = record["config"]
            values = config.get("gin", {}) | config["systems"][system]
            index = record["indices"][values.get("ITEM_INDEX", "title")]
            length = index.split(" tokens an item", 1)[0].rsplit(" ", 1)[1]
            runs = found["num_runs"]
        cells = [_mean_and_spread(metrics, metric) for metric in columns]
        rows.append((system, runs, length, *cells))
    return table(("", "seeds", "tokens an item", *columns.values()), rows)


def _mean_and_spread(metrics: dict[str, float], name: str) -> str:
    spread = f" ± {metrics[f'{name}_sd']:.4f}" if f"{name}_sd" in metrics else ""
    return f"{metrics[name]:.4f}{spread}"


def of_baselines(corpus: str) -> str:
    """Each baseline with and without the history's items, mean and deviation over seeds."""
    record = read(f"quality/baselines_{corpus}")
    rows = []
    for name in dict.fromkeys(run["baseline"] for run in record["runs"]):
        runs = [run["test"] for run in record["runs"] if run["baseline"] == name]
        cells = [_over_seeds([run[metric] for run in runs]) for metric in WITH_AND_WITHOUT_HISTORY]
        rows.append((name, len(runs), *cells))
    return table(("", "seeds", *WITH_AND_WITHOUT_HISTORY.values()), rows)


def _over_seeds(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


AMONG_CANDIDATES = {"hr@1": "HR@1", "hr@5": "HR@5", "ndcg@5": "NDCG@5", "hr@10": "HR@10"}


def of_candidates(corpus: str, *experiments: str) -> str:
    """Baselines, and what of some experiments was ranked by the task of candidates, over seeds."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for run in read(f"quality/baselines_{corpus}")["runs"]:
        found.setdefault(run["baseline"], []).append(
            {metric: run["test"][f"candidates/{metric}"] for metric in AMONG_CANDIDATES}
        )
    for experiment in experiments:
        for system, runs in read(f"quality/{experiment}")["runs"].items():
            if "candidates" in runs[0]["metrics"]:
                found[system] = [run["metrics"]["candidates"] for run in runs]
    rows = [
        (name, len(runs), *(_over_seeds([run[m] for run in runs]) for m in AMONG_CANDIDATES))
        for name, runs in found.items()
    ]
    return table(("", "seeds", *AMONG_CANDIDATES.values()), rows)


def ratings_table(record: Mapping[str, Any]) -> str:
    """Ways and baselines of a record of `bench/ratings.py`: RMSE by share, MAE and AUC of all."""
    shares = record["shares"]
    rows = []
    for system in dict.fromkeys(run["system"] for run in record["runs"]):
        runs = [run for run in record["runs"] if run["system"] == system]
        cells = [
            _over_seeds([run["metrics"][metric] for run in runs if run["share"] == share])
            for metric, share in (
                *(("rmse", share) for share in shares),
                *((metric, max(shares)) for metric in ("mae", "liked_auc")),
            )
        ]
        rows.append((system, len({run.get("seed") for run in runs}), *cells))
    at_most = f"{100 * max(shares):g} %"
    heads = (f"RMSE at {100 * share:g} %" for share in shares)
    return table(("", "seeds", *heads, f"MAE at {at_most}", f"AUC at {at_most}"), rows)


OF_TASKS = {
    "retrieval full/hr@10": "HR@10",
    "retrieval unseen/hr@10": "HR@10, history excluded",
    "retrieval full/ndcg@10": "NDCG@10",
    "ranking hr@1": "ranking HR@1",
    "ranking hr@10": "ranking HR@10",
    "rating rmse": "rating RMSE",
}


def of_mixtures(name: str) -> str:
    """Systems of an experiment that is scored on the recommendation tasks, over seeds."""
    rows = []
    for system, runs in read(f"quality/{name}")["runs"].items():
        named = (column.split() for column in OF_TASKS)
        cells = [
            _over_seeds([run["metrics"][task][metric] for run in runs]) for task, metric in named
        ]
        rows.append((system, len(runs), *cells))
    return table(("", "seeds", *OF_TASKS.values()), rows)


# What is shown of a task: the first of these that it has.
SHOWN = (
    *("full/hr@10", "hr@1", "rmse", "auc", "entity_match", "bleu4", "rating_agreement"),
    *("accuracy", "token_f1"),
)


def of_templates(name: str) -> str:
    """Each task of each system with templates trained on and never seen, over seeds."""
    record = read(f"quality/{name}")
    systems = {system: [run["metrics"] for run in runs] for system, runs in record["runs"].items()}
    first = next(iter(systems.values()))[0]
    rows = []
    for task in (task for task in first if not task.endswith("_unseen")):
        shown = next(metric for metric in SHOWN if metric in first[task])
        cells = [
            " / ".join(
                _answered([run[of] for run in runs], shown) for of in (task, f"{task}_unseen")
            )
            for runs in systems.values()
        ]
        rows.append((task, shown.split("/")[-1], *cells))
    return table(("task", "metric", *systems), rows)


def _answered(runs: Sequence[Mapping[str, float]], metric: str) -> str:
    """`_over_seeds`, and where it says so how many answers were no rating."""
    invalid = statistics.mean(run.get("invalid_share", 0) for run in runs)
    note = f" ({invalid:.0%} no rating)" if metric == "rmse" and invalid >= 0.01 else ""
    return f"{_over_seeds([run[metric] for run in runs])}{note}"


def of_cold_start() -> str:
    results = read("cold_start")
    rows = []
    for index, by_catalogue in results["results"].items():
        cells = [
            f"{found['hr@10']:.3f} [{found['hr@10_low']:.3f}, {found['hr@10_high']:.3f}]"
            for found in by_catalogue.values()
        ]
        rows.append((index, *cells))
    rows.append(("(a guess)", "", f"{results['guess']:.3f}"))
    return table(("items written by", "HR@10, whole catalogue", "HR@10, new items alone"), rows)


def main() -> None:
    fill(
        "results.md",
        {
            "item_indices_beauty": lambda: of_experiment("item_indices_beauty"),
            "network_ml_100k": lambda: of_experiment("network_ml_100k", WITH_AND_WITHOUT_HISTORY),
            "repeats_ml_100k": lambda: of_experiment("repeats_ml_100k", WITH_AND_WITHOUT_HISTORY),
            "auxiliary_tasks_ml_100k": lambda: of_mixtures("auxiliary_tasks_ml_100k"),
            "p5_ml_100k": lambda: of_templates("p5_ml_100k"),
            "p5_instruments": lambda: of_templates("p5_instruments"),
            "baselines_ml_100k": lambda: of_baselines("ml_100k"),
            "baselines_beauty": lambda: of_baselines("beauty"),
            "ratings_ml_100k": lambda: ratings_table(read("quality/ratings_ml_100k")),
            "network_beauty": lambda: of_experiment("network_beauty", WITH_AND_WITHOUT_HISTORY),
            "distilled_beauty": lambda: of_experiment("distilled_beauty", WITH_AND_WITHOUT_HISTORY),
            "next_item_beauty": lambda: of_experiment("next_item_beauty", WITH_AND_WITHOUT_HISTORY),
            "next_item_ml_100k": lambda: of_experiment(
                "next_item_ml_100k", WITH_AND_WITHOUT_HISTORY
            ),
            "pretraining_ml_100k": lambda: of_experiment(
                "pretraining_ml_100k", WITH_AND_WITHOUT_HISTORY
            ),
            "taught_ml_100k": lambda: of_experiment("taught_ml_100k", WITH_AND_WITHOUT_HISTORY),
            "taught_beauty": lambda: of_experiment("taught_beauty", WITH_AND_WITHOUT_HISTORY),
            "candidates_beauty": lambda: of_candidates(
                "beauty", "next_item_beauty", "taught_beauty"
            ),
            "candidates_ml_100k": lambda: of_candidates(
                "ml_100k", "next_item_ml_100k", "taught_ml_100k"
            ),
            "cold_start": of_cold_start,
        },
    )


if __name__ == "__main__":
    main()
