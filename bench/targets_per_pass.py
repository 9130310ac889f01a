"""What many targets an encoder pass and packing gain, in useful targets a second.

The same network takes training steps on ML-100K's retrieval task written four ways, at the same
number of rows a batch, interleaved in one process. Batches are drawn beforehand, so the pipeline is
left out. The baseline is the papers' way: one sliding window, one target and one padded example a
row.

  python bench/targets_per_pass.py --out bench/results/targets_per_pass.json
"""

import argparse
import statistics

import gin
import jax
import measuring
import numpy as np
import optax
import seqio

import tasks  # noqa: F401 - registers ml_100k
from rec_align import command_line, runs
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.training import sharding
from rec_align.training.state import init_state, make_train_step

LENGTHS = {"inputs": 256, "targets": 224}
# One title needs no more; padding it to a packed row's targets would flatter packing.
ONE_TARGET_LENGTHS = {"inputs": 256, "targets": 32}
ROWS = 4
# The ways without blocks cannot have it.
WITHOUT_REPEATS = "--gin.T5Config.repeat_bias=False"
WAYS = {
    "one target, one example a row": ("one", False),
    "one target, packed": ("one", True),
    "five targets a window, packed": ("window", True),
    "a target after every item, packed": ("every_item", True),
}


def draw(targets: str, pack: bool, count: int) -> list[dict[str, np.ndarray]]:
    """Batches of the retrieval task; targets that fit no row are cut by the task itself."""
    with gin.unlock_config():
        gin.bind_parameter("next_item_windows.targets", targets)
    dataset = seqio.get_dataset(
        "ml_100k_retrieval",
        LENGTHS if pack else ONE_TARGET_LENGTHS,
        RecFeatureConverter(pack=pack, apply_length_check=False),
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        seed=0,
        verbose=False,
    )
    return list(dataset.batch(ROWS, drop_remainder=True).take(count).as_numpy_iterator())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="measured steps of each way")
    parser.add_argument("--out", help="also write the result there, as JSON")
    args = parser.parse_args()
    command_line.parse(None, ["--gin_file=gin/models/tiny.gin", WITHOUT_REPEATS])
    network = runs.for_vocabulary(
        gin.query_parameter("%MODEL").scoped_configurable_fn(),
        runs.corpus_vocabulary("ml_100k_retrieval"),
    )
    optimizer = optax.adam(1e-3)
    train_step = make_train_step(network, optimizer, seed=0)
    batches, states = {}, {}
    for name, (targets, pack) in WAYS.items():
        batches[name] = draw(targets, pack, args.steps)
        states[name] = init_state(network, optimizer, sharding.make_mesh(), seed=0)[0]
        states[name], _ = train_step(states[name], {}, batches[name][0])  # compiles

    def step_of(name: str):
        upcoming = iter(batches[name])

        def step() -> None:
            states[name], sums = train_step(states[name], {}, next(upcoming))
            jax.block_until_ready((states[name], sums))

        return step

    seconds = measuring.take_turns({name: step_of(name) for name in WAYS}, args.steps)
    rows = {}
    for name in WAYS:
        ended = [int((batch["decoder_target_tokens"] == 1).sum()) for batch in batches[name]]
        pads = [float((batch["encoder_input_tokens"] == 0).mean()) for batch in batches[name]]
        rows[name] = {
            "targets_per_step": statistics.mean(ended),
            "median_step_seconds": statistics.median(seconds[name]),
            "targets_per_second": statistics.mean(ended) / statistics.median(seconds[name]),
            "padding_share_inputs": statistics.mean(pads),
        }
    baseline = next(iter(rows.values()))["targets_per_second"]
    print(f"{'way':36} {'targets/s':>10} {'targets/step':>13} {'padding':>8} {'ratio':>7}")
    for name, row in rows.items():
        row["ratio"] = row["targets_per_second"] / baseline
        print(
            f"{name:36} {row['targets_per_second']:10.0f} {row['targets_per_step']:13.1f} "
            f"{row['padding_share_inputs']:8.1%} {row['ratio']:7.2f}"
        )
    measuring.write_record(args.out, ["jax"], {"ways": rows})
    print(f"ratio: targets_per_pass {rows['a target after every item, packed']['ratio']:.2f}")


if __name__ == "__main__":
    main()
