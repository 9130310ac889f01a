"""Ratings predicted in three ways, from shares of the training ratings, beside baselines.

As Kang et al. 2023 (arXiv 2305.06474) ask it: a generated digit, a classifier of five and a
regression, each trained on a share of the ratings; RMSE, MAE and the AUC of liked items on the
test split. Every way and baseline learns from the same ratings of a share, but a prompt also shows
the user's earlier ratings, those outside the share too, which matrix factorisation never sees.

  python bench/ratings.py --runs runs/ratings

Finished runs are read again, interrupted ones go on. The record is
bench/results/quality/ratings_CORPUS.json.
"""

import argparse
import pathlib
from typing import Any

import measuring
import numpy as np
import quality
from results_page import ratings_table

from rec_align.baselines.evaluate import RATING_BASELINES
from rec_align.eval import read_histories
from rec_align.metrics.seqio_metrics import score_ratings
from rec_align.pipeline.rating_shares import chosen_ratings

WAYS = {
    "text": {},
    "classes": {"T5Config.rating_head": "classes"},
    "regression": {"T5Config.rating_head": "regression"},
}
SEEDED_BASELINES = ("mf",)


def run_way(way: str, share: float, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Trains and scores a network, or reads it."""
    config = {
        "corpus": args.corpus,
        "score": "rating",
        "gin": {"T5Config.repeat_bias": False},  # as when this was recorded
        # A small share is learned by heart soon: the best checkpoint is looked for often.
        "train": {
            "TRAIN_STEPS": args.steps,
            "train.checkpoint_every": args.checkpoint_every,
            "optimizers.adamw.embedding_rate": 1.0,  # as when this was recorded
        },
    }
    system = {
        "mixture": "rating",
        "train": {"rating_windows.train_share": share},
        **WAYS[way],
    }
    folder = args.runs / args.corpus / f"{way}_{share:g}_{seed}"
    found = quality.run(config, system, seed, folder)
    return {"system": way, "share": share} | found | {"metrics": found["metrics"]["rating"]}


def share_of_train(train: list[dict[str, Any]], share: float) -> dict[int, tuple[Any, Any]]:
    """What baselines are fitted on: user index -> items, ratings; NaN outside the share."""
    histories = {}
    for example in train:
        user, items, ratings = (example[k] for k in ("user_index", "item_indices", "ratings"))
        chosen = chosen_ratings(user, items, share).numpy()
        histories[user] = (items, np.where(chosen, ratings, np.nan))
    return histories


def num_ratings(histories: dict[int, tuple[Any, Any]]) -> int:
    return sum(int(np.isfinite(ratings).sum()) for _, ratings in histories.values())


def run_baselines(
    histories: dict[int, tuple[Any, Any]], test: list[dict[str, Any]], seeds: list[int]
) -> list[dict[str, Any]]:
    """Fits and scores every baseline of ratings; one without a seed once."""
    rated = [e for e in test if np.isfinite(e["ratings"][-1])]
    users = np.array([e["user_index"] for e in rated])
    items = np.array([e["item_indices"][-1] for e in rated])
    targets = np.array([e["ratings"][-1] for e in rated])
    found = []
    for name, baseline in RATING_BASELINES.items():
        options = [{"seed": seed} for seed in seeds] if name in SEEDED_BASELINES else [{}]
        for option in options:
            predictions = baseline.fit(histories, **option).predict(users, items)
            metrics = score_ratings(targets, predictions)
            found.append({"system": name, **option, "metrics": metrics})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=pathlib.Path, required=True, help="where runs are kept")
    parser.add_argument("--corpus", default="ml_100k")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma separated")
    parser.add_argument("--shares", default="0.01,0.1,1", help="of the train ratings")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--out", type=pathlib.Path, help="where the record goes instead")
    args = parser.parse_args()
    shares = [float(share) for share in args.shares.split(",")]
    seeds = [int(seed) for seed in args.seeds.split(",")]
    train, test = (read_histories(args.corpus, split) for split in ("train", "test"))
    runs, counts = [], {}
    for share in shares:
        histories = share_of_train(train, share)
        counts[f"{share:g}"] = num_ratings(histories)
        for found in run_baselines(histories, test, seeds):
            runs.append({"share": share} | found)
    for way in args.ways.split(","):
        for share in shares:
            for seed in seeds:
                found = run_way(way, share, seed, args)
                runs.append(found)
                rmse, seconds = found["metrics"]["rmse"], sum(found["seconds"].values())
                print(f"{way}, share {share:g}, seed {seed}: {rmse:.4f}, {seconds} s", flush=True)
    results = {
        "corpus": args.corpus,
        "steps": args.steps,
        "checkpoint_every": args.checkpoint_every,
        "seeds": seeds,
        "shares": shares,
        "train_ratings": counts,
        "runs": runs,
    }
    print(ratings_table(results))
    out = args.out or quality.RECORDS / f"ratings_{args.corpus}.json"
    measuring.write_record(str(out), ("jax", "flax", "numpy", "seqio"), results)
    errors = {
        name: np.mean([r["metrics"]["rmse"] for r in of_share if r["system"] == name])
        for of_share in [[r for r in runs if r["share"] == max(shares)]]
        for name in {r["system"] for r in of_share}
    }
    best = min(errors[way] for way in args.ways.split(","))
    print(f"ratio: mf_over_best_way_rmse {errors['mf'] / best:.3f}")


if __name__ == "__main__":
    main()
