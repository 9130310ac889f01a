"""launch/slurm.sh against a scripted srun and scontrol."""

import json
import pathlib
import re
import shlex
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "launch/slurm.sh"
ARGUMENTS = ["--gin_file=gin/models/xl.gin", "--gin.MODEL_DIR='/shared/a run'"]
TRAIN = [".venv/bin/python", "-m", "rec_align.train", "--multihost", *ARGUMENTS]


@pytest.fixture
def job(tmp_path):
    """What Slurm gives a job: a copy of the script, the folder it was submitted from, srun."""

    def program(path: pathlib.Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    spool = tmp_path / "spool/slurm_script"
    program(spool, SCRIPT.read_text())
    program(tmp_path / "checkout/.venv/bin/python", "")
    for name, code in (("srun", "$SRUN_CODE"), ("scontrol", "0")):
        show = "import json, os, sys; print(json.dumps([os.getcwd(), *sys.argv[1:]]))"
        program(
            tmp_path / "bin" / name,
            f'#!/bin/bash\npython3 -c {shlex.quote(show)} {name} "$@"; exit {code}\n',
        )
    environment = {
        "PATH": f"{tmp_path / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "SLURM_SUBMIT_DIR": str(tmp_path / "checkout"),
        "SLURM_JOB_ID": "42",
        "SLURM_NTASKS_PER_NODE": "8",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_CPUS_PER_TASK": "12",
    }

    def run(code=0, arguments=ARGUMENTS, **changes):
        changed = environment | {"SRUN_CODE": str(code)} | changes
        done = subprocess.run(
            ["bash", spool, *arguments],
            env={name: value for name, value in changed.items() if value is not None},
            text=True,
            capture_output=True,
        )
        return done

    return run


def calls(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("code", [0, 1, 137])
def test_runs_the_trainer_once_and_ends_as_it_does(job, tmp_path, code):
    done = job(code)
    assert done.returncode == code
    assert calls(done) == [[str(tmp_path / "checkout"), "srun", "--cpus-per-task=12", *TRAIN]]


def test_a_run_that_a_signal_stopped_is_queued_again(job):
    done = job(130)
    assert [call[1:] for call in calls(done)[1:]] == [["scontrol", "requeue", "42"]]
    assert done.returncode == 130


def test_dry_run_prints_and_runs_nothing(job):
    done = job(arguments=["--dry-run", *ARGUMENTS], SLURM_JOB_ID=None, SLURM_CPUS_PER_TASK=None)
    printed = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert done.returncode == 0
    assert [shlex.split(line) for line in printed] == [
        ["srun", "--cpus-per-task=8", *TRAIN],
        ["scontrol", "requeue", "JOB_ID"],
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_JOB_ID": None}, "not in a Slurm job: sbatch launch/slurm.sh"),
        ({"SLURM_SUBMIT_DIR": "/"}, "no .venv in /: submit from the checkout"),
        ({"SLURM_NTASKS_PER_NODE": "1"}, "1 tasks and 8 GPUs a node"),
    ],
)
def test_says_what_is_wrong_before_anything_runs(job, changes, message):
    done = job(**changes)
    assert done.returncode == 1 and message in done.stderr
    assert not done.stdout


def test_the_headers_agree_with_each_other():
    headers = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", SCRIPT.read_text(), re.MULTILINE))
    # One task a GPU, and a signal to the tasks (no B:, which is the script's) before the limit.
    assert headers["ntasks-per-node"] == headers["gpus-per-node"]
    assert re.fullmatch(r"TERM@\d+", headers["signal"])
    assert "requeue" in headers and headers["open-mode"] == "append"
