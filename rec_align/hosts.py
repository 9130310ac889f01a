"""Several hosts: each runs the same command and is told its place, or finds it itself."""

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several hosts (the three are found on TPU pods and Slurm)")
    group.add_argument("--multihost", action="store_true", help="join the other hosts first")
    for flag, variable, kind in [
        ("--coordinator_address", "JAX_COORDINATOR_ADDRESS", str),
        ("--process_count", "JAX_NUM_PROCESSES", int),
        ("--process_index", "JAX_PROCESS_ID", int),
    ]:
        # A default that is a string is read by `type`, and so refused where it is no number.
        group.add_argument(
            flag, type=kind, default=os.environ.get(variable), help=f"or ${variable}"
        )


def join(args: argparse.Namespace) -> None:
    """Makes all hosts' devices one machine's; before anything else of JAX.

    Raises:
      ValueError: the place of this host is not known, or the others do not answer.
    """
    import jax

    try:
        jax.distributed.initialize(args.coordinator_address, args.process_count, args.process_index)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--multihost: {error}. Give --coordinator_address=HOST:PORT (of the first host), "
            "--process_count and --process_index on every host."
        ) from error
