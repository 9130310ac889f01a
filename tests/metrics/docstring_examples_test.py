"""The worked examples of the docstrings are right, and metrics import no engine."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import rec_align.baselines
import rec_align.metrics

MODULES = [
    module.name
    for package in (rec_align.metrics, rec_align.baselines)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0


def test_no_engine_is_imported():
    modules = [name for name in MODULES if name.startswith("rec_align.metrics.")]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "rec_align.metrics.table" in loaded
    assert {"jax", "tensorflow", "seqio", "rich", "pandas", "sacrebleu", "rouge_score"}.isdisjoint(
        loaded
    )
