"""The command line of the entry points: gin files and bindings, as T5X's users know it.

`python -m rec_align.train --gin_file=FILE ... --gin.NAME=VALUE ... [--import MODULE ...]`
"""

import argparse
import importlib
import pathlib

import absl.logging

import gin
import rec_align


def parse(description: str | None, argv: list[str] | None = None) -> None:
    """Reads the arguments into gin, and registers the tasks of every built corpus.

    Gin files are looked for in the working directory, then beside an installed `rec_align`, then
    in a checkout's root, so `gin/models/tiny.gin` is found everywhere.

    Raises:
      ValueError: a file that is not there, or a binding that gin refuses, with gin's reason.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gin_file", action="append", default=[], metavar="FILE")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that registers your own tasks",
    )
    args, rest = parser.parse_known_args(argv)
    bindings = []
    for argument in rest:
        if not argument.startswith("--gin.") or "=" not in argument:
            parser.error(f"unknown argument {argument}: bindings are written --gin.NAME=VALUE")
        bindings.append(argument.removeprefix("--gin."))

    import tasks

    absl.logging.set_verbosity(absl.logging.ERROR)  # SeqIO warns of lengths on every evaluation
    tasks.register_built_corpora()
    for module in args.modules:
        importlib.import_module(module)
    package = pathlib.Path(rec_align.__file__).parent
    gin.add_config_file_search_path(str(package))
    gin.add_config_file_search_path(str(package.parent))
    try:
        gin.parse_config_files_and_bindings(args.gin_file, bindings)
    except (OSError, SyntaxError, TypeError, ImportError, AttributeError) as error:
        raise ValueError(f"gin: {error}") from error
