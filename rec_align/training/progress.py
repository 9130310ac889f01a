"""What a run tells: a progress bar on the terminal, metrics as JSON lines."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath
from tqdm import tqdm

# Receives the step and the metrics by name, e.g. to write TensorBoard summaries.
Writer = Callable[[int, Mapping[str, float]], None]


class JsonlWriter:
    """Appends one line a call to `metrics.jsonl`: {"step": ..., "time": ..., NAME: value, ...}.

    A run that was killed repeats the steps since its last checkpoint: the later line counts.
    """

    def __init__(self, model_dir: str | os.PathLike[str]):
        self._path = epath.Path(model_dir) / "metrics.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Buckets know no appending: there the file is written anew, lines of earlier runs included.
        self._in_bucket = "://" in os.fspath(self._path)
        self._lines = self._path.read_text() if self._in_bucket and self._path.exists() else ""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        row: dict[str, Any] = {"step": step, "time": round(time.time(), 3), **metrics}
        line = json.dumps(row) + "\n"
        if self._in_bucket:
            self._lines += line
            self._path.write_text(self._lines)
        else:
            with self._path.open("a") as file:
                file.write(line)


def progress_bar(total_steps: int, start_step: int) -> tqdm:
    """A bar with time left; off a terminal a line every ten seconds instead; the first host's."""
    return tqdm(
        disable=jax.process_index() > 0,
        total=total_steps,
        initial=start_step,
        desc="train",
        unit="step",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 10.0,
        bar_format="{desc} {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
    )
