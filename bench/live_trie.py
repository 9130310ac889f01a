"""Seconds to add items to a live trie and to remove them, until the device has the change.

The baseline builds the trie of all items afresh and sends it to the device. Ways take turns; each
round adds items that were never there and then removes them. A turn that compiles for a size of
update not met before, or lays all nodes out afresh, counts as it is.

  python bench/live_trie.py --out bench/results/live_trie.json
"""

import argparse
import functools
import statistics
from collections.abc import Callable

import jax
import measuring
import numpy as np
from catalogues import VOCAB_SIZE, synthetic_items

from rec_align.decoding.live_trie import LiveTrie
from rec_align.decoding.trie import CatalogueTrie

CHANGES = (1, 100, 10_000)


def add_and_remove(
    live: LiveTrie, items: np.ndarray, start: int, count: int
) -> dict[str, Callable[[], None]]:
    """Adds `count` items at each call, from row `start` on, and removes those added last."""
    added = [np.arange(start - count, start)]

    def add() -> None:
        added.append(added[-1] + count)
        live.add(added[-1], items[added[-1]])
        jax.block_until_ready(live.snapshot())

    def remove() -> None:
        live.remove(added[-1])
        jax.block_until_ready(live.snapshot())

    return {f"add_{count}": add, f"remove_{count}": remove}


def build_afresh(items: np.ndarray) -> None:
    jax.block_until_ready(jax.device_put(CatalogueTrie.build(items)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10**6)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", help="also write the result as JSON")
    args = parser.parse_args()
    # One call of each before the rounds, so that most compiling is not counted.
    items = synthetic_items(args.items + (args.rounds + 1) * sum(CHANGES))
    live = LiveTrie(items[: args.items], vocab_size=VOCAB_SIZE)
    ways = {"build": functools.partial(build_afresh, items[: args.items])}
    start = args.items
    for count in CHANGES:
        ways |= add_and_remove(live, items, start, count)
        start += (args.rounds + 1) * count
    for way in ways.values():
        way()
    seconds = measuring.take_turns(ways, args.rounds)
    build = seconds["build"]
    rows = [
        {
            "way": way,
            "median_seconds": statistics.median(times),
            "slowest_seconds": max(times),
            "ratio": measuring.ratio(build, times),
        }
        for way, times in seconds.items()
    ]
    print(f"{args.items:,} items, {args.rounds} rounds")
    print(f"{'':14} {'median':>10} {'slowest':>10}")
    for row in rows:
        print(f"{row['way']:14} {row['median_seconds']:8.4f} s {row['slowest_seconds']:8.4f} s")
    found = {"items": args.items, "rounds": args.rounds, "rows": rows}
    measuring.write_record(args.out, ["jax", "numpy"], found)
    for row in rows[1:]:
        print(f"ratio: build_over_{row['way']} {row['ratio']:.2f}")


if __name__ == "__main__":
    main()
