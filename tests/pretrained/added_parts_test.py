"""Parts that a pretrained T5 does not have start fresh, are trained beside adapters, and stay."""

import dataclasses
import pathlib

import jax
import numpy as np
import optax
import pytest

from rec_align.models.lora import Lora, split_adapters
from rec_align.models.t5 import Transformer
from rec_align.pretrained.converting import save_params
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.pretrained.sizes import config_of
from rec_align.training import sharding
from rec_align.training.checkpoints import shapes
from rec_align.training.state import init_state

FIXTURE = pathlib.Path(__file__).parent / "fixtures/hf_v1_1_untied"


@pytest.fixture(scope="module")
def config():
    size = config_of(open_checkpoint(FIXTURE).shapes)
    return dataclasses.replace(size, entity_embedding="two_dimensional", repeat_bias=True)


def start(config, path):
    """(trained, frozen, loaded) parameters, as `loop.train` starts."""
    network, mesh = Transformer(config), sharding.make_mesh()
    like = split_adapters(sharding.abstract_params(network, mesh))[1]
    loaded = load_params(path, like)
    given = jax.tree.map(np.asarray, loaded)
    state, frozen = init_state(network, optax.sgd(1.0), mesh, seed=0, given=loaded)
    return state.params, frozen, given


def test_what_a_checkpoint_lacks_starts_at_zero(config, tmp_path):
    params, _, loaded = start(config, FIXTURE)
    assert shapes(loaded) == open_checkpoint(FIXTURE).shapes
    tables = params["entity_embedder"]
    assert all(not table.any() for table in tables.values()) and set(tables) == {"number", "place"}
    assert all(not leaf.any() for leaf in params["repeat_bias"].values())
    np.testing.assert_array_equal(
        params["token_embedder"]["embedding"], loaded["token_embedder"]["embedding"]
    )

    # A run that has them hands them on, and says so in its size.
    trained = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, params)
    save_params(tmp_path, trained)
    assert config_of(open_checkpoint(tmp_path).shapes) == config
    again, _, _ = start(config, tmp_path)
    jax.tree.map(np.testing.assert_array_equal, again, trained)
    without = dataclasses.replace(config, entity_embedding="none")
    with pytest.raises(ValueError, match=r"entity_embedder/number: checkpoint \(256, .*missing"):
        start(without, tmp_path)


def test_they_are_trained_beside_adapters(config):
    adapted = dataclasses.replace(config, lora=Lora(rank=2))
    trained, frozen, _ = start(adapted, FIXTURE)
    names = {name.split("/")[-1] for name in shapes(trained)}
    assert names == {"lora_a", "lora_b", "number", "place", "kernel", "bias"}
    assert set(trained["repeat_bias"]) == {"kernel", "bias"}
    assert shapes(frozen) == open_checkpoint(FIXTURE).shapes
