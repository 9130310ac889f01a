import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.models.layers import relative_position_bucket
from rec_align.models.losses import cross_entropy


def test_cross_entropy_is_the_formula():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 3, 5)).astype(np.float32)
    targets = np.array([[1, 4, 0], [2, 2, 3]])
    weights = np.array([[1, 1, 0], [1, 0, 0]])
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    log_z = np.log(np.exp(logits).sum(-1))
    smoothed = np.full((2, 3, 5), 0.1 / 5) + 0.9 * np.eye(5)[targets]
    expected = (-(smoothed * log_probs).sum(-1) + 0.01 * log_z**2)[weights > 0].sum()
    loss, sums = cross_entropy(
        jnp.asarray(logits), targets, weights, label_smoothing=0.1, z_loss=0.01
    )
    assert loss == pytest.approx(expected, rel=1e-5)
    nll = -np.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    assert sums["loss_sum"] == pytest.approx(nll[weights > 0].sum(), rel=1e-5)
    assert sums["num_tokens"] == 3


def test_no_targets_is_zero_with_finite_gradients():
    grads = jax.grad(lambda x: cross_entropy(x, np.zeros((1, 2), int), np.zeros((1, 2)))[0])(
        jnp.ones((1, 2, 4))
    )
    assert np.all(np.asarray(grads) == 0)


def test_relative_position_buckets():
    distances = jnp.array([0, -1, -15, -16, -127, -128, -500, 3])
    buckets = relative_position_bucket(distances, bidirectional=False)
    assert buckets.tolist() == [0, 1, 15, 16, 31, 31, 31, 0]
    both = relative_position_bucket(jnp.array([0, -1, 1, -7, 7, 500]), bidirectional=True)
    assert both.tolist() == [0, 1, 17, 7, 23, 31]
