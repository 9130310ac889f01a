"""Greedy decoding against a Python loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.decoding.greedy import greedy_decode


def by_loop(model, user, max_steps):
    tokens = []
    while len(tokens) < max_steps and 1 not in tokens:
        # The row that predicts the next token does not look at the placeholder 0 behind it.
        tokens.append(int(model.logits(user, [*tokens, 0])[-1].argmax()))
    return tokens + [0] * (max_steps - len(tokens))


@pytest.mark.parametrize("max_steps", [1, 9])
def test_it_equals_a_python_loop(max_steps, toy_model):
    model = toy_model(seed=0, batch=24, vocab=6)
    decode = jax.jit(
        lambda cache: greedy_decode(model.step_fn, cache, batch_size=24, max_steps=max_steps)
    )
    tokens = np.asarray(decode(model.cache()))
    expected = np.array([by_loop(model, user, max_steps) for user in range(24)])
    np.testing.assert_array_equal(tokens, expected)
    if max_steps == 9:  # both kinds of rows are there
        assert 0 < (expected == 1).any(axis=1).sum() < 24


def test_it_stops_when_all_have_ended(toy_model):
    steps = []

    def step_fn(tokens, cache, step):
        jax.debug.callback(lambda s: steps.append(int(s)), step)
        return jnp.where(jnp.arange(8) == jnp.where(step == 2, 1, 5), 1.0, 0.0) + jnp.zeros(
            (2, 1, 8)
        ), cache

    tokens = greedy_decode(step_fn, {}, batch_size=2, max_steps=50)
    jax.effects_barrier()
    np.testing.assert_array_equal(tokens[:, :4], [[5, 5, 1, 0]] * 2)
    assert sorted(steps) == [0, 1, 2]


def test_bad_arguments_are_refused(toy_model):
    model = toy_model(seed=0)
    with pytest.raises(ValueError, match="max_steps=0"):
        greedy_decode(model.step_fn, model.cache(), batch_size=3, max_steps=0)
    with pytest.raises(ValueError, match=r"beam=1, \.\.\."):
        greedy_decode(model.step_fn, model.cache(beam=2), batch_size=3, max_steps=4)
