"""`rec-align checkpoint average`: the mean of runs, and which have none."""

import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from rec_align.cli.main import main
from rec_align.pretrained.converting import save_params
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.training import run_vocabulary
from tests.training import mesh_run

KERNEL = "encoder/layers_0/attention/query/kernel"
SHAPES = {KERNEL: (3, 4), "token_embedder/embedding": (5, 3)}


def save(folder, seed, shapes=SHAPES, vocabulary="a") -> dict[str, np.ndarray]:
    """Makes a run of random parameters, and returns them."""
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tree = {name: jnp.asarray(array) for name, array in params.items()}
    save_params(folder, unflatten_dict(tree, sep="/"))
    if vocabulary:
        run_vocabulary.note(folder, vocabulary)
    return params


def of_run(folder, step) -> dict[str, np.ndarray]:
    found = open_checkpoint(folder, step)
    return {name: found.read(name, ()) for name in found.shapes}


def average(*paths) -> int:
    return main(["checkpoint", "average", *map(str, paths)])


def test_the_mean_is_a_run(tmp_path, capsys):
    runs = [tmp_path / name for name in "abc"]
    saved = [save(run, seed) for seed, run in enumerate(runs)]
    assert average(*runs[:2], runs[2] / "checkpoints/0", tmp_path / "mean") == 0
    assert str(runs[2] / "checkpoints/0") in capsys.readouterr().out
    like = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in SHAPES.items()}
    found = load_params(tmp_path / "mean", unflatten_dict(like, sep="/"))
    for name, leaf in zip(sorted(SHAPES), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(leaf, sum(params[name] for params in saved) / 3, atol=1e-6)
    run_vocabulary.check(tmp_path / "mean", "a")
    with pytest.raises(ValueError, match="another vocabulary"):
        run_vocabulary.check(tmp_path / "mean", "b")


def test_steps_of_one_run_and_the_step_of_all(tmp_path):
    run, mean = tmp_path / "run", tmp_path / "mean"
    mesh_run.run(run, "1x1x1", 3, checkpoint_every=1)
    assert average(run / "checkpoints/2", run / "checkpoints/3", mean) == 0
    second, third, found = of_run(run, 2), of_run(run, 3), of_run(mean, 0)
    for name, array in found.items():
        np.testing.assert_allclose(array, (second[name] + third[name]) / 2, atol=1e-6)
    assert any((second[name] != third[name]).any() for name in found)
    shutil.copytree(run, tmp_path / "copy")
    assert average(run, tmp_path / "copy", tmp_path / "same", "--checkpoint", "2") == 0
    for name, array in of_run(tmp_path / "same", 0).items():
        np.testing.assert_array_equal(array, second[name])


def test_an_imported_run_has_a_mean_with_what_was_made_of_it(tmp_path):
    save(tmp_path / "imported", 0, vocabulary=None)
    save(tmp_path / "tuned", 1)
    for number, names in enumerate([("imported", "tuned"), ("tuned", "imported")]):
        out = tmp_path / f"mean_{number}"
        assert average(*(tmp_path / name for name in names), out) == 0
        assert run_vocabulary.read(out) == "a"


def test_adapters_are_folded_in(tmp_path):
    base = save(tmp_path / "base", 0)
    layer = KERNEL.removesuffix("/kernel")
    adapted = tmp_path / "adapted"
    ab = save(adapted, 1, {f"{layer}/lora_a": (3, 2), f"{layer}/lora_b": (2, 4)})
    record = {"initial_checkpoint_path": str(tmp_path / "base/checkpoints/0")}
    (adapted / "adapters.json").write_text(json.dumps(record))
    assert average(tmp_path / "base", adapted, tmp_path / "mean") == 0
    mean = open_checkpoint(tmp_path / "mean")
    assert mean.shapes == SHAPES
    product = ab[f"{layer}/lora_a"] @ ab[f"{layer}/lora_b"]
    np.testing.assert_allclose(mean.read(KERNEL, ()), base[KERNEL] + product / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "vocabulary", "message"),
    [
        (SHAPES | {KERNEL: (3, 5)}, "a", f"{KERNEL}: the first (3, 4), this (3, 5)"),
        (SHAPES | {"bias": (1,)}, "a", "bias: the first missing, this (1,)"),
        (SHAPES, "b", "different vocabularies"),
    ],
)
def test_runs_that_have_no_mean(shapes, vocabulary, message, tmp_path, capsys):
    save(tmp_path / "a", 0)
    save(tmp_path / "b", 1, shapes, vocabulary)
    assert average(tmp_path / "a", tmp_path / "b", tmp_path / "mean") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_other_refusals(tmp_path, capsys):
    for seed, name in enumerate("ab"):
        save(tmp_path / name, seed)
    hf = pathlib.Path(__file__).parent / "fixtures/hf_v1_0_tied"
    for arguments, message in (
        (("a", "mean"), "two runs or more"),
        (("a", "b", "a"), "is not empty"),
        (("a", "b", "a/checkpoints/7"), "taken for a checkpoint of that run"),
        (("a", "b", "a/checkpoints/0", "mean"), "is given twice"),
        (("a", hf, "mean"), "with `rec-align checkpoint import`"),
        (("a", "absent", "mean"), "no checkpoint in"),
    ):
        assert average(*(tmp_path / argument for argument in arguments)) == 1
        assert message in capsys.readouterr().err
    assert average(tmp_path / "a", tmp_path / "b", tmp_path / "mean", "--checkpoint", "new") == 1
    assert "--checkpoint new: give best" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
