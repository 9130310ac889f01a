"""Pages of docs whose tables are made from bench/results; the text around them is by hand.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())


def read_all(prefix: str) -> dict[str, dict[str, Any]]:
    """What follows the prefix in a file's name -> its results."""
    paths = sorted((ROOT / "bench" / "results").glob(f"{prefix}*.json"))
    return {path.stem.removeprefix(prefix): json.loads(path.read_text()) for path in paths}


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def fill(page: str, tables: Mapping[str, Callable[[], str]]) -> None:
    """Writes the tables into docs/PAGE, each at its one place."""
    path = ROOT / "docs" / page
    text = path.read_text()
    for name, make in tables.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(
            pattern, lambda m, make=make: f"{m[1]}{make()}\n{m[2]}", text, flags=re.S
        )
        assert count == 1, f"{path} has {count} places for the table {name}"
    path.write_text(text)
