"""launch/tpu_vm.sh --dry-run: what it would type, and what it refuses."""

import json
import shlex
import shutil
import subprocess

import pytest

COMMAND = ["python", "-m", "rec_align.train", "--multihost", "--gin.MODEL_DIR='gs://bucket/xl'"]
TPUS = "gcloud compute tpus"
PLACE = "--zone=us-east5-b --project=mine"
LOOK = [
    f"{TPUS} tpu-vm list '--filter=name~(^|/)xl$' '--format=value(state)' {PLACE}",
    f"{TPUS} queued-resources list '--filter=name~(^|/)xl$' '--format=value(state.state)' {PLACE}",
]
CREATE = [
    *LOOK,
    f"{TPUS} queued-resources create xl --node-id=xl --accelerator-type=v6e-16 "
    f"--runtime-version=v2-alpha-tpuv6e --spot {PLACE}",
]
INSTALL = [
    "mkdir -p runs",
    "git archive --format=tar.gz --output=runs/xl.tar.gz HEAD",
    f"{TPUS} tpu-vm scp runs/xl.tar.gz xl:rec_align.tar.gz --worker=all {PLACE}",
    f"{TPUS} tpu-vm ssh xl --worker=all '--command=mkdir -p rec_align && tar -xzf "
    f"rec_align.tar.gz -C rec_align && bash rec_align/launch/worker.sh install' {PLACE}",
]
FOLLOW = [
    f"{TPUS} tpu-vm ssh xl --worker=0 '--command=bash rec_align/launch/worker.sh {verb}' {PLACE}"
    for verb in ("follow", "status")
]
RUN = [
    f"{TPUS} tpu-vm ssh xl --worker=all '--command=bash rec_align/launch/worker.sh start python "
    rf"-m rec_align.train --multihost --gin.MODEL_DIR=\'\''gs://bucket/xl\'\''' {PLACE}",
    *FOLLOW,
]
DELETE = [f"{TPUS} queued-resources delete xl --force --quiet {PLACE}"]
STOP = [
    f"{TPUS} tpu-vm ssh xl --worker=all '--command=bash rec_align/launch/worker.sh stop' {PLACE}"
]
FETCH = [
    "mkdir -p runs/xl",
    "gcloud storage rsync --recursive '--exclude=^checkpoints/' gs://bucket/xl runs/xl",
]
FETCH_FROM_WORKER = [
    "mkdir -p results",
    f"{TPUS} tpu-vm scp --recurse --worker=0 xl:rec_align/runs/xl results {PLACE}",
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["create", "--spot"], CREATE),
        (["install"], INSTALL),
        (["run", "--", *COMMAND], RUN),
        (["follow"], FOLLOW),
        (["stop"], STOP),
        (["fetch", "gs://bucket/xl"], FETCH),
        (["fetch", "runs/xl", "results"], FETCH_FROM_WORKER),
        (["delete"], DELETE),
        (["resume", "--spot", "--", *COMMAND], [*CREATE, *INSTALL, *RUN, *DELETE]),
    ],
    ids=lambda value: " ".join(value[:2]) if value[0].isalpha() else "",
)
def test_prints_every_command_and_types_none(cloud, words, expected):
    done = cloud.type("--dry-run", "--project=mine", *words)
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert printed == expected
    assert not cloud.calls()
    assert not (cloud.checkout / "runs").exists()


def test_options_win_over_the_environment_wherever_they_stand(cloud):
    done = cloud.type("--name=b", "create", "--type=v5litepod-64", "--zone=z", "--dry-run")
    words = shlex.split(done.stdout.splitlines()[-1])
    assert "b" in words and "--node-id=b" in words and "--zone=z" in words
    assert "--accelerator-type=v5litepod-64" in words
    assert "--runtime-version=v2-alpha-tpuv5-lite" in words
    assert "--spot" not in words and not done.stdout.count("--project")


@pytest.mark.parametrize(
    ("type_", "runtime"),
    [
        ("v4-32", "tpu-ubuntu2204-base"),
        ("v5p-32", "v2-alpha-tpuv5"),
        ("v5litepod-64", "v2-alpha-tpuv5-lite"),
        ("v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_the_runtime_follows_the_type(cloud, type_, runtime):
    done = cloud.type("create", f"--type={type_}", "--dry-run")
    assert f"--runtime-version={runtime} " in done.stdout


def test_a_runtime_can_be_given(cloud):
    done = cloud.type("create", "--type=v9-8", "--runtime=next", "--dry-run")
    assert "--accelerator-type=v9-8 --runtime-version=next " in done.stdout


@pytest.mark.parametrize(
    ("missing", "words", "message"),
    [
        ("TPU_NAME", ["create"], "no name of the TPU: give --name=VALUE or set TPU_NAME"),
        ("TPU_NAME", ["run", "--", "true"], "no name of the TPU: give --name=VALUE"),
        ("TPU_ZONE", ["delete"], "no zone of the TPU, such as us-east5-b: give --zone=VALUE"),
        ("TPU_TYPE", ["create"], "no type of TPU, such as v6e-16 or v5litepod-64: give --type="),
        ("", [], "verbs are create, install, run, resume, follow, stop, fetch and delete, not ''"),
        ("", ["destroy"], "not 'destroy'"),
        ("", ["create", "--preemptible"], "unknown option --preemptible"),
        ("", ["create", "--name", "a"], "unknown option --name; options are --NAME=VALUE"),
        ("", ["create", "--type=v9-8"], "no runtime is known for type v9-8: give --runtime="),
        ("", ["run"], "no command: give it after --"),
        ("", ["run", "python", "--version"], "unknown option --version"),
        ("", ["resume", "--", "python", "--gin.MODEL_DIR='runs/xl'"], "no MODEL_DIR on gs://"),
        ("", ["fetch"], "no MODEL_DIR: fetch gs://bucket/run"),
    ],
)
def test_says_what_is_missing(cloud, missing, words, message):
    cloud.environment.pop(missing, None)
    done = cloud.type(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("tpu_vm.sh: ") and message in done.stderr
    assert not cloud.calls()


def test_run_warns_of_a_model_dir_that_goes_with_the_tpu(cloud):
    warning = "no MODEL_DIR on gs://"
    lost = cloud.type("run", "--dry-run", "--", "python", "--gin.MODEL_DIR='runs/xl'")
    kept = cloud.type("run", "--dry-run", "--", *COMMAND)
    assert lost.returncode == kept.returncode == 0
    assert warning in lost.stderr and warning not in kept.stderr


def test_says_that_gcloud_is_not_there(cloud, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "tr"):
        (programs / name).symlink_to(shutil.which(name))
    cloud.environment["PATH"] = str(programs)
    done = cloud.type("delete")
    assert done.returncode == 1
    assert "gcloud is not there: install the Google Cloud CLI" in done.stderr


def test_quoting_survives_two_shells(cloud, tmp_path):
    """The printed line typed into a shell, and its --command typed by ssh on a worker."""
    arguments = [
        "--gin.MODEL_DIR='gs://bucket/a run'",
        '--gin.next_item_windows.targets="one"',
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 512, 'targets': 128}",
        "--gin.MESH='2x4x4'",
        "$HOME `date` $(date) \\ * ; & | > ! # ~",
        "two\nlines\tand a tab",
        "Amélie",
        "",
    ]
    program = "import json, sys; json.dump(sys.argv[1:], open('seen', 'w'))"
    done = cloud.type("run", "--dry-run", "--", "python", "-c", program, *arguments)
    # The printed argument has a line break of its own, as the typed one has.
    start = done.stdout.index(f"{TPUS} tpu-vm ssh")
    end = done.stdout.index(f"\n{TPUS}", start + 1)
    printed = done.stdout[start:end]
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    typed = printed.replace("gcloud", f"python3 -c {shlex.quote(show)}", 1)
    words = json.loads(subprocess.check_output(["bash", "-c", typed], text=True))
    [line] = [word.removeprefix("--command=") for word in words if word.startswith("--command=")]

    home = tmp_path / "home"
    home.mkdir()
    (home / "rec_align").symlink_to(cloud.checkout)
    subprocess.run(["bash", "-c", line], cwd=home, env=cloud.environment, check=True)
    follow = "bash rec_align/launch/worker.sh follow; bash rec_align/launch/worker.sh status"
    code = subprocess.check_output(["bash", "-c", follow], cwd=home, text=True)
    assert code == "0\n"
    assert json.loads((cloud.checkout / "seen").read_text()) == arguments
