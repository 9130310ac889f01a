"""launch/worker.sh: a command that outlives who started it."""

import time


def worker(cloud, *words):
    return cloud.type(*words, script="worker.sh")


def test_status_before_anything_was_started(cloud):
    assert worker(cloud, "status").stdout == "none\n"


def test_a_command_runs_once_and_tells_its_exit_code(cloud):
    sleeper = ["start", "bash", "-c", "echo up; sleep 600"]
    assert worker(cloud, *sleeper).returncode == 0
    assert worker(cloud, "status").stdout == "running\n"
    pid = (cloud.checkout / "runs/worker/pid").read_text()
    assert worker(cloud, *sleeper).returncode == 0
    assert (cloud.checkout / "runs/worker/pid").read_text() == pid

    other = worker(cloud, "start", "true")
    assert other.returncode == 1 and "still runs bash -c echo\\ up" in other.stderr

    assert worker(cloud, "stop").returncode == 0
    assert "up\n" in worker(cloud, "follow").stdout
    assert worker(cloud, "status").stdout == "143\n"
    assert worker(cloud, "start", "true").returncode == 0
    worker(cloud, "follow")
    assert worker(cloud, "status").stdout == "0\n"


def test_stop_lets_the_command_save(cloud):
    saver = (
        "import pathlib, signal, sys, time\n"
        "def save(*_): pathlib.Path('saved').touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path('started').touch()\n"
        "time.sleep(600)"
    )
    worker(cloud, "start", "python3", "-c", saver)
    deadline = time.monotonic() + 20
    while not (cloud.checkout / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    worker(cloud, "stop")
    worker(cloud, "follow")
    assert worker(cloud, "status").stdout == "130\n"
    assert (cloud.checkout / "saved").exists()


def test_says_what_it_can_do(cloud):
    done = worker(cloud, "restart")
    assert done.returncode == 2
    assert done.stderr == "worker.sh: install, start, follow, status or stop, not 'restart'\n"
