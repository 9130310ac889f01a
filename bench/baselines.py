"""The retrieval baselines on a corpus: fitted on train, stopped on validation, scored on test.

Exact ranks within the whole catalogue, ties broken against us: `full` leaves the items of the
history in, as the language models are scored, `unseen` takes them out. `candidates` are the ranks
among the 100 items of the task `{corpus}_candidates`.

  python bench/baselines.py --corpus ml_100k --seeds 0,1,2 \\
    --out bench/results/quality/baselines_ml_100k.json
"""

import argparse
import statistics
import time

import measuring
import numpy as np
import seqio

import tasks
from rec_align.baselines import protocol
from rec_align.baselines.registry import BASELINES, WITHOUT_SEED
from rec_align.data.corpus import read_catalogue
from rec_align.eval import read_histories
from rec_align.metrics import seqio_metrics
from rec_align.metrics.ranking import rank_metrics_per_user

METRICS = ("hr@1", "hr@5", "ndcg@5", "hr@10", "ndcg@10")
RANKINGS = {"full": False, "unseen": True}  # whether the history is excluded


def metrics(baseline: protocol.Baseline, held_out: protocol.HeldOut) -> dict[str, float]:
    """Means over users, of rankings with and without the items of the history."""
    return {
        f"{name}/{metric}": float(values.mean())
        for name, exclude_history in RANKINGS.items()
        for metric, values in rank_metrics_per_user(
            protocol.ranks(baseline, held_out, exclude_history=exclude_history)
        ).items()
    }


def read_candidates(corpus: str, users: list[int]) -> tuple[np.ndarray, list[dict]]:
    """Of these users, who are all of the test split: candidates [n, c], and the target's place."""
    tasks.register_corpus(corpus)
    task = seqio.get_mixture_or_task(f"{corpus}_candidates")
    dataset = task.get_dataset({"inputs": 16, "targets": 16}, "test", shuffle=False)
    by_user = {int(e["user_index"]): e for e in dataset.as_numpy_iterator()}
    examples = [by_user.pop(user) for user in users]
    assert not by_user, f"{len(by_user)} users have candidates and are not to be scored"
    positions = [{"target_position": int(e["target_position"])} for e in examples]
    return np.stack([e["candidate_item_indices"] for e in examples]), positions


def among_candidates(
    baseline: protocol.Baseline,
    held_out: protocol.HeldOut,
    candidates: np.ndarray,
    positions: list[dict],
) -> dict[str, float]:
    """Means over users of the ranks among candidates."""
    scores = protocol.score_candidates(baseline, held_out.users, held_out.histories, candidates)
    of_users = seqio_metrics.ranking_per_user(positions, {"candidate_scores": scores})
    return {f"candidates/{name}": float(values.mean()) for name, values in of_users.items()}


def run(name: str, seed: int, splits: dict, num_items: int, candidates: tuple) -> dict:
    """Fits one baseline and scores it."""
    train = protocol.train_histories(splits["train"])
    validation, test = (
        protocol.HeldOut.from_examples(splits[split]) for split in ("validation", "test")
    )
    started = time.perf_counter()
    baseline = BASELINES[name](
        train,
        num_items,
        validation=validation,
        seed=seed,
        report=lambda line: print(f"  {line}", flush=True),
    )
    seconds = time.perf_counter() - started
    return {
        "baseline": name,
        "seed": seed,
        "fit_seconds": round(seconds, 1),
        "validation": metrics(baseline, validation),
        "test": metrics(baseline, test) | among_candidates(baseline, test, *candidates),
    }


def print_table(rows: list[dict], ranking: str) -> None:
    """Prints the mean and, of several seeds, the standard deviation of each baseline."""
    print(f"{ranking:12} {'seeds':>5} " + " ".join(f"{name:>14}" for name in METRICS))
    for name in dict.fromkeys(row["baseline"] for row in rows):
        of_name = [row["test"] for row in rows if row["baseline"] == name]
        cells = []
        for metric in METRICS:
            values = [test[f"{ranking}/{metric}"] for test in of_name]
            spread = f" ±{statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        print(f"{name:12} {len(of_name):5} " + " ".join(f"{cell:>14}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--baselines", default=",".join(BASELINES), help="comma separated")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", help="where the record goes")
    args = parser.parse_args()
    splits = {
        split: read_histories(args.corpus, split) for split in ("train", "validation", "test")
    }
    candidates = read_candidates(args.corpus, [e["user_index"] for e in splits["test"]])
    num_items = len(read_catalogue(args.corpus))
    rows = []
    for name in dict.fromkeys(["popularity", *args.baselines.split(",")]):
        seeds = [0] if name in WITHOUT_SEED else map(int, args.seeds.split(","))
        for seed in seeds:
            print(f"{name}, seed {seed}", flush=True)
            rows.append(run(name, seed, splits, num_items, candidates))
    for ranking in (*RANKINGS, "candidates"):
        print_table(rows, ranking)
    results = {
        "corpus": args.corpus,
        "num_users": len(splits["test"]),
        "num_items": num_items,
        "runs": rows,
    }
    measuring.write_record(args.out, ("jax", "flax", "optax", "implicit", "numpy"), results)
    hr = {
        name: statistics.mean(r["test"]["full/hr@10"] for r in rows if r["baseline"] == name)
        for name in {row["baseline"] for row in rows}
    }
    print(f"ratio: best_baseline_over_popularity {max(hr.values()) / hr['popularity']:.2f}")


if __name__ == "__main__":
    main()
