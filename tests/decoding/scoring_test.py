"""Item scores against the NumPy brute force, and by formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.decoding.scoring import score_items


def test_it_equals_brute_force(toy_model, catalogue):
    rows, model = catalogue(seed=0, num_items=15), toy_model(seed=0)
    order = np.stack([np.random.default_rng(user).permutation(15) for user in range(model.batch)])
    scores = jax.jit(score_items, static_argnums=0)(model.step_fn, model.cache(), rows[order])
    expected = np.take_along_axis(model.brute_force(rows), order, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def uniform(tokens, cache, step):
    """Logits over 10 tokens, -inf where the padding after [4, 1] is read."""
    del step
    logits = jnp.zeros((*tokens.shape, 10), jnp.bfloat16)
    return jnp.where((tokens == 1)[..., None], -jnp.inf, logits), cache


def test_candidates_of_each_user():
    rows = np.array([[[2, 4, 0], [3, 3, 3]], [[2, 0, 0], [0, 0, 0]]])
    scores = score_items(uniform, {}, rows)
    assert scores.dtype == jnp.float32
    expected = [[2 * np.log(0.1), 3 * np.log(0.1)], [np.log(0.1), -np.inf]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_what_follows_eos_does_not_matter():
    rows = np.array([[[4, 1, 0], [4, 4, 4]]])
    np.testing.assert_allclose(
        score_items(uniform, {}, rows), [[2 * np.log(0.1), 3 * np.log(0.1)]], rtol=1e-6
    )


def test_what_has_not_a_user_in_front_is_refused():
    with pytest.raises(ValueError, match="item_tokens has shape"):
        score_items(uniform, {}, np.ones((3, 3), np.int32))
    with pytest.raises(ValueError, match="cache"):
        score_items(uniform, {"state": jnp.zeros((1, 4))}, np.ones((3, 2, 3), np.int32))
