"""Parameters that are read shard by shard, each device its own part, on eight simulated devices."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from rec_align.pretrained import converting

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["t5x", "hf", "run"])
def test_each_device_gets_its_part(tmp_path, kind):
    path = FIXTURES / "hf_v1_1_untied"
    if kind == "t5x":
        zipfile.ZipFile(FIXTURES / "t5x_legacy.zip").extractall(tmp_path)
        path = tmp_path / "checkpoint_1000"
    elif kind == "run":
        converting.import_checkpoint(path, tmp_path / "run")
        path = tmp_path / "run"
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, ROOT / "tests/pretrained/placed_run.py", path],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("placed\n")
