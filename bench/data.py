"""Examples a second: each task of ML-100K through SeqIO, and a mixture from compiled arrays.

Every way makes packed rows of 256 and 224 tokens on two threads. One epoch of the mixture is
compiled first, then batches of both ways are drawn in turns; the baseline is SeqIO. With --memory
a mixture is drawn in processes of their own from two synthetic corpora, the second with ten
times the users, and what is compared is the most memory they hold.

  rec-align data build ml_100k
  python bench/data.py --out bench/results/data.json
  python bench/data.py --memory --out bench/results/data_memory.json
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measuring
import numpy as np

from rec_align.training.compiled import CompiledMixture

LENGTHS = {"inputs": 256, "targets": 224}
MIXTURE = "ml_100k_aligned"
SECONDS = 4.0
BATCH_SIZE = 256
GOALS = {"seqio": 10_000, "compiled": 500_000, "first_batch_seconds": 2.0}


def examples_in(batch: dict[str, np.ndarray]) -> int:
    return int(batch["encoder_segment_ids"].max(axis=1).sum())


def open_seqio(name: str):
    """An endless iterator of batches, its first batch drawn, and how long that took."""
    from rec_align.pipeline.batches import packed_rows

    start = time.perf_counter()
    rows = packed_rows(name, LENGTHS, seed=0).batch(32).prefetch(2)
    batches = rows.as_numpy_iterator()
    next(batches)
    return batches, time.perf_counter() - start


def examples_per_second(batches, seconds: float) -> float:
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += examples_in(next(batches))
    return count / (time.perf_counter() - start)


def measure(args: argparse.Namespace) -> None:
    import tasks
    from rec_align.pipeline.compiling import compile_mixture
    from tasks.mixtures import RATES

    tasks.register_built_corpora()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = pathlib.Path(folder) / "compiled"
        compile_mixture(MIXTURE, path, num_epochs=1, task_feature_lengths=LENGTHS)
        compile_seconds = time.perf_counter() - start
        start = time.perf_counter()
        compiled = CompiledMixture.open(path).batches_from(0, batch_size=BATCH_SIZE, seed=0)
        next(compiled)
        first_batch = time.perf_counter() - start
        mixture, opening = open_seqio(MIXTURE)
        both = {"seqio": [], "compiled": []}
        for _ in range(args.rounds):
            both["seqio"].append(examples_per_second(mixture, SECONDS))
            both["compiled"].append(examples_per_second(compiled, SECONDS / 4))
        del mixture, compiled
    rows[f"{MIXTURE}, SeqIO"] = {"per_second": statistics.median(both["seqio"])}
    rows[f"{MIXTURE}, SeqIO"]["first_batch_seconds"] = opening
    for family in RATES:
        batches, opening = open_seqio(f"ml_100k_{family}")
        per_second = examples_per_second(batches, SECONDS)
        rows[f"{family}, SeqIO"] = {"per_second": per_second, "first_batch_seconds": opening}
    rows[f"{MIXTURE}, compiled"] = {
        "per_second": statistics.median(both["compiled"]),
        "first_batch_seconds": first_batch,
    }
    print(f"{'way':32} {'examples/s':>12} {'first batch, s':>15}")
    for name, row in rows.items():
        print(f"{name:32} {row['per_second']:12,.0f} {row['first_batch_seconds']:15.3f}")
    print(f"compiling one epoch took {compile_seconds:.1f} s; goals: {GOALS}")
    ratio = measuring.ratio(both["compiled"], both["seqio"])
    measuring.write_record(
        args.out,
        ("tensorflow", "tensorflow-text", "seqio", "numpy"),
        {"ways": rows, "compile_seconds": compile_seconds, "goals": GOALS, "ratio": ratio},
    )
    print(f"ratio: compiled_to_seqio {ratio:.2f}")


def build_synthetic(name: str, num_users: int, data_dir: str) -> None:
    """A corpus of 2,000 items and 8 interactions a user."""
    import pandas as pd

    from rec_align.data import corpus, sources

    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(num_users), 8)
    items = rng.zipf(1.3, len(users)) % 2_000
    table = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(len(users))})
    path = pathlib.Path(data_dir) / f"{name}.parquet"
    table.to_parquet(path)
    source = sources.Tables(interactions=path)
    corpus.build_corpus(name, source, data_dir=data_dir, k_core=0, vocab_size=2_000, report=len)


def most_memory(name: str) -> None:
    """Draws for a while and prints the most memory held, in bytes; a process of its own."""
    import tasks

    tasks.register_built_corpora()
    batches, _ = open_seqio(f"{name}_recommendation")  # the items have no attributes
    examples_per_second(batches, 3 * SECONDS)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def measure_memory(args: argparse.Namespace) -> None:
    bytes_held = {}
    with tempfile.TemporaryDirectory() as data_dir:
        for num_users in (args.users, 10 * args.users):
            name = f"users_{num_users}"
            build_synthetic(name, num_users, data_dir)
            done = subprocess.run(
                [sys.executable, __file__, "--child", name],
                env=os.environ | {"TFDS_DATA_DIR": data_dir},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            bytes_held[num_users] = int(done.stdout.split()[-1])
    print(f"{'users':>10} {'most memory, MB':>16}")
    for num_users, held in bytes_held.items():
        print(f"{num_users:10,} {held / 1e6:16,.0f}")
    few, many = bytes_held.values()
    measuring.write_record(
        args.out, ("tensorflow", "seqio"), {"bytes": bytes_held, "ratio": many / few, "goal": 1.1}
    )
    print(f"ratio: memory_of_ten_times_the_users {many / few:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of both ways (default 5)")
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--users", type=int, default=25_000, help="of the smaller synthetic corpus")
    parser.add_argument("--out", help="also write the result there, as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        most_memory(args.child)
    else:
        (measure_memory if args.memory else measure)(args)


if __name__ == "__main__":
    main()
