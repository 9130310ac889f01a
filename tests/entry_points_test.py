"""The entry points: every gin file, the quickstart's way with few steps, the README's task."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import gin
import jax
import numpy as np
import pytest
import seqio

from rec_align import command_line, infer, runs, train
from rec_align import eval as eval_script
from rec_align.cli.main import main as rec_align_cli
from rec_align.models.t5 import Transformer
from rec_align.training import sharding
from rec_align.training.checkpoints import Checkpoints
from tasks import mixtures

ROOT = pathlib.Path(__file__).parents[1]
MODELS = sorted(path.stem for path in (ROOT / "gin/models").glob("*.gin"))
RUNS = {
    "train": ("MIXTURE_OR_TASK_NAME='x'", "MODEL_DIR='x'"),
    "finetune": (
        "MIXTURE_OR_TASK_NAME='x'",
        "MODEL_DIR='x'",
        "VOCABULARY='x'",
        "INITIAL_CHECKPOINT_PATH='x'",
    ),
    "eval": ("MIXTURE_OR_TASK_NAME='x'", "MODEL_DIR='x'"),
    "infer": ("MIXTURE_OR_TASK_NAME='x'", "MODEL_DIR='x'"),
}
# The shapes that tests need not pay for.
NARROW = [f"--gin.T5Config.{name}=32" for name in ("emb_dim", "mlp_dim")]
SHORT = "--gin.TASK_FEATURE_LENGTHS={'inputs': 128, 'targets': 32}"
SCRIPTS = {
    "train": train.train,
    "finetune": train.train,
    "eval": eval_script.evaluate,
    "infer": infer.infer,
}


@pytest.fixture(autouse=True)
def fresh_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.fixture
def data_dir(ml_100k_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
    return ml_100k_dir


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_and_run_parses_and_builds(model, run):
    bindings = [f"--gin.{binding}" for binding in RUNS[run]]
    files = [f"--gin_file=gin/models/{model}.gin", f"--gin_file=gin/runs/{run}.gin"]
    command_line.parse(None, files + bindings)
    assert isinstance(gin.query_parameter("%MODEL").scoped_configurable_fn(), Transformer)
    assert gin.get_configurable(SCRIPTS[run])


def test_every_macro_is_used():
    text = "".join(path.read_text() for path in (ROOT / "gin/runs").glob("*.gin"))
    for macro in set(re.findall(r"^([A-Z_]+) =", text, re.M)):
        assert f" = %{macro}\n" in text, macro


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        *(
            (f"ml_100k_{name}", "ml_100k_retrieval")
            for name, rates in mixtures.MIXTURES.items()
            if "retrieval" in rates
        ),
        ("ml_100k_p5_review", None),
        ("ml_100k_bpr", "ml_100k_bpr"),
        ("ml_100k_item_embedding", None),
    ],
)
def test_the_best_checkpoint_is_the_best_for_retrieval(data_dir, mixture, expected):
    assert train.choose_validation_task(mixture) == expected


def test_every_run_file_is_tested():
    files = {path.stem for path in (ROOT / "gin/runs").glob("*.gin")}
    # Included by finetune, and given beside other files.
    assert files == set(RUNS) | {"bidirectional", "lora"}


def test_what_is_missing_is_named(data_dir, tmp_path, capsys):
    assert train.main(["--gin_file=gin/models/huge.gin"]) == 1
    assert "huge.gin" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(["--model=tiny"])
    assert "--gin.NAME=VALUE" in capsys.readouterr().err
    files = ["--gin_file=gin/models/tiny.gin", "--gin_file=gin/runs/train.gin"]
    gin.clear_config()
    assert (
        train.main([*files, "--gin.MODEL_DIR='x'", "--gin.MIXTURE_OR_TASK_NAME='no_such_task'"])
        == 1
    )
    assert "no_such_task" in capsys.readouterr().err
    gin.clear_config()
    assert train.main([*files, "--gin.MIXTURE_OR_TASK_NAME='x'"]) == 1
    assert "MODEL_DIR" in capsys.readouterr().err
    gin.clear_config()
    assert train.main([]) == 1
    assert "MODEL is not given" in capsys.readouterr().err
    gin.clear_config()
    assert train.main([*files, "--gin.MODEL_DIR=[1,"]) == 1
    assert capsys.readouterr().err.startswith("rec_align.train: gin:")
    gin.clear_config()
    assert train.main([*files, "--import", "no_such_module"]) == 1
    assert "--import no_such_module" in capsys.readouterr().err
    gin.clear_config()
    files[1] = "--gin_file=gin/runs/infer.gin"
    arguments = [f"--gin.MODEL_DIR='{tmp_path}'", "--gin.MIXTURE_OR_TASK_NAME='ml_100k_retrieval'"]
    assert infer.main([*files, *arguments]) == 1
    assert "no checkpoint in" in capsys.readouterr().err


def test_training_resumes_bit_for_bit(data_dir, tmp_path):
    """The real pipeline and network: two and two steps end with the weights of four."""

    def run(name, steps):
        gin.clear_config()
        arguments = [
            "--gin_file=gin/models/tiny.gin",
            "--gin_file=gin/runs/train.gin",
            *NARROW,
            SHORT,
            "--gin.MIXTURE_OR_TASK_NAME='ml_100k_retrieval'",
            f"--gin.MODEL_DIR='{tmp_path / name}'",
            f"--gin.TRAIN_STEPS={steps}",
            # The same schedule for both lengths.
            "--gin.SCHEDULE=@optimizers.constant",
        ]
        assert train.main(arguments) == 0

    run("parts", 2)
    run("parts", 4)
    run("whole", 4)
    network = Transformer(gin.query_parameter("%MODEL").scoped_configurable_fn().config)
    network = runs.for_vocabulary(network, runs.corpus_vocabulary("ml_100k_retrieval"))
    abstract = sharding.abstract_params(network, sharding.make_mesh())
    (_, expected), (_, found) = (
        Checkpoints(tmp_path / name, create=False).restore_params(abstract, 4)
        for name in ("whole", "parts")
    )
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_quickstart_with_few_steps(data_dir, tmp_path, capsys):
    model = ["--gin_file=gin/models/tiny.gin", *NARROW, f"--gin.MODEL_DIR='{tmp_path}'"]
    training = [
        *model,
        "--gin_file=gin/runs/train.gin",
        "--gin.MIXTURE_OR_TASK_NAME='ml_100k_aligned'",
        "--gin.TRAIN_STEPS=3",
    ]
    assert train.main(training) == 0
    out = capsys.readouterr().out
    assert "trained 3 steps" in out and "padding:" in out
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 3 and rows[-1]["validation_loss"] > 0
    assert list((tmp_path / "tensorboard").iterdir())
    assert "train.train_steps = %TRAIN_STEPS" in (tmp_path / "config.gin").read_text()

    gin.clear_config()
    files = [*model, "--gin_file=gin/runs/infer.gin", "--gin.infer.beam_size=4", SHORT]
    assert infer.main([*files, "--gin.MIXTURE_OR_TASK_NAME='ml_100k_retrieval'"]) == 0
    lines = (tmp_path / "recommendations_test.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 943
    for record in records:
        assert len(set(record["recommended"])) == len(record["recommended"])
        assert not set(record["recommended"]) & set(record["history"])

    gin.clear_config()
    files = [*model, "--gin_file=gin/runs/eval.gin", "--gin.evaluate.beam_size=4", SHORT]
    assert eval_script.main([*files, "--gin.MIXTURE_OR_TASK_NAME='ml_100k_recommendation'"]) == 0
    saved = json.loads((tmp_path / "eval_test" / "metrics.json").read_text())
    assert saved["context"]["num_items"] == 1349 and saved["context"]["checkpoint_step"] == 3
    ours = saved["results"]["rec_align"]
    assert "popularity" in (tmp_path / "eval_test" / "metrics.md").read_text()
    path = tmp_path / "eval_test" / "predictions_retrieval.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    assert first["prediction"] == first["items"][0] and first["target"] and "user_index" in first
    assert set(ours) == {"retrieval", "ranking", "rating"}
    assert ours["retrieval"]["n"] == ours["ranking"]["n"] == ours["rating"]["n"] == 943
    assert ours["retrieval"]["invalid_share"] == 0
    assert ours["ranking"]["num_candidates"] == 20
    popularity = saved["results"]["popularity"]
    assert popularity["retrieval"]["full/hr@10"] == pytest.approx(47 / 943)
    assert popularity["ranking"]["n"] == 943
    assert saved["results"]["global_mean"]["rating"]["n"] == 943

    capsys.readouterr()
    assert rec_align_cli(["report", str(tmp_path), "--users", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("chose last:") == 2 and "popularity" in out and "metrics.json" in out
    assert "retrieval outputs that are no item: 0.0%" in out

    assert rec_align_cli(["compare", str(tmp_path), "--out", str(tmp_path / "compare")]) == 0
    compared = json.loads((tmp_path / "compare/compare.json").read_text())["systems"]
    for name, theirs in ((tmp_path.name, ours), ("popularity", popularity)):
        for metric in ("full/hr@10", "unseen/ndcg@5"):
            found = compared[name]["metrics"][metric]
            assert found == pytest.approx(theirs["retrieval"][metric])


def test_the_task_of_the_readme(data_dir, tmp_path, monkeypatch, capsys):
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    (tmp_path / "my_tasks.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["show", "ml_100k_film_night", "--import", "my_tasks", "--num", "1"]
    try:
        assert rec_align_cli(arguments) == 0
    finally:
        seqio.TaskRegistry.remove("ml_100k_film_night")
        sys.modules.pop("my_tasks", None)
    assert "then tonight's:" in capsys.readouterr().out


def test_a_wheel_brings_its_gin_files(tmp_path):
    """Installed outside the checkout, the README's gin paths are found."""
    site = tmp_path / "site"
    # A copy, because building leaves files beside the sources.
    names = ["rec_align", "tasks", "gin", "setup.py", "pyproject.toml", "README.md"]
    for name in names:
        source, target = ROOT / name, tmp_path / "source" / name
        target.parent.mkdir(exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, tmp_path / "source"], check=True, cwd=tmp_path)
    script = (
        "import gin, rec_align\n"
        "from rec_align import command_line\n"
        f"assert rec_align.__file__.startswith({str(site)!r}), rec_align.__file__\n"
        "command_line.parse(None, ['--gin_file=gin/models/tiny.gin',"
        " '--gin_file=gin/runs/eval.gin', \"--gin.MODEL_DIR='x'\","
        " \"--gin.MIXTURE_OR_TASK_NAME='x'\"])\n"
        "print(gin.query_parameter('%SPLIT'))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "test"
