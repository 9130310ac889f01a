"""What a training step on CPUs costs without what makes it fast, and without the bias on repeats.

Steps of gin/models/tiny.gin on full rows, each way in fresh processes that take turns:

  as_it_is          everything
  wide_products     matrix products over several dimensions instead of `layers.flat_dot`
  broadcast_bias    attention biases broadcast to the rows instead of `layers.for_each_row`
  memory_returned   without `host_memory.keep_freed_memory`
  none              without any of the three
  no_repeat_bias    everything, and T5Config.repeat_bias off

  python bench/cpu_step.py --out bench/results/cpu_step.json
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import measuring
import numpy as np
import optax

from rec_align import host_memory
from rec_align.models import config_files, layers, stacks, t5
from rec_align.training import optimizers, sharding
from rec_align.training.state import init_state, make_train_step

ROWS, INPUTS, TARGETS, VOCAB_SIZE = 4, 256, 224, 4224
WAYS = (
    *("as_it_is", "wide_products", "broadcast_bias", "memory_returned"),
    *("none", "no_repeat_bias"),
)


def random_batch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Full rows of one segment: any tokens, blocks that rise, targets of four tokens."""

    def tokens(length: int) -> np.ndarray:
        return rng.integers(2, VOCAB_SIZE, (ROWS, length), dtype=np.int32)

    def blocks(length: int) -> np.ndarray:
        return np.sort(rng.integers(1, 50, (ROWS, length), dtype=np.int32))

    starts = np.arange(TARGETS) % 4 == 0
    return {
        "encoder_input_tokens": tokens(INPUTS),
        "decoder_input_tokens": np.where(starts, 0, tokens(TARGETS)),
        "decoder_target_tokens": tokens(TARGETS),
        "decoder_loss_weights": np.ones((ROWS, TARGETS), np.int32),
        "encoder_segment_ids": np.ones((ROWS, INPUTS), np.int32),
        "decoder_segment_ids": np.ones((ROWS, TARGETS), np.int32),
        "encoder_blocks": blocks(INPUTS),
        "decoder_blocks": np.repeat(blocks(TARGETS // 4), 4, axis=1),
    }


def measure(way: str, num_steps: int) -> dict[str, float]:
    """Milliseconds and page faults a step in this process."""
    if way not in ("memory_returned", "none"):
        host_memory.keep_freed_memory()
    if way in ("wide_products", "none"):
        layers.flat_dot = jnp.dot
    if way in ("broadcast_bias", "none"):
        stacks.for_each_row = lambda bias, batch_size: bias
    options = {"vocab_size": VOCAB_SIZE, "repeat_bias": way != "no_repeat_bias"}
    network = t5.Transformer(config_files.read_config("tiny", **options))
    mesh = sharding.make_mesh()
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
            jax.block_until_ready((state, sums))
            milliseconds.append(1000 * (time.perf_counter() - started))
    return {
        "milliseconds": round(statistics.median(milliseconds[5:]), 2),
        "page_faults": round((faults() - faults_before) / num_steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help="where the record goes")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.steps)))
        return
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way, results in found.items():
            command = [sys.executable, __file__, "--only", way, "--steps", str(args.steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
            print(way, results[-1], flush=True)
    ratios = {
        way: statistics.median(
            other["milliseconds"] / ours["milliseconds"]
            for other, ours in zip(found[way], found["as_it_is"], strict=True)
        )
        for way in WAYS[1:]
    }
    results = {"runs": found, "over_as_it_is": ratios}
    measuring.write_record(args.out, ("jax", "flax", "optax", "numpy"), results)
    for way, ratio in ratios.items():
        print(f"ratio: {way}_over_as_it_is {ratio:.2f}")


if __name__ == "__main__":
    main()
