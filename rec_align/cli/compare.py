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
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]RUN[,RUN]", help="the MODEL_DIR of a run"
    )
    parser.add_argument("--baselines", default="popularity", metavar="NAMES",
        help="comma separated: popularity, item_knn, als, bpr_mf, sasrec (default popularity)",
    )  # fmt: skip
    parser.add_argument("--split", default="test", help="test or validation (default test)")
    parser.add_argument("--seed", type=int, default=0, help="of the baselines (default 0)")
    parser.add_argument("--out", default="comparison", metavar="DIR", help="default ./comparison")


def run(args: argparse.Namespace) -> int:
    from etils import epath

    from rec_align import comparison_page, scored_runs
    from rec_align.data.corpus import train_item_counts
    from rec_align.metrics import comparison, rendering

    systems = _systems(args.systems)
    folders = {
        name: [epath.Path(run) / f"eval_{args.split}" for run in runs]
        for name, runs in systems.items()
    }
    corpus = scored_runs.corpus_of([folder for runs in folders.values() for folder in runs])
    held_out = scored_runs.read_held_out(corpus, args.split)
    lists = {
        name: [scored_runs.read_lists(folder, held_out) for folder in runs]
        for name, runs in folders.items()
    }
    for name in filter(None, args.baselines.split(",")):
        baseline = scored_runs.fit_baseline(name, corpus, args.seed)
        lists[name] = [scored_runs.baseline_lists(baseline, held_out)]
    users = comparison.Users(
        target=held_out.targets,
        histories=held_out.histories,
        item_counts=train_item_counts(corpus),
    )
    results = {"corpus": corpus, "split": args.split, "seed": args.seed, "runs": systems}
    results |= comparison.compare(users, lists)
    output = epath.Path(args.out)
    output.mkdir(parents=True, exist_ok=True)
    tables = [t for protocol in comparison.PROTOCOLS for t in comparison.tables(results, protocol)]
    title = f"{corpus}, {args.split} split"
    (output / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / "compare.md").write_text(f"## {title}\n\n{rendering.markdown(tables)}")
    (output / "compare.html").write_text(comparison_page.render(results, title))
    rendering.print_tables(comparison.tables(results))
    print(f"with the history excluded and with plots besides: {output}/compare.html")
    return 0


def _systems(arguments: Sequence[str]) -> dict[str, list[str]]:
    """[NAME=]RUN[,RUN] -> {name: runs}; a run without a name is called by its folder."""
    systems: dict[str, list[str]] = {}
    for argument in arguments:
        name, _, runs = argument.rpartition("=")
        runs = [run.rstrip("/") for run in runs.split(",")]
        name = name or runs[0].rsplit("/", 1)[-1]
        if name in systems:
            raise ValueError(f"two systems are called {name!r}: name them, NAME=RUN")
        systems[name] = runs
    return systems
