"""The command line of the entry points: gin files and bindings, as T5X's users know it.

`python -m rec_align.train --gin_file=FILE ... --gin.NAME=VALUE ... [--import MODULE ...]`

With several hosts every host runs the same command with `--multihost`; a TPU pod and Slurm tell
each its place, elsewhere three flags or environment variables do.
"""

import argparse
import importlib
import pathlib
import sys
import tokenize
from collections.abc import Callable

import absl.logging
import gin

import rec_align
from rec_align import hosts


def run(description: str | None, argv: list[str] | None, function: Callable[..., int]) -> int:
    """Parses the command line, calls the gin-bound function, and turns errors into one line.

    Returns:
      The exit code: the function's, 1 for bad input, 130 for Ctrl-C.
    """
    import tensorflow as tf

    name = f"rec_align.{function.__name__}"
    try:
        parse(description, argv)
        return gin.get_configurable(function)()
    except (ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except tf.errors.OpError as error:
        print(f"{name}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130


def import_modules(names: list[str]) -> None:
    """Imports modules that register tasks, also from the working directory.

    Raises:
      ValueError: a module is not there, or does not import; the reason is in the message.
    """
    sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a user's module may raise
            raise ValueError(f"--import {name}: {type(error).__name__}: {error}") from error


def parse(description: str | None, argv: list[str] | None = None) -> None:
    """Reads the arguments into gin (see `read_gin`), and registers the tasks of every corpus.

    Raises:
      ValueError: a file that is not there, a binding that gin refuses, or a macro that is required
        and not given.
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
    hosts.add_arguments(parser)
    args, rest = parser.parse_known_args(argv)
    bindings = []
    for argument in rest:
        if not argument.startswith("--gin.") or "=" not in argument:
            parser.error(f"unknown argument {argument}: bindings are written --gin.NAME=VALUE")
        bindings.append(argument.removeprefix("--gin."))

    if args.multihost:
        hosts.join(args)
    import tasks

    absl.logging.set_verbosity(absl.logging.ERROR)  # SeqIO warns of lengths on every evaluation
    tasks.register_built_corpora()
    import_modules(args.modules)
    read_gin(args.gin_file, bindings)
    try:
        gin.query_parameter("%MODEL")
    except ValueError:
        raise ValueError(
            "MODEL is not given: name a model and a run, as --gin_file=gin/models/tiny.gin "
            "--gin_file=gin/runs/train.gin"
        ) from None


def read_gin(files: list[str], bindings: list[str]) -> None:
    """Reads gin files, then bindings.

    Files are looked for in the working directory, then beside an installed `rec_align`, then in a
    checkout's root, so `gin/models/tiny.gin` is found everywhere.

    Raises:
      ValueError: a file that is not there, or a binding that gin refuses.
    """
    package = pathlib.Path(rec_align.__file__).parent
    gin.add_config_file_search_path(str(package))
    gin.add_config_file_search_path(str(package.parent))
    try:
        gin.parse_config_files_and_bindings(files, bindings)
    except (
        OSError,
        SyntaxError,
        TypeError,
        ImportError,
        AttributeError,
        tokenize.TokenError,
    ) as error:
        raise ValueError(f"gin: {error}") from error
