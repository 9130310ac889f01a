"""Import pretrained weights, export a run's, or average those of several.

  rec-align checkpoint import flan-t5-small runs/flan_t5_small
  rec-align checkpoint import --from t5x gs://t5-data/pretrained_models/t5x/flan_t5_xl/\\
checkpoint_1138000 runs/flan_t5_xl
  rec-align checkpoint export runs/first exported --to hf --vocabulary spiece.model
  rec-align checkpoint average runs/second runs/third/checkpoints/4000 runs/mean

An imported or averaged OUT is a MODEL_DIR for eval and infer and an INITIAL_CHECKPOINT_PATH for
train; the size of an imported one is in OUT/model.gin, for --gin_file. Import is shard by shard:
the memory it takes is a little more than the float32 parameters.

Exported models are float32. Hugging Face's T5 knows no blocks: a model that was trained
block-causally reads histories with its encoder bidirectionally there.

Average what has a common past: runs that went on from the same checkpoint, or steps of one run,
which keeps the newest two and the best. Adapters are folded in, so lora.gin is left out afterwards.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    importing = actions.add_parser(
        "import", help="make a MODEL_DIR of a Hugging Face or T5X checkpoint"
    )
    importing.add_argument("path", metavar="DIR", help="a T5 directory, or a T5X checkpoint_N")
    importing.add_argument("out", metavar="OUT", help="a new folder")
    importing.add_argument(
        "--from", choices=("hf", "t5x"), dest="kind", help="what DIR must be; else it is detected"
    )
    exporting = actions.add_parser("export", help="write a run as a Hugging Face directory")
    exporting.add_argument("model_dir", metavar="MODEL_DIR", help="the run")
    exporting.add_argument("out", metavar="OUT", help="a new folder")
    exporting.add_argument("--to", choices=("hf",), default="hf", help="default hf")
    exporting.add_argument(
        "--vocabulary", metavar="SPIECE_MODEL", help="copied into OUT as spiece.model"
    )
    averaging = actions.add_parser("average", help="make a MODEL_DIR of the mean of several runs")
    averaging.add_argument("runs", nargs="+", metavar="RUN", help="a run, or RUN/checkpoints/STEP")
    averaging.add_argument("out", metavar="OUT", help="a new folder")
    for action in (exporting, averaging):
        action.add_argument(
            "--checkpoint",
            default="best",
            metavar="STEP",
            help="of a run: best (default), latest or a step",
        )


def run(args: argparse.Namespace) -> int:
    if args.action != "import" and not (
        args.checkpoint in ("best", "latest") or args.checkpoint.isdigit()
    ):
        raise ValueError(f"--checkpoint {args.checkpoint}: give best, latest or a step")
    from rec_align.pretrained import averaging, converting

    if args.action == "import":
        done = converting.import_checkpoint(args.path, args.out, args.kind)
        _print_size(done, args.out)
        print(f"model:  --gin_file={args.out}/{converting.MODEL_GIN}")
        print(f"start from it: --gin.INITIAL_CHECKPOINT_PATH=\"'{args.out}'\"")
        return 0
    step = int(args.checkpoint) if args.checkpoint.isdigit() else args.checkpoint
    if args.action == "average":
        for averaged in averaging.average_runs(args.runs, args.out, step=step):
            print(averaged.path)
        print(f"the mean of these is in {args.out}")
        return 0
    done = converting.export_hf(args.model_dir, args.out, step=step, vocabulary=args.vocabulary)
    _print_size(done, args.out)
    return 0


def _print_size(done, out: str) -> None:
    import math

    count = sum(math.prod(shape) for shape in done.checkpoint.shapes.values())
    config = done.config
    print(
        f"{done.checkpoint.path} -> {out}: {count:,} parameters, "
        f"{config.num_encoder_layers} + {config.num_decoder_layers} layers, "
        f"{config.num_heads} heads, vocabulary {config.vocab_size:,}"
    )
