"""`rec-align`: the command line. Each sub-command lives in its own module, imported when it runs.

A sub-command module offers `add_arguments(parser)`, which must import nothing heavy, and
`run(args) -> exit code`. Exit codes: 0 done; 1 refused, with the reason on stderr; 2 wrong usage;
3 done, but input rows were skipped (they are counted on stderr).
"""

import argparse
import importlib
import sys

import rec_align

COMMANDS = {
    "data": "build a corpus from raw logs, add new items, or list the corpora",
    "index": "make short ids for items, such as TIGER's semantic ids",
    "teach": "draw items by SASRec's probabilities, for the distillation task",
    "compile": "draw a mixture once, to files that train without TensorFlow",
    "train-compiled": "train on those files",
    "show": "print a task's examples as the model sees them",
    "report": "print a run's scores and some users' recommendations",
    "compare": "compare runs with each other and with baselines",
    "plan": "what a training step needs on each device, before you rent it",
    "checkpoint": "import pretrained weights, export or average a run's",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rec-align", description="Recommender data to language-model recommenders."
    )
    parser.add_argument("--version", action="version", version=rec_align.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"rec_align.cli.{name.replace('-', '_')}")
        sub = commands.add_parser(name, help=summary, description=module.__doc__)
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"rec-align: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("rec-align: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
