"""Training adapters: nothing else moves, nothing else is saved; microbatches change nothing."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from rec_align import runs
from rec_align.models.lora import Lora, split_adapters
from rec_align.pretrained import adapters as adapters_lib
from rec_align.pretrained.opening import open_checkpoint
from rec_align.training.checkpoints import Checkpoints, shapes
from tests.models.lora_test import merge_adapters
from tests.training import mesh_run

# The bias on repeats would be trained beside them, see added_parts_test.
BASE = mesh_run.NETWORK.clone(
    config=dataclasses.replace(mesh_run.NETWORK.config, repeat_bias=False)
)
ADAPTED = BASE.clone(
    config=dataclasses.replace(
        BASE.config, lora=Lora(rank=2, targets=".*attention/(query|value)|.*mlp/.*")
    )
)


def run(model_dir, steps, network=ADAPTED, base=None, **kwargs):
    start = adapters_lib.initial_params(network, base and str(base), model_dir)
    return mesh_run.run(model_dir, "1x1x1", steps, network=network, initial_params=start, **kwargs)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    run(path, 20, network=BASE, checkpoint_every=10)
    return path


def test_only_adapters_are_trained_and_saved(base_dir, tmp_path):
    options = {"optimizer": optax.adam(3e-2), "checkpoint_every": 30}
    outcome, losses = run(tmp_path, 60, base=base_dir, **options)
    layers = ["encoder/layers_0/", "encoder/layers_1/", "decoder/layers_0/"]
    targets = [f"attention/{name}" for name in ("query", "value")]
    targets += [f"mlp/{name}" for name in ("wi_0", "wi_1", "wo")]
    names = {name.removesuffix("/lora_a") for name in shapes(outcome.state.params)}
    found = {name for name in names if not name.endswith("/lora_b")}
    assert len(names) == 2 * len(found) == 2 * (5 + 5 + 7)
    assert all(name.startswith(tuple(layers)) and name.endswith(tuple(targets)) for name in found)
    assert np.mean(losses[-6:]) < 0.95 * np.mean(losses[:6])
    saved = Checkpoints(tmp_path, create=False).restore_params(outcome.state.params, "latest")[1]
    assert shapes(saved) == shapes(outcome.state.params)

    # Loaded again: the base's parameters untouched, the adapters those of training.
    step, params = runs.load_run(ADAPTED, tmp_path, "latest")
    assert step == 60
    adapters, rest = split_adapters(params)
    _, base = runs.load_run(BASE, base_dir)
    for expected, found in [(base, rest), (outcome.state.params, adapters)]:
        jax.tree.map(np.testing.assert_array_equal, expected, found)

    # Folded into the base, as an export writes them.
    checkpoint = adapters_lib.merged(open_checkpoint(tmp_path, "latest"))
    expected = flatten_dict(merge_adapters(params), sep="/")
    assert checkpoint.shapes == shapes(base)
    for name, array in expected.items():
        np.testing.assert_allclose(checkpoint.read(name, ()), array, rtol=1e-6, atol=1e-6)
    kernel = "encoder/layers_0/attention/query/kernel"
    part = (slice(2, 5), slice(0, 8))
    np.testing.assert_allclose(checkpoint.read(kernel, part), expected[kernel][part], atol=1e-6)
    assert (
        np.abs(expected[kernel] - base["encoder"]["layers_0"]["attention"]["query"]["kernel"]).max()
        > 0
    )


def test_adapters_resume_bit_for_bit(base_dir, tmp_path):
    whole, _ = run(tmp_path / "whole", 8, base=base_dir)
    run(tmp_path / "parts", 5, base=base_dir)
    resumed, _ = run(tmp_path / "parts", 8, base=base_dir)
    jax.tree.map(np.testing.assert_array_equal, whole.state, resumed.state)


def test_a_run_keeps_to_what_it_adapts(base_dir, tmp_path):
    run(tmp_path / "run", 2, base=base_dir)
    base = adapters_lib.read_base(tmp_path / "run")
    assert base == str(base_dir / "checkpoints" / "20")
    run(tmp_path / "run", 3)  # it knows its base
    run(tmp_path / "other", 1, network=BASE)
    for wrong, message in [(tmp_path / "other", "not of"), (tmp_path / "missing", "not of")]:
        with pytest.raises(ValueError, match=message):
            run(tmp_path / "run", 4, base=wrong)
    with pytest.raises(ValueError, match="which does not exist"):
        run(tmp_path / "new", 1, base=tmp_path / "missing")
    assert adapters_lib.read_base(tmp_path / "run") == base
    with pytest.raises(ValueError, match=r"lora\.gin"):
        runs.load_run(ADAPTED, tmp_path / "other")
    with pytest.raises(ValueError, match=r"lora\.gin"):
        runs.load_run(BASE, tmp_path / "run")


def test_adapters_of_nothing_are_refused(base_dir, tmp_path):
    with pytest.raises(ValueError, match="INITIAL_CHECKPOINT_PATH"):
        run(tmp_path, 1)
    config = dataclasses.replace(BASE.config, lora=Lora(targets=".*attention/q"))
    with pytest.raises(ValueError, match=r"matches no layer.*encoder/layers_0/attention/query"):
        run(tmp_path, 1, network=BASE.clone(config=config), base=base_dir)


def test_another_optimizer_is_refused(tmp_path):
    run(tmp_path, 1, network=BASE)
    with pytest.raises(ValueError, match="another optimizer"):
        run(tmp_path, 2, network=BASE, optimizer=optax.sgd(0.1))


@pytest.mark.parametrize("num_microbatches", [2, 8])
def test_microbatches_give_the_losses_of_the_whole_batch(tmp_path, num_microbatches):
    """Also where they differ in target tokens: the mean is over the batch's."""
    network = BASE.clone(config=dataclasses.replace(BASE.config, dropout_rate=0.0))
    _, expected = run(tmp_path / "whole", 6, network=network)
    _, found = run(tmp_path / "parts", 6, network=network, num_microbatches=num_microbatches)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
