"""Parameters that are read shard by shard, each device its own part, on eight simulated devices."""

import os
import pathlib
import subprocess
import sys
import zipfile

from rec_align.pretrained import converting

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
ROOT = pathlib.Path(__file__).parents[2]


def test_each_device_gets_its_part_of_every_kind_of_checkpoint(tmp_path):
    zipfile.ZipFile(FIXTURES / "t5x_legacy.zip").extractall(tmp_path)
    hugging_face = FIXTURES / "hf_v1_1_untied"
    converting.import_checkpoint(hugging_face, tmp_path / "run")
    paths = [tmp_path / "checkpoint_1000", hugging_face, tmp_path / "run"]
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, ROOT / "tests/pretrained/placed_run.py", *paths],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [f"placed {path}" for path in paths]
