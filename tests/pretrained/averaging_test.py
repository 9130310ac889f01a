"""`rec-align checkpoint average`: the mean of runs, and which have none."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from rec_align.cli.main import main
from rec_align.pretrained.converting import save_params
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.training import run_vocabulary

KERNEL = "encoder/layers_0/attention/query/kernel"
SHAPES = {KERNEL: (3, 4), "token_embedder/embedding": (5, 3)}


def save(folder, seed, shapes=SHAPES, vocabulary="a") -> dict[str, np.ndarray]:
    """Makes a run of random parameters, and returns them."""
    rng = np.random.default_rng(seed)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tree = {name: jnp.asarray(array) for name, array in params.items()}
    save_params(folder, unflatten_dict(tree, sep="/"))
    run_vocabulary.note(folder, vocabulary)
    return params


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
        (SHAPES | {KERNEL: (3, 5)}, "a", f"{KERNEL}: (3, 4), (3, 5)"),
        (SHAPES | {"repeat_bias/kernel": (3, 1)}, "a", "repeat_bias/kernel: missing, (3, 1)"),
        (SHAPES, "b", "another vocabulary"),
    ],
)
def test_runs_that_have_no_mean(shapes, vocabulary, message, tmp_path, capsys):
    save(tmp_path / "a", 0)
    save(tmp_path / "b", 1, shapes, vocabulary)
    assert average(tmp_path / "a", tmp_path / "b", tmp_path / "mean") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_other_refusals(tmp_path, capsys):
    save(tmp_path / "a", 0)
    for arguments, message in (
        (("a", "mean"), "two runs or more"),
        (("a", "a", "a"), "is not empty"),
        (("a", "absent", "mean"), "no checkpoint in"),
        (("a", "a", "mean", "--checkpoint", "newest"), "--checkpoint newest: give best"),
    ):
        paths = [a if a.startswith("-") or a == "newest" else tmp_path / a for a in arguments]
        assert average(*paths) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
