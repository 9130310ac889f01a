"""launch/tpu_vm.sh against a scripted gcloud: real shells and processes, a folder for a cloud."""

import json

import pytest

BUCKET = "--gin.MODEL_DIR='gs://bucket/run'"
ALL = ["create", "scp", "install", "start"]


def give_tpu(cloud, *states):
    """A TPU that is there and installed; then its states go as given."""
    for verb in ("create", "install"):
        done = cloud.type(verb)
        assert done.returncode == 0, done.stderr
    cloud.write("states", *(states or ["READY:ACTIVE"]))
    (cloud.folder / "calls.jsonl").unlink()


def test_create_waits_in_the_queue(cloud):
    assert cloud.type("create").returncode == 0
    assert cloud.deeds() == ["create"]
    looks = [call for call in cloud.calls() if call[2:4] == ["tpu-vm", "list"]]
    assert len(looks) == 4  # absent, waiting, being made, ready


def test_create_takes_what_is_there(cloud):
    give_tpu(cloud)
    assert cloud.type("create").returncode == 0
    assert cloud.deeds() == []


@pytest.mark.parametrize("states", [["PREEMPTED:ACTIVE"], [":SUSPENDING", ":SUSPENDED"]])
def test_create_replaces_what_is_lost(cloud, states):
    give_tpu(cloud, *states)
    assert cloud.type("create").returncode == 0
    assert cloud.deeds() == ["delete", "create"]


def test_create_says_that_the_request_failed(cloud):
    cloud.write("coming", ":WAITING_FOR_RESOURCES", ":FAILED")
    done = cloud.type("create")
    assert done.returncode == 1
    assert "describe xl --zone=us-east5-b. Then delete it." in done.stderr


@pytest.mark.parametrize("code", [0, 3, 130])
def test_run_shows_the_log_and_ends_as_the_command_does(cloud, code):
    give_tpu(cloud)
    program = f"import pathlib, sys; print('at', pathlib.Path.cwd().name); sys.exit({code})"
    done = cloud.type("run", "--", "python", "-c", program)
    assert done.returncode == code, done.stderr
    assert "at rec_align\n" in done.stdout
    for worker in ("0", "1"):
        written = cloud.folder / "workers" / worker / "rec_align/runs/worker/exit_code"
        assert written.read_text() == f"{code}\n"


def test_a_dropped_connection_is_made_again(cloud):
    give_tpu(cloud)
    cloud.write("on_follow", json.dumps({"drop": True}))
    done = cloud.type("run", "--", "python", "-c", "print('said')")
    assert done.returncode == 0, done.stderr
    assert "said" in done.stdout
    assert cloud.deeds() == ["start"]


def test_stop_reaches_every_worker(cloud):
    give_tpu(cloud)
    cloud.write("on_follow", json.dumps({"drop": True, "states": ["PREEMPTED:ACTIVE"]}))
    assert "xl is gone" in cloud.type("run", "--", "sleep", "600").stderr
    assert cloud.type("stop").returncode == 0
    cloud.write("states", "READY:ACTIVE")
    assert cloud.type("follow").returncode == 128 + 15
    files = list(cloud.folder.glob("workers/*/rec_align/runs/worker/exit_code"))
    assert [path.read_text() for path in files] == ["143\n", "143\n"]


def test_resume_goes_on_after_a_preemption(cloud):
    # The connection is lost first; only then does the TPU look pre-empted.
    states = ["READY:ACTIVE", "PREEMPTED:ACTIVE", ":SUSPENDING", ":SUSPENDED"]
    cloud.write("on_follow", json.dumps({"lose": True, "states": states}))
    done = cloud.type("resume", "--spot", "--", "python", "trainer.py", "hangs", BUCKET)
    assert done.returncode == 0, done.stderr
    assert cloud.deeds() == [*ALL, "delete", *ALL]
    assert "goes on from 5" in done.stdout
    created = [call for call in cloud.calls() if call[3] == "create"]
    assert created[0] == created[1] and "--spot" in created[0]
    assert json.loads((cloud.folder / "bucket/run/metrics.jsonl").read_text()) == {"step": 10}


def test_resume_waits_whether_a_failure_was_a_preemption(cloud):
    """Programs die before their TPU looks pre-empted: exit code 7 is not yet a failure."""
    cloud.environment["TPU_PATIENCE_SECONDS"] = "20"
    cloud.write("on_follow", json.dumps({"states": ["READY:ACTIVE"] * 2 + ["PREEMPTED:ACTIVE"]}))
    done = cloud.type("resume", "--", "python", "trainer.py", "crashes", BUCKET)
    assert done.returncode == 0, done.stderr
    assert "saved 5" in done.stdout and "goes on from 5" in done.stdout
    assert cloud.deeds() == [*ALL, "delete", *ALL]


def test_resume_ends_with_a_failure_on_a_healthy_tpu(cloud):
    done = cloud.type("resume", "--", "python", "trainer.py", "crashes", BUCKET)
    assert done.returncode == 7
    assert cloud.deeds() == ALL


def test_resume_ends_where_no_tpu_may_be_made(cloud):
    (cloud.folder / "refuse").touch()
    assert cloud.type("resume", "--", "python", "trainer.py", "hangs", BUCKET).returncode == 1
    assert cloud.deeds() == ["create"]


def test_install_names_what_is_not_committed(cloud):
    give_tpu(cloud)
    (cloud.checkout / "my_tasks.py").touch()
    done = cloud.type("install")
    assert done.returncode == 0
    assert "not committed, so not installed:\n?? my_tasks.py" in done.stderr
    for home in cloud.folder.glob("workers/*"):
        assert (home / "rec_align/trainer.py").exists()
        assert not (home / "rec_align/my_tasks.py").exists()


def test_fetch_brings_the_results_without_checkpoints(cloud):
    run = cloud.folder / "bucket/run"
    for name in ("metrics.jsonl", "eval_test/metrics.json", "checkpoints/5/array"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    assert cloud.type("fetch", "gs://bucket/run").returncode == 0
    fetched = cloud.checkout / "runs/run"
    files = {str(path.relative_to(fetched)) for path in fetched.rglob("*") if path.is_file()}
    assert files == {"metrics.jsonl", "eval_test/metrics.json"}
