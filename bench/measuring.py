"""What every comparison needs: turns taken in one process, and a record with machine and versions.

Results of record lie in bench/results; machines are shared, so only ratios within one run mean
anything.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def take_turns(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Calls each way once a round, in turn, and gives the seconds of each call.

    A call must end with its results computed (`jax.block_until_ready`). Call each once before, so
    that compiling is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(baseline: Sequence[float], ours: Sequence[float]) -> float:
    """How many times faster ours was: the median over rounds of baseline / ours."""
    return statistics.median(b / o for b, o in zip(baseline, ours, strict=True))


def write_record(path: str | None, packages: Sequence[str], results: Mapping[str, Any]) -> None:
    """Writes results as JSON with the machine and the versions of `packages`; no path, no file."""
    if not path:
        return
    machine = {
        "cpu_cores": os.cpu_count(),
        "platform": platform.machine(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "load_average_1_minute": round(os.getloadavg()[0], 1),
    }
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in packages}
    with open(path, "w") as file:
        json.dump({"machine": machine, "versions": versions, **results}, file, indent=1)
        file.write("\n")
