"""Building a corpus from CSV and Parquet: interactions a second, and memory beside the file's size.

Synthetic interactions: 20 a user, items by a power law. Each form is built in a process of its own;
the baseline is reading the same file with pandas alone, in the same process, afterwards. Memory is
the peak of the process beyond what Python and TensorFlow take before the build; beside it stands
the whole peak. A build also writes files of 52 bytes an interaction where temporary files go.

  python bench/build_corpus.py --interactions 1000000 --out bench/results/build_corpus_1000000.json
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import measuring
import numpy as np
import pandas as pd

from rec_align.data import corpus, sources

GOAL = 300_000
NUM_ITEMS = 20_000
PER_USER = 20


def write_files(folder: pathlib.Path, num_interactions: int) -> dict[str, pathlib.Path]:
    """The same interactions in both forms; rows in order of time, so users are mixed."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "user_id": rng.integers(0, num_interactions // PER_USER, num_interactions),
            "item_id": rng.zipf(1.2, num_interactions) % NUM_ITEMS,
            "timestamp": 1_500_000_000 + np.arange(num_interactions),
            "rating": rng.integers(1, 6, num_interactions),
        }
    )
    paths = {"csv": folder / "log.csv", "parquet": folder / "log.parquet"}
    table.to_csv(paths["csv"], index=False)
    table.to_parquet(paths["parquet"])
    return paths


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def build(path: pathlib.Path) -> None:
    """Prints the seconds of pandas, of the build, the bytes that it added, and the whole peak."""
    # Seconds of imports and their memory are no part of the build.
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tf.constant(0)
    tfds.list_builders(with_community_datasets=False)
    before = peak_bytes()
    with tempfile.TemporaryDirectory() as data_dir:
        start = time.perf_counter()

        def report(line: str) -> None:
            print(f"{time.perf_counter() - start:6.1f} s  {line}", file=sys.stderr)

        corpus.build_corpus(
            "synthetic", sources.Tables(interactions=path), data_dir=data_dir, report=report
        )
        building, peak = time.perf_counter() - start, peak_bytes()
    # Pandas afterwards: its own peak would hide the build's.
    start = time.perf_counter()
    (pd.read_csv if path.suffix == ".csv" else pd.read_parquet)(path)
    print(time.perf_counter() - start, building, peak - before, peak)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--out", help="also write the result there, as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        build(pathlib.Path(args.child))
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(pathlib.Path(folder), args.interactions)
        parquet_bytes = paths["parquet"].stat().st_size
        for form, path in paths.items():
            command = [sys.executable, __file__, "--child", str(path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            reading, building, added, peak = map(float, done.stdout.split()[-4:])
            rows[form] = {
                "interactions_per_second": args.interactions / building,
                "times_pandas_reading": building / reading,
                "added_memory_to_parquet_size": added / parquet_bytes,
                "whole_memory_to_parquet_size": peak / parquet_bytes,
            }
    print(f"{args.interactions:,} interactions, goal {GOAL:,} a second, 3.0 of memory")
    print(
        f"{'form':8} {'interactions/s':>15} {'x pandas reading':>17} {'memory / Parquet':>17} "
        f"{'whole':>6}"
    )
    for form, row in rows.items():
        print(
            f"{form:8} {row['interactions_per_second']:15,.0f} "
            f"{row['times_pandas_reading']:17.1f} {row['added_memory_to_parquet_size']:17.1f} "
            f"{row['whole_memory_to_parquet_size']:6.1f}"
        )
    results = {"interactions": args.interactions, "forms": rows, "goal": GOAL}
    measuring.write_record(args.out, ("pandas", "pyarrow", "tensorflow-datasets"), results)
    slowest = min(row["interactions_per_second"] for row in rows.values())
    print(f"ratio: build_corpus_to_goal {slowest / GOAL:.2f}")


if __name__ == "__main__":
    main()
