"""Draw, tokenize and pack a mixture once, to files that train without TensorFlow.

  rec-align compile ml_100k_aligned --epochs 20 --out compiled/ml_100k_aligned
  rec-align compile my_shop_aligned --epochs 3 --lengths 512,128 --out compiled/flan \\
    --gin_file gin/runs/bidirectional.gin --gin "VOCABULARY='spiece.model'"

An epoch ends when the first of the mixture's tasks has been through its data; each epoch is drawn
afresh. Then, where jax, flax, optax and orbax are enough: rec-align train-compiled DIR.
"""

import argparse
import os

from rec_align.cli import task_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mixture", metavar="MIXTURE", help="a mixture or task of a built corpus")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--seed", type=int, default=0, help="fixes every draw (default 0)")
    parser.add_argument(
        "--validation-task", metavar="TASK", help="default the mixture's retrieval, or its first"
    )
    parser.add_argument(
        "--entities", action="store_true",
        help="with what T5Config.entity_embedding reads: which item each token is of",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is in DIR")
    task_arguments.add_arguments(parser, lengths="256,224", of="tokens of a packed row's")


def run(args: argparse.Namespace) -> int:
    task_arguments.open_tasks(args)
    import tensorflow as tf

    from rec_align.pipeline.compiling import compile_mixture

    try:
        manifest = compile_mixture(
            args.mixture,
            args.out,
            num_epochs=args.epochs,
            task_feature_lengths=args.lengths,
            seed=args.seed,
            validation_task=args.validation_task,
            num_threads=os.cpu_count() or 2,
            entities=args.entities,
            force=args.force,
        )
    except tf.errors.OpError as error:
        raise ValueError(error.message) from error
    rows, examples = sum(manifest["rows"]), sum(manifest["examples"])
    print(
        f"{examples:,} examples in {rows:,} rows, and {manifest['validation_rows']:,} rows of "
        f"{manifest['validation_task']}'s validation split, in {args.out}"
    )
    print(f"next: rec-align train-compiled {args.out} --model tiny --model-dir runs/compiled")
    return 0
