"""`rec-align plan` as it is typed, on simulated CPU devices; its defaults; its refusals."""

import argparse
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from rec_align.cli import main, plan

ROOT = pathlib.Path(__file__).parents[2]
TINY = ("--model", "tiny", "--vocab-size", "384", "--mesh", "2x1x2", "--batch", "8")


def rec_align(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "rec_align.cli", "plan", *arguments],
        cwd=ROOT,
        env=dict(os.environ, PYTHONWARNINGS="error::DeprecationWarning:rec_align"),
        capture_output=True,
        text=True,
    )


def gib(output: str, kind: str) -> float:
    return float(re.search(rf"^  {kind} +([\d.]+)", output, re.MULTILINE)[1])


def test_it_prints_what_a_step_needs_and_that_it_fits(tmp_path):
    done = rec_align(*TINY, "--lengths", "64,32", "--hbm", "1", "--json", f"{tmp_path}/plan.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("compiling for 4 devices") and "compiled in" in done.stderr
    assert len(done.stderr.splitlines()) == 2  # XLA's own words are kept away
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert saved["fits"] and saved["asked"]["lengths"] == {"inputs": 64, "targets": 32}
    assert saved["mesh"] == {"data": 2, "fsdp": 1, "model": 2}
    total = sum(saved["memory"].values())
    assert gib(done.stdout, "total") == round(total / 2**30, 2)
    assert gib(done.stdout, "all-reduce") == round(saved["collectives"]["all-reduce"] / 2**30, 2)
    assert done.stdout.splitlines()[-1] == f"fits: needs {total / 2**30:.2f} of 1.00 GiB"
    # What was planned with less memory than that does not fit.
    done = rec_align(*TINY, "--lengths", "64,32", "--hbm", f"{(total - 1) / 2**30:.9f}")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("does not fit: needs")


def test_options_reach_the_network():
    options = ("--dtype", "bfloat16", "--remat", "full", "--scan", "--lora-rank", "2")
    options += ("--optimizer", "adamw", "--microbatches", "2")
    done = rec_align(*TINY, "--lengths", "16,8", "--hbm", "1", *options)
    assert done.returncode == 0, done.stderr
    line = "bfloat16 activations, adamw, remat full, scanned layers, LoRA of rank 2, 2 microbatches"
    assert line in done.stdout


REFUSED = {
    "--vocab-size": ("--model", "tiny", "--mesh", "2x1x2", "--hbm", "1"),
    "--hbm": (*TINY, "--lengths", "8,8"),
    "--mesh 2x-1": (*TINY, "--hbm", "1", "--mesh", "2x-1"),
    "BATCH_SIZE: 3 does not divide": (*TINY, "--hbm", "1", "--batch", "3"),
    "--batch 0": (*TINY, "--hbm", "1", "--batch", "0"),
    "no model file": ("--model", "huge", "--mesh", "1x1x1", "--hbm", "1"),
}


@pytest.fixture(scope="module")
def refusals():
    """What each of `REFUSED` is answered: [exit code, stdout, stderr].

    Each is planned in a process of its own, forked from one that has imported everything.
    """
    script = (
        "import contextlib, io, json, os, sys\n"
        "import rec_align.models.t5, rec_align.training.plan\n"
        "from rec_align.cli.main import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    if os.fork():\n"
        "        assert os.wait()[1] == 0, arguments\n"
        "        continue\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        code = main(['plan', *arguments])\n"
        "    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(list(REFUSED.values()))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(REFUSED, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_planned_is_refused_in_one_line(refusals, message):
    code, out, err = refusals[message]
    assert code == 1 and out == ""
    assert err.startswith("rec-align: ") and message in err and len(err.splitlines()) == 1


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed")
def test_without_the_tpu_compiler_a_topology_says_how_to_get_it():
    done = rec_align(*TINY, "--topology", "v5e:2x2")
    assert done.returncode == 1 and "pip install 'rec_align[tpu]'" in done.stderr


def test_lengths_are_two_numbers(capsys):
    with pytest.raises(SystemExit):
        main.main(["plan", "--model", "xl", "--mesh", "1x1", "--lengths", "512"])
    assert "512: give two positive numbers" in capsys.readouterr().err


def test_the_defaults_are_those_of_fine_tuning():
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    args = parser.parse_args(["--model", "xl"])
    finetune = (ROOT / "gin/runs/finetune.gin").read_text()
    prompts = (ROOT / "gin/runs/bidirectional.gin").read_text()
    for binding in (
        f"BATCH_SIZE = {args.batch}",
        f"OPTIMIZER = @optimizers.{args.optimizer}",
        f'DTYPE = "{args.dtype}"',
        f'REMAT_POLICY = "{args.remat}"',
        f'MESH = "{args.mesh}"',
    ):
        assert f"\n{binding}" in finetune
    lengths = json.dumps(args.lengths)
    assert f"TASK_FEATURE_LENGTHS = {lengths}" in prompts
