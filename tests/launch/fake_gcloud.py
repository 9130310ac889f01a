"""A `gcloud` with one TPU of two workers, whose life the test writes down beforehand.

Lines for ssh are typed into bash in a worker's home folder, copies are copies. $FAKE_CLOUD holds
  calls.jsonl  the arguments of each call
  coming       what a new TPU goes through: lines NODE_STATE:REQUEST_STATE, one for each look
  states       likewise, of the TPU that is there; the last line stays
  on_follow    {"lose": .., "states": [..]}, once, when the log is looked at
  worker/      a fresh worker's home folder
  workers/N/   the homes of the TPU that is there
  bucket/      gs://bucket
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

CLOUD = pathlib.Path(os.environ["FAKE_CLOUD"])
WORKERS = CLOUD / "workers"
LOST_CONNECTION = 255


def lines(name: str) -> list[str]:
    path = CLOUD / name
    return path.read_text().splitlines() if path.exists() else [":"]


def look() -> str:
    """The node's state, and time passes."""
    states = lines("states")
    (CLOUD / "now").write_text(states[0])
    if len(states) > 1:
        (CLOUD / "states").write_text("\n".join(states[1:]))
    return states[0].split(":")[0]


def kill_workers() -> None:
    for pid in WORKERS.glob("*/rec_align/runs/worker/pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid.read_text()), signal.SIGKILL)
    shutil.rmtree(WORKERS, ignore_errors=True)


def create(flags: dict[str, str]) -> int:
    assert flags["--node-id"] and flags["--accelerator-type"] and flags["--runtime-version"]
    if (CLOUD / "refuse").exists():
        return 1
    (CLOUD / "states").write_text("\n".join(lines("coming")))
    for index in range(2):
        shutil.copytree(CLOUD / "worker", WORKERS / str(index), symlinks=True)
    return 0


def delete(flags: dict[str, str]) -> int:
    kill_workers()
    (CLOUD / "states").write_text(":")
    return 0


def homes(flags: dict[str, str]) -> list[pathlib.Path]:
    return (
        sorted(WORKERS.glob("*")) if flags["--worker"] == "all" else [WORKERS / flags["--worker"]]
    )


def ssh(flags: dict[str, str]) -> int:
    command = flags["--command"]
    event = CLOUD / "on_follow"
    change = {}
    if command.endswith(" follow") and event.exists():
        change = json.loads(event.read_text())
        event.unlink()
    if change.get("lose"):
        while not list((CLOUD / "bucket").glob("*/checkpoints/*")):
            time.sleep(0.05)
        kill_workers()
    codes = [LOST_CONNECTION]
    if WORKERS.exists() and not change.get("drop"):
        codes = [
            subprocess.run(["bash", "-c", command], cwd=home, env=os.environ | {"HOME": str(home)})
            for home in homes(flags)
        ]
        codes = [done.returncode for done in codes]
    if change.get("states"):
        (CLOUD / "states").write_text("\n".join(change["states"]))
    return max(codes)


def scp(flags: dict[str, str], source: str, target: str) -> int:
    if ":" in source:
        shutil.copytree(
            WORKERS / flags["--worker"] / source.split(":")[1],
            pathlib.Path(target) / pathlib.Path(source).name,
        )
        return 0
    for home in homes(flags):
        shutil.copy(source, home / target.split(":")[1])
    return 0


def rsync(flags: dict[str, str], source: str, target: str) -> int:
    folder = CLOUD / source.removeprefix("gs://")
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not re.match(flags["--exclude"], str(relative)):
            (pathlib.Path(target) / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, pathlib.Path(target) / relative)
    return 0


def main(arguments: list[str]) -> int:
    with (CLOUD / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    words = [word for word in arguments if not word.startswith("--")]
    flags = {
        word.partition("=")[0]: word.partition("=")[2] for word in arguments if word[:2] == "--"
    }
    match words:
        case ["compute", "tpus", "tpu-vm", "list"]:
            print(look())
        case ["compute", "tpus", "queued-resources", "list"]:
            print((CLOUD / "now").read_text().split(":")[1])
        case ["compute", "tpus", "queued-resources", "create", _]:
            return create(flags)
        case ["compute", "tpus", "queued-resources", "delete", _]:
            return delete(flags)
        case ["compute", "tpus", "tpu-vm", "ssh", _]:
            return ssh(flags)
        case ["compute", "tpus", "tpu-vm", "scp", source, target]:
            return scp(flags, source, target)
        case ["storage", "rsync", source, target]:
            return rsync(flags, source, target)
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
