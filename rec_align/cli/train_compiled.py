"""Train on a compiled mixture, without TensorFlow, SeqIO or gin.

  rec-align train-compiled compiled/ml_100k_aligned --model tiny --model-dir runs/first
  rec-align train-compiled compiled/flan --model base --model-dir runs/base --batch-size 128 \\
    --optimizer adafactor --learning-rate 1e-3 --initial-checkpoint flan-t5-base \\
    --mesh 1x-1x1 --set "dtype='bfloat16'"

The folder is what `rec-align compile` wrote, copied from wherever TensorFlow is. Run again with the
same arguments, it goes on from the newest checkpoint. The defaults are those of gin/runs/train.gin;
evaluate the run with `python -m rec_align.eval`.
"""

import argparse
import functools
import json

# Of the token embeddings, as a multiple of the others' learning rate, see docs/results.md.
FRESH_EMBEDDING_RATE = 8.0  # that of gin/runs/train.gin
GIVEN_ITEM_EMBEDDINGS_RATE = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from rec_align import hosts

    parser.add_argument("compiled", metavar="DIR", help="what `rec-align compile` wrote")
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="a file of gin/models, or the path of one"
    )
    parser.add_argument(
        "--model-dir", required=True, metavar="DIR", help="for checkpoints and metrics.jsonl"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="a field of T5Config that is not as in the model file; may be repeated",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=4000, help="default 4000")
    parser.add_argument(
        "--batch-size", type=int, default=4, help="packed rows a step, over all hosts (default 4)"
    )
    parser.add_argument(
        "--optimizer", choices=("adamw", "adafactor"), default="adamw",
        help="adamw warms up and decays (default); adafactor has one learning rate, as T5's",
    )  # fmt: skip
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="default 3e-3")
    parser.add_argument(
        "--embedding-rate", type=float, metavar="TIMES",
        help="of adamw: the token embeddings' learning rate, as a multiple (default 8, 1 with "
        "--initial-checkpoint, 0.2 with --item-embeddings)",
    )  # fmt: skip
    parser.add_argument(
        "--label-smoothing", type=float, default=0.0, metavar="SHARE",
        help="of a target's weight that all tokens share (default 0)",
    )  # fmt: skip
    parser.add_argument("--initial-checkpoint", metavar="PATH", help="pretrained weights, or a run")
    parser.add_argument(
        "--item-embeddings", metavar="PATH",
        help="an .npy of [num_items, width] that item tokens start from, such as `rec-align teach` "
        "writes; for an index of one token an item",
    )  # fmt: skip
    parser.add_argument("--mesh", metavar="DxFxM", help="devices; default: all are data")
    parser.add_argument("--microbatches", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--seed", type=int, default=0, help="order, dropout, parameters")
    parser.add_argument("--log-every", type=int, default=50, metavar="N", help="default 50 steps")
    parser.add_argument(
        "--checkpoint-every", type=int, default=1000, metavar="N", help="default 1000 steps"
    )
    hosts.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from rec_align import host_memory, hosts

    host_memory.keep_freed_memory()
    if args.multihost:
        hosts.join(args)
    import jax
    from etils import epath

    from rec_align.models import config_files
    from rec_align.models.rating_head import check_train_ratings
    from rec_align.models.t5 import Transformer
    from rec_align.pretrained import adapters
    from rec_align.training import loop, optimizers, run_vocabulary, sharding
    from rec_align.training.compiled import CompiledMixture
    from rec_align.training.item_embeddings import ItemEmbeddings
    from rec_align.training.progress import JsonlWriter
    from rec_align.training.telling import describe, tell

    compiled = CompiledMixture.open(args.compiled)
    config = config_files.read_config(args.model, **config_files.parse_fields(args.set))
    manifest = compiled.manifest
    if config.rates:
        if "other_rating" not in manifest:
            raise ValueError(
                f"{args.compiled} was compiled before ratings were checked for heads: do it again"
            )
        check_train_ratings(config.rating_head, manifest["other_rating"])
    config = config.with_rating_tokens(manifest.get("rating_tokens"), manifest["mixture"])
    network = Transformer(config.with_vocab_size(compiled.vocab_size))
    compiled.check_rows(network.config.vocab_size)
    kept = epath.Path(args.model_dir) / "compiled.json"
    if kept.exists():
        trained_on = json.loads(kept.read_text())
        names = ("vocabulary_sha256", "vocab_size", "task_feature_lengths")
        compiled.check_fits(**{name: trained_on[name] for name in names})

    num_item_tokens = manifest.get("num_item_index_tokens", 0)
    item_embeddings = args.item_embeddings and ItemEmbeddings.read(
        args.item_embeddings,
        width=config.emb_dim,
        vocab_size=compiled.vocab_size,
        num_item_tokens=num_item_tokens,
    )
    mesh = sharding.make_mesh(args.mesh)
    shard = sharding.host_shard(mesh, args.batch_size, args.microbatches)
    run_vocabulary.check(args.model_dir, compiled.manifest["vocabulary_sha256"])
    embedding_rate = args.embedding_rate or _embedding_rate(args)
    make_optimizer, schedule = {
        "adamw": (
            functools.partial(optimizers.adamw, embedding_rate=embedding_rate),
            optimizers.warmup_linear_decay,
        ),
        "adafactor": (optimizers.adafactor, optimizers.constant),
    }[args.optimizer]
    is_first_host = jax.process_index() == 0
    if is_first_host:
        describe(network, mesh)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(compiled.manifest, indent=1) + "\n")
        run_vocabulary.note(args.model_dir, compiled.manifest["vocabulary_sha256"])
    outcome = loop.train(
        network,
        make_optimizer(schedule(peak=args.learning_rate, total_steps=args.steps)),
        functools.partial(
            compiled.batches_from, batch_size=args.batch_size, seed=args.seed, shard=shard
        ),
        compiled.validation_batches(args.batch_size),
        args.model_dir,
        loop.Schedule(
            total_steps=args.steps,
            log_every=args.log_every,
            checkpoint_every=args.checkpoint_every,
        ),
        mesh=mesh,
        seed=args.seed,
        initial_params=adapters.initial_params(
            network,
            args.initial_checkpoint,
            args.model_dir,
            more_tokens=num_item_tokens > 0,
        ),
        item_embeddings=item_embeddings,
        num_microbatches=args.microbatches,
        label_smoothing=args.label_smoothing,
        writers=[JsonlWriter(args.model_dir)] if is_first_host else [],
    )
    if is_first_host:
        tell(outcome, args.steps, args.model_dir)
    return 130 if outcome.stopped_by else 0


def _embedding_rate(args: argparse.Namespace) -> float:
    if args.item_embeddings:
        return GIVEN_ITEM_EMBEDDINGS_RATE
    return 1.0 if args.initial_checkpoint else FRESH_EMBEDDING_RATE
