"""What it costs a training step on CPUs that freed memory goes back to the system.

Steps of gin/models/tiny.gin on full rows, in two fresh processes by turns: one as glibc is,
one after `keep_freed_memory`.

  python bench/host_memory.py --out bench/results/host_memory.json
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import jax
import measuring
import numpy as np
import optax

from rec_align.models.config_files import read_config
from rec_align.models.t5 import Transformer
from rec_align.training import host_memory, optimizers, sharding
from rec_align.training.state import init_state, make_train_step

ROWS, INPUTS, TARGETS, VOCAB_SIZE = 4, 256, 224, 2048


def random_batch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Full rows of one segment: any tokens, blocks that rise."""

    def tokens(length: int) -> np.ndarray:
        return rng.integers(1, VOCAB_SIZE, (ROWS, length), dtype=np.int32)

    def blocks(length: int) -> np.ndarray:
        return np.sort(rng.integers(1, 50, (ROWS, length), dtype=np.int32))

    return {
        "encoder_input_tokens": tokens(INPUTS),
        "decoder_input_tokens": tokens(TARGETS),
        "decoder_target_tokens": tokens(TARGETS),
        "decoder_loss_weights": np.ones((ROWS, TARGETS), np.int32),
        "encoder_segment_ids": np.ones((ROWS, INPUTS), np.int32),
        "decoder_segment_ids": np.ones((ROWS, TARGETS), np.int32),
        "encoder_blocks": blocks(INPUTS),
        "decoder_blocks": blocks(TARGETS),
    }


def measure(keep: bool, num_steps: int) -> dict[str, float]:
    """Milliseconds and page faults a step in this process."""
    mesh = sharding.make_mesh()
    if keep:
        host_memory.keep_freed_memory(mesh)
    network = Transformer(read_config("tiny", vocab_size=VOCAB_SIZE))
    optimizer = optimizers.adamw(optax.constant_schedule(1e-3))
    state, frozen = init_state(network, optimizer, mesh, seed=0)
    step = make_train_step(network, optimizer, seed=0)
    batch = sharding.shard_batch(random_batch(np.random.default_rng(0)), mesh)

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    milliseconds = []
    with jax.set_mesh(mesh):
        for number in range(5 + num_steps):
            if number == 5:
                faults_before = faults()
            started = time.perf_counter()
            state, sums = step(state, frozen, batch)
            jax.block_until_ready(sums)
            milliseconds.append(1000 * (time.perf_counter() - started))
    return {
        "milliseconds": round(statistics.median(milliseconds[5:]), 2),
        "page_faults": round((faults() - faults_before) / num_steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("kept", "given_back"), help=argparse.SUPPRESS)
    parser.add_argument("--out", help="where the record goes")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only == "kept", args.steps)))
        return
    found: dict[str, list[dict]] = {"given_back": [], "kept": []}
    for _ in range(args.rounds):
        for name, results in found.items():
            command = [sys.executable, __file__, "--only", name, "--steps", str(args.steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
            print(name, results[-1], flush=True)
    ratios = [
        before["milliseconds"] / after["milliseconds"]
        for before, after in zip(found["given_back"], found["kept"], strict=True)
    ]
    results = {"runs": found, "given_back_over_kept": statistics.median(ratios)}
    measuring.write_record(args.out, ("jax", "flax", "optax", "numpy"), results)
    print(f"ratio: given_back_over_kept {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
