"""Item scores against the NumPy brute force, and by formula."""

import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.decoding.scoring import score_items


def test_it_equals_brute_force(toy_model, catalogue):
    rows, model = catalogue(seed=0, num_items=15), toy_model(seed=0)
    logits = [[model.logits(user, row) for row in rows] for user in range(model.batch)]
    scores = score_items(jnp.asarray(np.array(logits), jnp.float32), rows)
    np.testing.assert_allclose(scores, model.brute_force(rows), atol=1e-5)


def test_candidates_of_each_user():
    rows = np.array([[[2, 1, 0], [3, 3, 1]], [[1, 0, 0], [0, 0, 0]]])
    scores = score_items(jnp.zeros((2, 2, 3, 10), jnp.bfloat16), rows)
    assert scores.dtype == jnp.float32
    expected = [[2 * np.log(0.1), 3 * np.log(0.1)], [np.log(0.1), -np.inf]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_logits_at_padding_do_not_matter():
    logits = jnp.zeros((1, 1, 3, 10)).at[:, :, 2].set(-jnp.inf)
    np.testing.assert_allclose(
        score_items(logits, np.array([[4, 1, 0]])), [[2 * np.log(0.1)]], rtol=1e-6
    )


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4,)])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="item_tokens has shape"):
        score_items(jnp.zeros((1, 2, 3, 10)), np.ones(shape, np.int32))
