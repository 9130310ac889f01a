"""A small checkout with our launch scripts, and a cloud that answers them."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Saves a step, then hangs as a run that goes on, or crashes; started again it ends well. Only
# worker 0 does anything.
TRAINER = """
import json, os, pathlib, sys, time
if pathlib.Path.home().name != "0":
    sys.exit(0)
how, model_dir = sys.argv[1], sys.argv[2].removeprefix("--gin.MODEL_DIR='gs://").rstrip("'")
run = pathlib.Path(os.environ["FAKE_CLOUD"], model_dir)
checkpoint = run / "checkpoints" / "5"
if checkpoint.exists():
    print("goes on from 5", flush=True)
    (run / "metrics.jsonl").write_text(json.dumps({"step": 10}))
    sys.exit(0)
checkpoint.parent.mkdir(parents=True, exist_ok=True)
checkpoint.touch()
print("saved 5", flush=True)
if how == "hangs":
    time.sleep(600)
sys.exit(7)
"""


def write_program(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@dataclasses.dataclass
class Cloud:
    """A checkout in `checkout`, and the folder of the fake gcloud that is first on PATH."""

    checkout: pathlib.Path
    folder: pathlib.Path
    environment: dict[str, str]

    def type(self, *words: str, script: str = "tpu_vm.sh") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.checkout / "launch" / script), *words],
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=60,
        )

    def write(self, name: str, *lines: str) -> None:
        (self.folder / name).write_text("\n".join(lines))

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def deeds(self) -> list[str]:
        """What was done to the TPU, without the looks at its state and its log."""
        deeds = []
        for call in self.calls():
            line = next((word for word in call if word.startswith("--command=")), "")
            for verb in ("install", "start", "stop"):
                if f"worker.sh {verb}" in line:
                    deeds.append(verb)
            deeds += [word for word in call[3:4] if word in ("create", "delete", "scp")]
        return deeds


@pytest.fixture
def cloud(tmp_path: pathlib.Path):
    checkout, folder = tmp_path / "checkout", tmp_path / "cloud"
    shutil.copytree(ROOT / "launch", checkout / "launch")
    for name in ("setup.py", "pyproject.toml", ".gitignore"):
        shutil.copy(ROOT / name, checkout / name)
    (checkout / "trainer.py").write_text(TRAINER)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=checkout, check=True)

    # A worker that is set up already: launch/setup.sh runs and finds its stamp.
    python = folder / "worker/rec_align/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    stamp = "echo .venv/ready[tpu]-$(cat setup.py pyproject.toml | cksum | cut -d' ' -f1)"
    name = subprocess.check_output(["bash", "-c", stamp], cwd=checkout, text=True).strip()
    (folder / "worker/rec_align" / name).touch()

    fake = ROOT / "tests/launch/fake_gcloud.py"
    write_program(tmp_path / "bin/gcloud", f'#!/bin/sh\nexec {sys.executable} -S {fake} "$@"\n')
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "FAKE_CLOUD": str(folder),
        "TPU_NAME": "xl",
        "TPU_ZONE": "us-east5-b",
        "TPU_TYPE": "v6e-16",
        "TPU_POLL_SECONDS": "0",
        "TPU_PATIENCE_SECONDS": "1",
    }
    made = Cloud(checkout, folder, environment)
    made.write("coming", ":WAITING_FOR_RESOURCES", "CREATING:PROVISIONING", "READY:ACTIVE")
    yield made
    made.type("delete")  # ends what still runs
