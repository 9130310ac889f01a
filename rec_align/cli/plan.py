"""Print what a training step needs on each device: memory, work and traffic, and whether it fits.

  rec-align plan --model xl --topology v5e:8x8 --mesh 4x16x1 --dtype bfloat16 --remat full --scan
  rec-align plan --model base --mesh 2x2x2 --hbm 24

The step is compiled and not run: no weights, no accelerator. With --topology the TPU compiler does
it (pip install 'rec_align[tpu]'; no TPU is needed), so what it prints is what the TPU will hold.
Without, it is compiled for simulated CPU devices: parameters and optimizer state are exact,
temporaries an estimate, because a CPU's compiler fuses less and keeps bfloat16 as float32.

The defaults are those of gin/runs/finetune.gin. Exit code 0: fits; 1: does not fit, or refused.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import sys

from rec_align.cli import task_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="small, base, large, xl, xxl, or a gin file"
    )
    parser.add_argument(
        "--mesh", default="1x-1x1", metavar="DxFxM", help="data x fsdp x model (default all fsdp)"
    )
    parser.add_argument(
        "--topology",
        metavar="TPU",
        help="v5e:8x8 (v5e-64), v4:2x2x4 (v4-32), v5p:..., v6e:...; none: CPU devices",
    )
    parser.add_argument("--batch", type=int, default=128, help="rows a step (default 128)")
    parser.add_argument(
        "--lengths",
        type=task_arguments.parse_lengths,
        default="512,128",
        metavar="I,T",
        help="tokens of inputs, targets (default 512,128)",
    )
    parser.add_argument(
        "--hbm", type=float, metavar="GIB", help="memory of a device; default the topology's"
    )
    parser.add_argument("--optimizer", choices=("adafactor", "adamw"), default="adafactor")
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the activations"
    )
    parser.add_argument("--remat", choices=("none", "minimal", "full"), default="none")
    parser.add_argument("--scan", action="store_true", help="compile one layer instead of each")
    parser.add_argument("--microbatches", type=int, default=1, metavar="N")
    parser.add_argument("--lora-rank", type=int, metavar="R", help="train adapters alone")
    parser.add_argument("--vocab-size", type=int, metavar="N", help="instead of the model's")
    parser.add_argument(
        "--quick", action="store_true", help="a third of the time, some per cent more memory"
    )
    parser.add_argument("--json", metavar="FILE", help="writes the numbers there as well")


def run(args: argparse.Namespace) -> int:
    if args.batch < 1 or args.microbatches < 1:
        raise ValueError(
            f"--batch {args.batch}, --microbatches {args.microbatches}: give 1 or more"
        )
    mesh, hbm_gib = _mesh_and_hbm(args)
    network = _network(args)

    import optax

    from rec_align.training import optimizers, sharding
    from rec_align.training.plan import GIB, make_plan

    sharding.host_shard(mesh, args.batch, args.microbatches)  # refused before anything is said
    print(f"compiling for {mesh.size} devices; large models take minutes ...", file=sys.stderr)
    plan = make_plan(
        network,
        getattr(optimizers, args.optimizer)(optax.constant_schedule(1e-3)),
        mesh,
        batch_size=args.batch,
        **args.lengths,
        num_microbatches=args.microbatches,
        quick=args.quick,
    )
    print(f"compiled in {plan.compile_seconds:.0f} s", file=sys.stderr)
    fits = plan.fits(hbm_gib * GIB)
    _print(plan, network.config, args, hbm_gib)
    if args.json:
        asked = {name: value for name, value in vars(args).items() if name not in _NOT_ASKED}
        record = {"asked": asked, "hbm_gib": hbm_gib, "fits": fits} | dataclasses.asdict(plan)
        pathlib.Path(args.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0 if fits else 1


_NOT_ASKED = ("run", "command", "json")


def _mesh_and_hbm(args: argparse.Namespace):
    """The mesh that was asked for, and the GiB of one of its devices."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's warnings of the partitioner
    import jax

    jax.config.update("jax_platforms", "cpu")  # an accelerator that is here has other work
    from rec_align.training import sharding, topology

    if args.topology:
        devices = topology.topology_devices(args.topology)
        hbm_gib = args.hbm or topology.hbm_gib(args.topology)
    else:
        sizes = [int(size) for size in args.mesh.split("x") if size.isdigit()]
        count = math.prod(sizes) if len(sizes) == args.mesh.count("x") + 1 else 0
        if count < 1:
            raise ValueError(
                f"--mesh {args.mesh}: without --topology give a whole number for each axis, such "
                "as 2x4x4; their product is how many devices are simulated"
            )
        jax.config.update("jax_num_cpu_devices", count)
        devices, hbm_gib = jax.devices("cpu"), args.hbm
    if hbm_gib is None:
        raise ValueError("--hbm: say how many GiB a device has, or name a --topology that is known")
    return sharding.make_mesh(args.mesh, devices), hbm_gib


def _network(args: argparse.Namespace):
    """The network of a model file, with what the command line says otherwise."""
    from rec_align.models.config_files import read_config
    from rec_align.models.lora import Lora
    from rec_align.models.t5 import Transformer

    changes = {
        "dtype": args.dtype,
        "remat_policy": args.remat,
        "scan_layers": args.scan,
        "lora": Lora(rank=args.lora_rank) if args.lora_rank else None,
        "vocab_size": args.vocab_size,
    }
    config = read_config(
        args.model, **{name: value for name, value in changes.items() if value is not None}
    )
    if not config.vocab_size:
        raise ValueError(
            f"--vocab-size: {args.model} takes its vocabulary's; say how many tokens that has"
        )
    # Any five will do for its size and time.
    return Transformer(config.with_rating_tokens([(2 + n, 1) for n in range(5)], args.model))


def _print(plan, config, args: argparse.Namespace, hbm_gib: float) -> None:
    import numpy as np

    from rec_align.training.plan import GIB

    devices = math.prod(plan.mesh.values())
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    print(f"{args.model}: {plan.num_parameters:,} parameters on {devices} x {plan.device_kind}")
    lengths = " + ".join(map(str, args.lengths.values()))
    print(f"mesh {mesh}; batch {args.batch} of {lengths} tokens")
    choices = [
        f"{np.dtype(config.dtype).name} activations",
        args.optimizer,
        f"remat {config.remat_policy}",
        "scanned layers" if config.scan_layers else "unrolled layers",
        config.lora and f"LoRA of rank {config.lora.rank}",
        args.microbatches > 1 and f"{args.microbatches} microbatches",
        args.quick and "compiled quickly",
    ]
    print(", ".join(choice for choice in choices if choice))
    print("\nGiB on each device")
    for kind, size in plan.memory.items():
        if size:
            print(f"  {kind:18} {size / GIB:8.2f}{_NOTES.get(kind, '')}")
    print(f"  {'total':18} {plan.total_bytes / GIB:8.2f}")
    print("\nGiB a step that each device sends or takes")
    for kind, size in plan.collectives.items():
        print(f"  {kind:18} {size / GIB:8.2f}")
    if not plan.collectives:
        print("  not known: it was not compiled" if plan.available else "  none")
    if plan.unknown_loops:
        print(f"  {plan.unknown_loops} loops of unknown length are counted once")
    print(f"\nFLOP a step: {plan.flops:.3g}, {plan.flops / devices:.3g} a device (matrix products)")
    unrolled = not config.scan_layers and args.microbatches == 1
    if plan.xla_flops and unrolled:
        print(f"XLA counts {plan.xla_flops:.3g} a device, all operations")
    available = min(hbm_gib, (plan.available or math.inf) / GIB)
    verdict = "fits" if plan.fits(hbm_gib * GIB) else "does not fit"
    print(f"\n{verdict}: needs {plan.total_bytes / GIB:.2f} of {available:.2f} GiB")


_NOTES = {"temporaries": "   activations, gradients, gathered parameters"}
