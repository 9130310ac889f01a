"""What a way of writing items is worth: the retrieval task, trained and scored with each index.

One run an index and seed, from scratch, of the same network, steps and prompts; scored on the test
split within the whole catalogue, history not excluded. Finished runs are kept and read again.

  rec-align index build ml_100k semantic
  python bench/item_indices.py --corpus ml_100k --indices title,semantic --seeds 0,1,2 \\
    --runs runs/item_indices --out bench/results/item_indices_ml_100k.json
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import measuring

from rec_align import item_indices
from rec_align.pipeline import item_writing

METRICS = ("hr@5", "ndcg@5", "hr@10", "ndcg@10")


def train_run(corpus: str, index: str, folder: pathlib.Path, gin: list[str]) -> None:
    """Trains the retrieval task into `folder`, goes on with it, or finds it done."""
    _call("train", corpus, index, folder, gin)


def _call(entry: str, corpus: str, index: str, folder: pathlib.Path, gin: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", f"rec_align.{entry}"),
        *("--gin_file=gin/models/tiny.gin", f"--gin_file=gin/runs/{entry}.gin"),
        f"--gin.MIXTURE_OR_TASK_NAME='{corpus}_retrieval'",
        f"--gin.MODEL_DIR='{folder}'",
        f"--gin.ITEM_INDEX='{index}'",
        *gin,
    ]
    with (folder / "log.txt").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def run(corpus: str, index: str, seed: int, folder: pathlib.Path, gin: list[str]) -> dict:
    """Trains and scores one run; returns its retrieval metrics, or reads them."""
    found, made_with = folder / "eval_test/metrics.json", folder / "made_with.json"
    with item_writing.using(index):
        of_now = {"gin": gin, "index_sha256": item_writing.open_writing(corpus).sha256}
    if made_with.exists() and json.loads(made_with.read_text()) != of_now:
        raise ValueError(f"{folder} was made with {made_with.read_text()}, not {of_now}")
    folder.mkdir(parents=True, exist_ok=True)
    made_with.write_text(json.dumps(of_now))
    if not found.exists():
        train_run(corpus, index, folder, [f"--gin.SEED={seed}", *gin])
        _call("eval", corpus, index, folder, [])
    metrics = json.loads(found.read_text())
    return {
        "index": index,
        "seed": seed,
        "metrics": metrics["results"]["rec_align"]["retrieval"],
        "popularity": metrics["results"]["popularity"]["retrieval"],
        "checkpoint_step": metrics["context"]["checkpoint_step"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--indices", required=True, help="comma separated, as in ITEM_INDEX")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--gin", action="append", default=[], help="further bindings of training")
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    gin = [f"--gin.TRAIN_STEPS={args.steps}", *(f"--gin.{binding}" for binding in args.gin)]
    rows = []
    print(f"{'index':24} {'seeds':>5} {' '.join(f'{name:>8}' for name in METRICS)}")
    for index in args.indices.split(","):
        of_index = []
        for seed in map(int, args.seeds.split(",")):
            folder = args.runs / f"{args.corpus}_{index}_{args.steps}_{seed}"
            of_index.append(run(args.corpus, index, seed, folder, gin))
            means = [
                statistics.mean(row["metrics"][f"full/{name}"] for row in of_index)
                for name in METRICS
            ]
            print(
                f"{index:24} {len(of_index):5} {' '.join(f'{value:8.4f}' for value in means)}",
                flush=True,
            )
        rows += of_index
    reports = {row["index"]: item_indices.report(args.corpus, row["index"]) for row in rows}
    results = {"corpus": args.corpus, "steps": args.steps, "gin": args.gin}
    results |= {"runs": rows, "indices": reports}
    measuring.write_record(args.out, ("jax", "flax", "seqio"), results)
    best = max(rows, key=lambda row: row["metrics"]["full/hr@10"])
    popularity = best["popularity"]["full/hr@10"]
    print(f"ratio: best_index_over_popularity {best['metrics']['full/hr@10'] / popularity:.2f}")


if __name__ == "__main__":
    main()
