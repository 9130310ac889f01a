"""What the commands that open tasks share: lengths, where the data is, imports and gin."""

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser, *, lengths: str, of: str = "tokens of") -> None:
    """Adds --lengths, with a default such as "512,512", --data-dir, --import and gin."""
    parser.add_argument(
        "--lengths",
        type=parse_lengths,
        default=lengths,
        metavar="I,T",
        help=f"{of} inputs, targets (default {lengths})",
    )
    add_data_dir(parser)
    parser.add_argument(
        "--import", action="append", default=[], dest="imports", metavar="MODULE",
        help="a module with tasks of your own; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--item-index", metavar="NAME", help="how items are written (default title)"
    )
    parser.add_argument("--gin_file", action="append", default=[], metavar="FILE")
    parser.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="BINDING",
        help="a gin binding; may be repeated",
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds --data-dir; `use_data_dir` heeds it."""
    parser.add_argument(
        "--data-dir", metavar="DIR", help="default $TFDS_DATA_DIR or ~/tensorflow_datasets"
    )


def use_data_dir(args: argparse.Namespace) -> None:
    """Lets corpora be found where --data-dir says, and keeps TensorFlow's own words away."""
    if args.data_dir:
        os.environ["TFDS_DATA_DIR"] = args.data_dir
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what was asked for is to be read


def parse_lengths(text: str) -> dict[str, int]:
    """'512,128' -> {"inputs": 512, "targets": 128}."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: give two positive numbers, such as 512,128")
    return {"inputs": int(parts[0]), "targets": int(parts[1])}


def open_tasks(args: argparse.Namespace) -> None:
    """Registers the tasks of every built corpus and of --import, then reads gin.

    Raises:
      ValueError: a module or a binding that is refused.
    """
    use_data_dir(args)
    import tasks
    from rec_align import command_line
    from rec_align.pipeline import item_writing

    tasks.register_built_corpora()
    command_line.import_modules(args.imports)
    command_line.read_gin(args.gin_file, args.gin)
    if args.item_index:
        item_writing.use(args.item_index)
