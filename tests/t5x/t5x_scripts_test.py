"""T5X's own train, eval and infer with our gin files; the built-in engine reads what they wrote."""

import json
import os
import pathlib
import subprocess
import sys

import gin
import numpy as np
import pytest
import seqio

pytest.importorskip("t5x.models", reason="T5X is not installed, see docs/t5x.md")

import tasks  # noqa: F401
from rec_align import eval as eval_script
from rec_align import runs
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.t5 import Transformer
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.pretrained.opening import load_params
from rec_align.training.prediction import Predictor
from rec_align.training.sharding import abstract_params

ROOT = pathlib.Path(__file__).parents[2]
MIXTURE = "ml_100k_recommendation"
LENGTHS = {"inputs": 128, "targets": 24}
NUM_USERS, BATCH_SIZE = 8, 8
NUM_SHARDS = 118  # the first holds as many of ML-100K's 943 users
STEPS = 4


@pytest.fixture(scope="module")
def environment(ml_100k_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
        patch.setenv("JAX_PLATFORMS", "cpu")
        yield dict(os.environ)


def run_python(*arguments: str, environment: dict[str, str], **more: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def run_t5x(script: str, *bindings: str, environment: dict[str, str], **more: str) -> None:
    gin_file = f"gin/t5x/{script}.gin"
    lengths = f"--gin.TASK_FEATURE_LENGTHS={LENGTHS}"
    files = ["--gin_file=gin/models/tiny.gin", f"--gin_file={gin_file}"]
    arguments = [*files, f"--gin.MIXTURE_OR_TASK_NAME='{MIXTURE}'", lengths]
    arguments += [f"--gin.{binding}" for binding in bindings]
    run_python("-m", f"t5x.{script}", *arguments, environment=environment, **more)


@pytest.fixture(scope="module")
def model_dir(environment, tmp_path_factory):
    """A few steps from scratch, the model split over two virtual devices."""
    path = tmp_path_factory.mktemp("t5x_run")
    run_t5x(
        "train",
        f"MODEL_DIR='{path}'",
        f"TRAIN_STEPS={STEPS}",
        "train.train_eval_dataset_cfg=None",
        f"EVALUATOR_NUM_EXAMPLES={NUM_USERS}",
        f"infer_eval/utils.DatasetConfig.batch_size={BATCH_SIZE}",
        environment=environment,
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    return path


@pytest.fixture(scope="module")
def predictor(environment, model_dir):
    """The built-in engine with the parameters that T5X wrote."""
    gin.clear_config()
    gin.parse_config_file(str(ROOT / "gin/models/tiny.gin"))
    network: Transformer = gin.query_parameter("%MODEL").scoped_configurable_fn()
    gin.clear_config()
    vocabulary = runs.corpus_vocabulary(MIXTURE)
    network = runs.for_vocabulary(network, vocabulary)
    params = load_params(model_dir / f"checkpoint_{STEPS}", abstract_params(network))
    trie = CatalogueTrie.build(runs.item_tokens(vocabulary))
    return Predictor(network, params, trie, max_text_tokens=LENGTHS["targets"])


def read_lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_metrics(directory: pathlib.Path, task: str) -> dict[str, float]:
    (metrics,) = read_lines(directory / "inference_eval" / f"{task}-metrics.jsonl")
    assert metrics.pop("step") == STEPS
    return metrics


TASKS = ["ml_100k_retrieval", "ml_100k_ranking", "ml_100k_rating"]


def test_train_evaluates_with_seqio(model_dir):
    for task in TASKS:
        metrics = read_metrics(model_dir, task)
        assert metrics["n"] == NUM_USERS
        assert metrics.get("num_candidates", 20) == 20
    assert "'model'" in (model_dir / "model-info.txt").read_text()


def test_eval_has_the_metrics_of_the_built_in_engine(environment, model_dir, predictor, tmp_path):
    run_t5x(
        "eval",
        f"CHECKPOINT_PATH='{model_dir}/checkpoint_{STEPS}'",
        f"EVAL_OUTPUT_DIR='{tmp_path}'",
        f"utils.DatasetConfig.batch_size={BATCH_SIZE}",
        f"seqio.Evaluator.num_examples={NUM_USERS}",
        environment=environment,
    )
    items = runs.item_tokens(runs.corpus_vocabulary(MIXTURE))
    evaluator = seqio.Evaluator(
        MIXTURE,
        RecFeatureConverter(pack=False, apply_length_check=False),
        eval_split="test",
        sequence_length=LENGTHS,
        num_examples=NUM_USERS,
        logger_cls=(),
    )

    def predict(dataset):
        return eval_script.predict(predictor, items, dataset, BATCH_SIZE)

    expected, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=lambda dataset: predict(dataset)[0],
        predict_with_aux_fn=predict,
    )
    assert set(expected.result()) == set(TASKS)
    for task, metrics in expected.result().items():
        assert read_metrics(tmp_path, task) == pytest.approx(metrics, abs=1e-6)


def test_infer_writes_the_predictions_of_the_built_in_engine(
    environment, model_dir, predictor, tmp_path
):
    run_t5x(
        "infer",
        f"CHECKPOINT_PATH='{model_dir}/checkpoint_{STEPS}'",
        f"INFER_OUTPUT_DIR='{tmp_path}'",
        f"utils.DatasetConfig.batch_size={BATCH_SIZE}",
        f"infer.num_shards={NUM_SHARDS}",
        environment=environment,
    )
    vocabulary = runs.corpus_vocabulary(MIXTURE)
    converter = RecFeatureConverter(pack=False, apply_length_check=False)
    for name in TASKS:
        file = tmp_path / f"{name}-predict_with_aux.jsonl-00000-of-{NUM_SHARDS:05}"
        rows = read_lines(file)
        examples = seqio.get_mixture_or_task(name).get_dataset(
            LENGTHS,
            "test",
            shuffle=False,
            num_epochs=1,
            shard_info=seqio.ShardInfo(0, NUM_SHARDS),
        )
        users = converter(examples, LENGTHS).enumerate()
        predicted, aux = eval_script.predict(
            predictor, runs.item_tokens(vocabulary), users, BATCH_SIZE
        )
        assert len(rows) == len(predicted) > 1
        for (index, tokens), row in zip(predicted, rows, strict=True):
            assert row["prediction"] == vocabulary.decode(np.asarray(tokens).tolist())
            assert row["aux"].keys() == aux.keys()
            for key, values in aux.items():
                np.testing.assert_allclose(row["aux"][key], values[index], rtol=1e-5)


PARSE_ALL = """
import itertools, pathlib, sys
import gin, t5x
from t5x.train import train
from t5x.eval import evaluate
from t5x.infer import infer
from rec_align.t5x.model import RecommenderModel

REQUIRED = {
    "train": ["MODEL_DIR"],
    "finetune": ["MODEL_DIR", "VOCABULARY", "INITIAL_CHECKPOINT_PATH"],
    "eval": ["CHECKPOINT_PATH", "EVAL_OUTPUT_DIR"],
    "infer": ["CHECKPOINT_PATH", "INFER_OUTPUT_DIR"],
}
FUNCTIONS = {"train": train, "finetune": train, "eval": evaluate, "infer": infer}
gin.add_config_file_search_path(str(pathlib.Path(t5x.__file__).parents[1]))
spiece = sys.argv[1]
runs = sorted(path.stem for path in pathlib.Path("gin/t5x").glob("*.gin"))
assert runs == sorted(REQUIRED), runs
models = sorted(path.stem for path in pathlib.Path("gin/models").glob("*.gin"))
for model, run in itertools.product(models, runs):
    gin.clear_config()
    bindings = [f"{name} = {spiece!r}" for name in REQUIRED[run]]
    bindings.append("MIXTURE_OR_TASK_NAME = 'ml_100k_aligned'")
    gin.parse_config_files_and_bindings(
        [f"gin/models/{model}.gin", f"gin/t5x/{run}.gin"], bindings
    )
    name = FUNCTIONS[run].__name__
    built = gin.query_parameter(f"{name}.model").scoped_configurable_fn()
    assert isinstance(built, RecommenderModel), built
    print(model, run, type(built.optimizer_def).__name__, built.module.config.vocab_size)
"""


def test_every_model_and_run_parses_and_builds(environment):
    spiece = runs.corpus_vocabulary("ml_100k_aligned").sentencepiece_model_file
    out = run_python("-c", PARSE_ALL, spiece, environment=environment)
    built = [line.split() for line in out.splitlines()]
    assert len(built) == 4 * len(list((ROOT / "gin/models").glob("*.gin")))
    optimizers = {run: name for _, run, name, _ in built}
    assert optimizers == {
        "train": "OptaxWrapper",
        "finetune": "Adafactor",
        "eval": "NoneType",
        "infer": "NoneType",
    }
    for model, _, _, vocab_size in built:
        assert (vocab_size == "32128") == (model != "tiny")
