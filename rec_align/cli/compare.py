"""Compare runs with each other and with baselines: one table, one protocol.

  rec-align compare runs/first --baselines popularity,item_knn,sasrec
  rec-align compare aligned=runs/aligned_0,runs/aligned_1 plain=runs/plain_0,runs/plain_1

Runs are read from what `rec_align.eval` wrote into their folders; NAME=RUN,RUN are seeds of one
system. Baselines are fitted on the train split; the validation split tells sasrec when to stop. The
first system is the one that the others are tested against. Writes compare.json, compare.md and
compare.html.
"""

import argparse
import json
import os
from collections.abc import Sequence

SPLITS = ("test", "validation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]RUN[,RUN]", help="the MODEL_DIR of a run"
    )
    parser.add_argument("--baselines", default="popularity", metavar="NAMES",
        help="comma separated: popularity, item_knn, als, bpr_mf, sasrec (default popularity)",
    )  # fmt: skip
    parser.add_argument("--split", choices=SPLITS, default="test", help="default test")
    parser.add_argument(
        "--seeds", default="0", help="of the baselines, comma separated (default 0)"
    )
    parser.add_argument("--out", default="comparison", metavar="DIR", help="default ./comparison")


def run(args: argparse.Namespace) -> int:
    from etils import epath

    from rec_align import comparison_page, scored_runs
    from rec_align.data.corpus import train_item_counts
    from rec_align.metrics import comparison, rendering
    from rec_align.metrics.comparison_tables import tables

    systems = _systems(args.systems)
    baselines = [name.strip() for name in args.baselines.split(",") if name.strip()]
    for name in baselines:
        if name in systems or baselines.count(name) > 1:
            raise ValueError(f"two systems are called {name!r}: name a run otherwise, NAME=RUN")
        scored_runs.check_baseline(name)
    folders = {
        name: [epath.Path(run) / f"eval_{args.split}" for run in runs]
        for name, runs in systems.items()
    }
    saved = {name: list(map(scored_runs.read_metrics, of)) for name, of in folders.items()}
    contexts = {name: [metrics["context"] for metrics in of] for name, of in saved.items()}
    corpus = scored_runs.corpus_of(folders, contexts)
    held_out = scored_runs.read_held_out(corpus, args.split)
    lists = {
        name: [
            scored_runs.read_lists(folder, metrics, held_out)
            for folder, metrics in zip(of, saved[name], strict=True)
        ]
        for name, of in folders.items()
    }
    seeds = [int(seed) for seed in args.seeds.split(",")]
    lists |= scored_runs.baseline_lists(baselines, corpus, held_out, seeds)
    users = comparison.Users(
        target=held_out.targets,
        histories=held_out.histories,
        item_counts=train_item_counts(corpus),
    )
    results = {"corpus": corpus, "split": args.split, "runs": contexts, "seeds": args.seeds}
    results |= comparison.compare(users, lists)
    output = epath.Path(args.out)
    output.mkdir(parents=True, exist_ok=True)
    title = f"{corpus}, {args.split} split"
    if args.split == "validation":
        title += ", which chose the checkpoints and stopped sasrec"
    drawn = [table for protocol in comparison.PROTOCOLS for table in tables(results, protocol)]
    (output / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "compare.md").write_text(f"## {title}\n\n{rendering.markdown(drawn)}")
    (output / "compare.html").write_text(comparison_page.render(results, title))
    print(title)
    rendering.print_tables(table for table in drawn if not table.title.startswith("NDCG"))
    print(f"slices of users and plots: {output}/compare.html")
    return 0


def _systems(arguments: Sequence[str]) -> dict[str, list[str]]:
    """[NAME=]RUN[,RUN] -> {name: runs}; a run without a name is called by its folder."""
    systems: dict[str, list[str]] = {}
    for argument in arguments:
        # A folder's own name may hold "=" and ",".
        name, _, runs = ("", "", argument) if os.path.exists(argument) else argument.rpartition("=")
        found = [runs] if os.path.exists(runs) else runs.split(",")
        found = [run.rstrip("/") for run in found]
        name = name or found[0].rsplit("/", 1)[-1]
        if not all(found) or len(set(found)) < len(found):
            raise ValueError(f"{argument!r} names a run twice, or none: give [NAME=]RUN[,RUN]")
        if name in systems:
            raise ValueError(f"two systems are called {name!r}: name a run otherwise, NAME=RUN")
        systems[name] = found
    return systems
