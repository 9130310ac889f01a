"""The catalogue trie: seconds to build, save and map it back, and bytes for each item token.

The baseline is the trie of nested dictionaries that prefix-constrained decoders are usually given.

  python bench/trie.py --out bench/results/trie.json
"""

import argparse
import resource
import sys
import tempfile
import time

import measuring
import numpy as np
from catalogues import synthetic_items

from rec_align.decoding.trie import ARRAYS, CatalogueTrie

GOALS = {"bytes_per_token": 60, "build_seconds_1000000": 20, "save_and_load_seconds_1000000": 1}
DICTIONARY_ITEMS = 1_000_000  # more would fill the memory


def timed(function):
    start = time.perf_counter()
    found = function()
    return found, time.perf_counter() - start


def build_dictionaries(items: np.ndarray) -> dict:
    root: dict = {}
    for row in items.tolist():
        node = root
        for token in row:
            node = node.setdefault(token, {})
    return root


def dictionary_bytes(root: dict) -> int:
    """Of the dictionaries alone; small integers are shared."""
    total, stack = 0, [root]
    while stack:
        node = stack.pop()
        total += sys.getsizeof(node)
        stack.extend(node.values())
    return total


def measure(num_items: int) -> dict[str, float]:
    items = synthetic_items(num_items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    trie, build = timed(lambda: CatalogueTrie.build(items))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    with tempfile.TemporaryDirectory() as folder:
        _, save = timed(lambda: trie.save(folder))
        mapped, load = timed(lambda: CatalogueTrie.load(folder))
        looked_up, walk = timed(lambda: mapped.walk(items[num_items // 2]))
    assert looked_up == num_items // 2
    row = {
        "items": num_items,
        "build_seconds": build,
        "build_peak_bytes_per_token": grown / items.size,
        "save_seconds": save,
        "load_seconds": load,
        "first_look_up_seconds": walk,
        "bytes_per_token": sum(getattr(trie, name).nbytes for name in ARRAYS) / items.size,
    }
    if num_items <= DICTIONARY_ITEMS:
        del trie, mapped
        root, row["dictionary_build_seconds"] = timed(lambda: build_dictionaries(items))
        row["dictionary_bytes_per_token"] = dictionary_bytes(root) / items.size
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", nargs="+", type=int, default=[10**n for n in range(3, 8)])
    parser.add_argument("--out", help="also write the result as JSON")
    args = parser.parse_args()
    rows = []
    names = ("build", "save", "load", "first look-up", "bytes a token", "dictionaries")
    print(f"{'items':>10} " + " ".join(f"{name:>14}" for name in names))
    for num_items in args.items:
        row = measure(num_items)
        rows.append(row)
        times = (row[f"{name}_seconds"] for name in ("build", "save", "load", "first_look_up"))
        print(f"{num_items:10,} " + " ".join(f"{seconds:12.4f} s" for seconds in times), end=" ")
        print(f"{row['bytes_per_token']:14.1f}", end=" ")
        if "dictionary_build_seconds" in row:
            print(
                f"{row['dictionary_build_seconds']:6.2f} s "
                f"{row['dictionary_bytes_per_token']:.0f} B",
                end="",
            )
        print(flush=True)
    measuring.write_record(args.out, ["numpy"], {"rows": rows, "goals": GOALS})
    both = [row for row in rows if "dictionary_build_seconds" in row][-1]
    speed = both["dictionary_build_seconds"] / both["build_seconds"]
    memory = both["dictionary_bytes_per_token"] / both["bytes_per_token"]
    print(f"ratio: trie_build_over_dictionaries {speed:.2f}")
    print(f"ratio: dictionary_memory_over_trie {memory:.2f}")


if __name__ == "__main__":
    main()
