"""Fills the tables of docs/results.md from bench/results: python bench/results_page.py"""

import statistics

from pages import fill, read, table

METRICS = ("hr@5", "ndcg@5", "hr@10", "ndcg@10")
HEADS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")


def of_item_indices(corpus: str) -> str:
    results = read(f"item_indices_{corpus}")
    rows = []
    for index in dict.fromkeys(run["index"] for run in results["runs"]):
        metrics = [run["metrics"] for run in results["runs"] if run["index"] == index]
        cells = [_mean_and_spread([m[f"full/{name}"] for m in metrics]) for name in METRICS]
        lengths = results["indices"][index].split(" tokens an item", 1)[0].rsplit(" ", 1)[1]
        rows.append((index, len(metrics), lengths, *cells))
    popularity = results["runs"][0]["popularity"]
    rows.append(
        ("(popularity)", "", "", *(f"{popularity[f'full/{name}']:.4f}" for name in METRICS))
    )
    return table(("items written by", "seeds", "tokens an item", *HEADS), rows)


def _mean_and_spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


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
            "item_indices_ml_100k": lambda: of_item_indices("ml_100k"),
            "item_indices_beauty": lambda: of_item_indices("beauty"),
            "cold_start": of_cold_start,
        },
    )


if __name__ == "__main__":
    main()
