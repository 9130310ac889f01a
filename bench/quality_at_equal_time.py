"""What many targets an encoder pass are worth: HR@10 after the same seconds of training.

The tiny network learns ML-100K's retrieval task from scratch, written three ways, each for the same
wall time, its batches drawn beside it, with the learning rate falling to zero at its end. A step of
the baseline, one target an example without packing, takes as many examples as a packed step. Every
test user is then scored within the whole catalogue. One seed; the interval is of the users.

  python bench/quality_at_equal_time.py --seconds 150 --out bench/results/quality_at_equal_time.json
"""

import argparse
import contextlib
import time

import gin
import jax
import measuring
import numpy as np
import seqio
from targets_per_pass import LENGTHS, ONE_TARGET_LENGTHS, ROWS, WITHOUT_REPEATS

from rec_align import command_line, runs
from rec_align.decoding.trie import CatalogueTrie
from rec_align.pipeline.batches import packed_rows
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.training import optimizers, sharding
from rec_align.training.prediction import Predictor
from rec_align.training.prefetch import prefetch
from rec_align.training.state import init_state, make_train_step

TASK = "ml_100k_retrieval"
EXAMPLES_OF_A_PACKED_ROW = 3  # one-target examples, measured by targets_per_pass.py
WAYS = {
    "one target, one example a row": ("one", False),
    "five targets a window, packed": ("window", True),
    "a target after every item, packed": ("every_item", True),
}
PEAK_LEARNING_RATE = 3e-3  # gin/runs/train.gin
TIMED_STEPS = 60


def endless_batches(targets: str, pack: bool):
    with gin.unlock_config():
        gin.bind_parameter("next_item_windows.targets", targets)
    if pack:
        return packed_rows(TASK, LENGTHS, seed=0).batch(ROWS).prefetch(2).as_numpy_iterator()
    dataset = seqio.get_dataset(
        TASK,
        ONE_TARGET_LENGTHS,
        RecFeatureConverter(pack=False, apply_length_check=False),
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        seed=0,
        verbose=False,
    )
    rows = ROWS * EXAMPLES_OF_A_PACKED_ROW
    return dataset.batch(rows, drop_remainder=True).prefetch(2).as_numpy_iterator()


def train(network, targets: str, pack: bool, seconds: float):
    """Parameters after about so many seconds; and steps, targets and seconds taken."""
    batches = endless_batches(targets, pack)

    def start(total_steps: int):
        schedule = optimizers.warmup_linear_decay(peak=PEAK_LEARNING_RATE, total_steps=total_steps)
        optimizer = optimizers.adamw(schedule)
        state = init_state(network, optimizer, sharding.make_mesh(), seed=0)[0]
        return state, make_train_step(network, optimizer, seed=0)

    state, step = start(TIMED_STEPS)
    for number in range(TIMED_STEPS):
        if number == TIMED_STEPS // 3:
            jax.block_until_ready(state)
            began = time.perf_counter()
        state, _ = step(state, {}, next(batches))
    jax.block_until_ready(state)
    step_seconds = (time.perf_counter() - began) / (TIMED_STEPS - TIMED_STEPS // 3)
    num_steps = max(int(seconds / step_seconds), 1)
    state, step = start(num_steps)
    step(jax.tree.map(lambda leaf: leaf.copy(), state), {}, next(batches))  # compiles
    num_targets, began = 0, time.perf_counter()
    with contextlib.closing(prefetch(batches)) as upcoming:
        for _ in range(num_steps):
            batch = next(upcoming)
            num_targets += int((batch["decoder_target_tokens"] == 1).sum())
            state, _ = step(state, {}, batch)
    jax.block_until_ready(state)
    taken = time.perf_counter() - began
    return state.params, {"steps": num_steps, "targets": num_targets, "seconds": taken}


def hits_at_10(network, params, item_tokens: np.ndarray) -> np.ndarray:
    """Bool [users]: is the held-out item among the first ten."""
    predictor = Predictor(network, params, CatalogueTrie.build(item_tokens), num_results=10)
    index_of = {tuple(row[row > 0].tolist()): index for index, row in enumerate(item_tokens)}
    dataset = seqio.get_dataset(
        TASK,
        {"inputs": 512, "targets": 64},
        RecFeatureConverter(pack=False, apply_length_check=False),
        dataset_split="test",
        shuffle=False,
        num_epochs=1,
        verbose=False,
    )
    hits = []
    for batch in dataset.batch(64).as_numpy_iterator():
        found = predictor.recommend(batch).item_indices
        for row, target in zip(found, batch["decoder_target_tokens"], strict=True):
            hits.append(index_of[tuple(target[target > 0].tolist())] in row[:10])
    return np.array(hits)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=150, help="of training, each way")
    parser.add_argument("--out", help="also write the result there, as JSON")
    args = parser.parse_args()
    command_line.parse(None, ["--gin_file=gin/models/tiny.gin", WITHOUT_REPEATS])
    vocabulary = runs.corpus_vocabulary(TASK)
    network = runs.for_vocabulary(
        gin.query_parameter("%MODEL").scoped_configurable_fn(), vocabulary
    )
    item_tokens = runs.item_tokens(vocabulary)
    rows = {}
    print(f"{'way':36} {'steps':>7} {'targets':>10} {'seconds':>8} {'HR@10':>14}")
    for name, (targets, pack) in WAYS.items():
        params, row = train(network, targets, pack, args.seconds)
        hits = hits_at_10(network, params, item_tokens)
        row["hit_rate_at_10"] = float(hits.mean())
        row["standard_error"] = float(hits.std() / len(hits) ** 0.5)
        rows[name] = row
        print(
            f"{name:36} {row['steps']:7,} {row['targets']:10,} {row['seconds']:8.0f} "
            f"{row['hit_rate_at_10']:7.4f} ± {row['standard_error']:.4f}",
            flush=True,
        )
    measuring.write_record(args.out, ["jax", "seqio"], {"users": len(hits), "ways": rows})
    one, *_, every = (row["hit_rate_at_10"] for row in rows.values())
    print(f"ratio: hit_rate_at_equal_time {every / one:.2f}")


if __name__ == "__main__":
    main()
