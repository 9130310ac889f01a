"""Compiling: what is written is what SeqIO draws, whole or not at all, and trains without it."""

import functools
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import gin
import jax
import numpy as np
import optax
import pytest
import seqio

import tasks
from rec_align import train
from rec_align.cli.main import main
from rec_align.data.corpus import num_items_at_build
from rec_align.models.t5 import T5Config, Transformer
from rec_align.pipeline import batches, compiling
from rec_align.prompts.retrieval import FAMILY
from rec_align.training import loop
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.compiled import CompiledMixture, model_features
from rec_align.training.loop import Outcome
from rec_align.training.state import TrainState

ROOT = pathlib.Path(__file__).parents[2]
LENGTHS = {"inputs": 96, "targets": 48}
MIXTURE = "small_shop_recommendation"


@pytest.fixture(autouse=True)
def few_candidates():
    with gin.unlock_config():
        gin.bind_parameter("ranking_candidates.num_candidates", 3)
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def once(small_data_dir, tmp_path_factory) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("once") / "compiled"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(small_data_dir))
        tasks.register_built_corpora()
        with gin.unlock_config():
            gin.bind_parameter("ranking_candidates.num_candidates", 3)
        compiling.compile_mixture(
            MIXTURE, directory, num_epochs=2, task_feature_lengths=LENGTHS, seed=5, entities=True
        )
        gin.clear_config()
    return directory


@pytest.fixture
def compiled(small_shop, once) -> CompiledMixture:
    return CompiledMixture.open(once)


@functools.cache
def drawn_rows(epoch: int) -> dict[str, np.ndarray]:
    """The same epoch from SeqIO: each feature [rows, length]."""
    dataset = batches.packed_rows(
        compiling._one_pass(seqio.get_mixture_or_task(MIXTURE)),
        LENGTHS,
        seed=batches.round_seed(5, epoch),
        num_epochs=1,
        entities=True,
    )
    return next(dataset.batch(10_000).as_numpy_iterator())


def test_the_rows_are_those_that_seqio_draws(compiled):
    begin = 0
    for epoch, num_rows in enumerate(compiled.manifest["rows"]):
        expected = drawn_rows(epoch)
        found = model_features(compiled.train[begin : begin + num_rows])
        assert expected.keys() - found.keys() == {"encoder_positions", "decoder_positions"}
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
        begin += num_rows
    assert begin == len(compiled.train)
    first, second = np.split(compiled.train["encoder_input_tokens"], [compiled.manifest["rows"][0]])
    assert first.tolist() != second.tolist()


def test_training_has_the_losses_of_training_from_seqio(compiled, tmp_path):
    network = Transformer(
        T5Config(
            emb_dim=16, num_heads=2, head_dim=8, num_encoder_layers=1, num_decoder_layers=1,
            mlp_dim=16, item_age_bias=True, entity_embedding="whole_word",
        ).with_vocab_size(compiled.vocab_size)
    )  # fmt: skip
    drawn = [drawn_rows(epoch) for epoch in range(2)]
    rows = {name: np.concatenate([epoch[name] for epoch in drawn]) for name in drawn[0]}

    def from_seqio(step):
        while True:
            taken = compiled._rows(step * 2, 2, seed=3)
            yield {name: array[taken] for name, array in rows.items()}
            step += 1

    def from_compiled(step):
        return compiled.batches_from(step, batch_size=2, seed=3)

    sources = {
        "seqio": (
            from_seqio,
            train.validation_batches("small_shop_retrieval", LENGTHS, 2, entities=True),
        ),
        "compiled": (from_compiled, compiled.validation_batches(2)),
    }
    losses = {}
    for name, (source, validation) in sources.items():
        written = []
        loop.train(
            network,
            optax.adam(1e-2),
            source,
            validation,
            tmp_path / name,
            loop.Schedule(total_steps=4, log_every=1, checkpoint_every=2),
            writers=[lambda _, metrics, written=written: written.append(metrics)],
        )
        losses[name] = [m.get("loss", m.get("validation_loss")) for m in written]
    assert len(losses["seqio"]) == 6 and losses["seqio"] == losses["compiled"]


def test_the_manifest_says_what_was_compiled(compiled, small_data_dir):
    manifest = compiled.manifest
    assert manifest["mixture"] == MIXTURE and manifest["seed"] == 5
    assert manifest["tasks"]["small_shop_rating"] == 0.06
    assert manifest["templates"]["small_shop_retrieval"] == [
        [template.inputs, template.targets] for template in FAMILY.seen
    ]
    assert "num_candidates = 3" in manifest["gin"]
    assert manifest["rating_tokens"] is manifest["other_rating"] is None  # of rating tasks alone
    assert manifest["validation_task"] == "small_shop_retrieval"
    vocabulary = small_data_dir / "small_shop/1.0.0/vocabulary/spiece.model"
    sums = subprocess.run(["sha256sum", vocabulary], capture_output=True, text=True, check=True)
    assert manifest["vocabulary_sha256"] == sums.stdout.split()[0]
    assert compiled.train.dtype["encoder_input_tokens"].base == np.uint16


def test_the_same_arguments_give_the_same_bytes(compiled, tmp_path):
    again = tmp_path / "again"
    compiling.compile_mixture(
        MIXTURE, again, num_epochs=2, task_feature_lengths=LENGTHS, seed=5, entities=True
    )
    for path in compiled.directory.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((1.0, 1e-9), 17),  # each item of the histories' train part is a target once
        ((1e-9, 1.0), 10),  # of 12 items one has no attribute and one is not in train
    ],
)
def test_an_epoch_ends_with_the_first_task_that_has_been_through_its_data(
    small_shop, tmp_path, rates, expected
):
    names = ("small_shop_retrieval", "small_shop_item_embedding")
    seqio.MixtureRegistry.add("one_sided", list(zip(names, rates, strict=True)))
    try:
        manifest = compiling.compile_mixture(
            "one_sided", tmp_path / "c", num_epochs=2, task_feature_lengths=LENGTHS
        )
    finally:
        seqio.MixtureRegistry.remove("one_sided")
    ends = np.cumsum(manifest["rows"])
    targets = CompiledMixture.open(tmp_path / "c").train["decoder_target_tokens"]
    for epoch in np.split(targets, ends)[:2]:
        assert (epoch == 1).sum() == expected


def test_a_compile_that_fails_leaves_nothing(small_shop, tmp_path):
    """The train rows are written by then: the validation task is not there."""
    with pytest.raises(ValueError, match="no_such_task"):
        compiling.compile_mixture(
            "small_shop_retrieval",
            tmp_path / "c",
            num_epochs=1,
            task_feature_lengths=LENGTHS,
            validation_task="no_such_task",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_told(small_shop, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"MB of train.rows had been written .* removed again"):
            compiling.compile_mixture(
                MIXTURE, tmp_path / "c", num_epochs=1, task_feature_lengths=LENGTHS
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_forced(compiled, tmp_path, capsys):
    directory = shutil.copytree(compiled.directory, tmp_path / "compiled")
    (tmp_path / ".compiled.building").mkdir()  # left by one that was killed
    arguments = ["compile", "small_shop_retrieval", "--out", str(directory), "--lengths", "96,48"]
    assert main(arguments) == 1
    assert "is already there" in capsys.readouterr().err
    assert CompiledMixture.open(directory).manifest == compiled.manifest
    gin.clear_config()  # each command is a process of its own
    assert main([*arguments, "--force"]) == 0
    assert CompiledMixture.open(directory).manifest["mixture"] == "small_shop_retrieval"
    assert [path.name for path in tmp_path.iterdir()] == ["compiled"]


WITHOUT = """
import sys
from importlib.machinery import PathFinder
GONE = {"tensorflow", "seqio", "gin", "tensorflow_datasets", "tensorflow_text", "pandas"}
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in GONE else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from rec_align.cli.main import main
code = main(sys.argv[1:])
assert not GONE & set(sys.modules)
sys.exit(code)
"""


def test_label_smoothing_reaches_training(compiled, tmp_path, monkeypatch):
    class Asked(Exception):
        pass

    def train(*_, label_smoothing, **__):
        raise Asked(label_smoothing)

    monkeypatch.setattr("rec_align.training.loop.train", train)
    command = ["train-compiled", str(compiled.directory), "--model", "tiny"]
    with pytest.raises(Asked, match=r"^0\.25$"):
        main([*command, "--model-dir", str(tmp_path), "--label-smoothing", "0.25"])


def test_items_start_from_given_embeddings_in_both_ways_of_training(
    small_shop, tmp_path, monkeypatch, capsys
):
    started, optimizers = [], []

    def train_nothing(_, optimizer, *__, item_embeddings, **___):
        started.append(item_embeddings)
        optimizers.append(optimizer)
        return Outcome(TrainState(0, {}, {}), None, {})

    monkeypatch.setattr("rec_align.training.loop.train", train_nothing)
    num_items = num_items_at_build(small_shop)
    given = np.random.default_rng(0).normal(size=(num_items, 8)).astype(np.float32)
    rows = tmp_path / "rows.npy"
    np.save(rows, given)
    task, folder = f"{small_shop}_retrieval", str(tmp_path / "compiled")
    assert main(["compile", task, "--item-index", "atomic", "--out", folder]) == 0
    command = ["train-compiled", folder, "--model", "tiny", "--item-embeddings", str(rows)]
    assert main([*command, "--model-dir", str(tmp_path / "options")]) == 0
    bindings = {
        "MIXTURE_OR_TASK_NAME": task,
        "MODEL_DIR": str(tmp_path / "gin"),
        "ITEM_INDEX": "atomic",
        "train.item_embeddings": str(rows),
    }
    gin.clear_config()
    files = [f"--gin_file=gin/{name}.gin" for name in ("models/tiny", "runs/train")]
    assert train.main([*files, *(f"--gin.{name}='{of}'" for name, of in bindings.items())]) == 0
    vocab_size = CompiledMixture.open(folder).vocab_size
    assert [found.first_token for found in started] == 2 * [vocab_size - num_items]
    for found in started:
        np.testing.assert_array_equal(found.rows, given)

    # train-compiled keeps them near what was given.
    params = {name: jax.numpy.zeros(2) for name in ("token_embedder", "encoder")}
    optimizer = optimizers[0]
    state = optimizer.init(params)
    for _ in range(2):  # the first step has no learning rate
        updates, state = optimizer.update(
            {name: 1 + of for name, of in params.items()}, state, params
        )
    np.testing.assert_allclose(updates["token_embedder"], 0.2 * updates["encoder"])
    assert updates["encoder"].all()

    np.save(rows, given[1:])
    assert main([*command, "--model-dir", str(tmp_path / "other")]) == 1
    assert "a token an item" in capsys.readouterr().err


def test_training_without_tensorflow_resumes_bit_for_bit(compiled, tmp_path, capsys):
    """On a machine without TensorFlow, SeqIO and gin: one and two steps end like three with them.

    Narrow: programs that start anew take most of the time.
    """

    def command(name: str, steps: int, *more: str) -> list[str]:
        arguments = ["train-compiled", str(compiled.directory), "--model", "tiny"]
        arguments += ["--model-dir", str(tmp_path / name), "--steps", str(steps)]
        arguments += ["--set", "dropout_rate=0.1", "--set", "mlp_dim=32", "--set", "emb_dim=32"]
        return [*arguments, "--optimizer", "adafactor", *more]

    for steps in (1, 3):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *command("parts", steps)],
            cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert main(command("whole", 3)) == 0
    expected, found = (
        Checkpoints(tmp_path / name, create=False)._manager.restore(3)
        for name in ("whole", "parts")
    )
    assert int(found["step"]) == 3
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = [json.loads(x) for x in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["validation_loss"] > 0

    assert main(command("whole", 4, "--set", "vocab_size=32128")) == 1
    assert "has 32128" in capsys.readouterr().err
    kept = tmp_path / "whole/compiled.json"
    kept.write_text(json.dumps(compiled.manifest | {"vocabulary_sha256": "other"}))
    assert main(command("whole", 4)) == 1
    assert "the model's is other" in capsys.readouterr().err
