"""Rematerialised and scanned layers compute what plain layers compute, from the same parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.models.stacking import REMAT_POLICIES
from rec_align.models.t5 import T5Config, Transformer
from rec_align.training.state import batch_loss, init_params

CONFIG = T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=3,
    num_decoder_layers=2,
    mlp_dim=24,
    dropout_rate=0.5,
)
TOKENS = np.random.default_rng(0).integers(2, 60, (2, 7)).astype(np.int32)
BATCH = {
    "encoder_input_tokens": TOKENS,
    "decoder_input_tokens": np.pad(TOKENS[:, :-1], ((0, 0), (1, 0))),
    "decoder_target_tokens": TOKENS,
    "decoder_loss_weights": np.ones_like(TOKENS),
}


def compiled(**changes):
    """Loss and gradients of a key, or None for no dropout."""
    network = Transformer(dataclasses.replace(CONFIG, **changes))
    params = init_params(network, 0)

    @jax.jit
    def compute(key):
        return jax.value_and_grad(lambda p: batch_loss(network, p, BATCH, key)[0])(params)

    return compute


def loss_and_gradients(**changes):
    return compiled(**changes)(None)


@pytest.fixture(scope="module")
def plain():
    return loss_and_gradients()


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("remat_policy", REMAT_POLICIES)
def test_loss_and_gradients_are_those_of_plain_layers(plain, remat_policy, scan_layers):
    found = loss_and_gradients(remat_policy=remat_policy, scan_layers=scan_layers)
    assert jax.tree.structure(found) == jax.tree.structure(plain)  # the same names, too
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_dropout_depends_on_its_key_alone_and_differs_by_layer(plain, scan_layers):
    compute = compiled(remat_policy="full", scan_layers=scan_layers)
    (one, gradients), (again, _), (other, _) = (compute(jax.random.key(seed)) for seed in (1, 1, 2))
    assert one == again
    assert len({float(one), float(other), float(plain[0])}) == 3
    # The same mask in every layer is what a scan with one key would give: 1 - 0.5 of the units
    # would be dead throughout, and their parameters without gradients.
    dead = [
        np.asarray(gradients["encoder"][f"layers_{i}"]["mlp"]["wo"]["kernel"] == 0).all(axis=1)
        for i in range(3)
    ]
    assert any((dead[0] != layer).any() for layer in dead[1:])


def test_bfloat16_activations_keep_float32_parameters(plain):
    loss, gradients = loss_and_gradients(dtype="bfloat16")
    assert loss == pytest.approx(float(plain[0]), rel=0.02)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match=r"remat_policy is 'some'.*minimal"):
        network = Transformer(dataclasses.replace(CONFIG, remat_policy="some"))
        jax.eval_shape(lambda: init_params(network, 0))
