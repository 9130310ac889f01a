"""Schedules against their formulas."""

import math
import pathlib

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import freeze

from rec_align.cli.train_compiled import FRESH_EMBEDDING_RATE
from rec_align.training import optimizers

GIN = pathlib.Path(__file__).parents[2] / "gin"


def test_linear_decay_holds_its_peak_and_ends_at_two_per_cent():
    schedule = optimizers.warmup_linear_decay(peak=0.5, total_steps=1000, warmup_steps=100)
    expected = {0: 0.0, 50: 0.25, 100: 0.5, 300: 0.5, 650: 0.5 * (1 - 0.98 / 2), 1000: 0.01}
    assert {step: float(schedule(step)) for step in expected} == pytest.approx(expected)


def test_cosine_decay():
    schedule = optimizers.warmup_cosine_decay(peak=0.5, total_steps=1100, warmup_steps=100)
    for step in (100, 350, 600, 1100):
        expected = 0.25 * (1 + math.cos(math.pi * (step - 100) / 1000))
        assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)


def test_rsqrt_decay_and_constant():
    schedule = optimizers.rsqrt_decay(peak=0.01, total_steps=1, warmup_steps=100)
    expected = {0: 0.01, 100: 0.01, 400: 0.005, 10_000: 0.001}
    assert {step: float(schedule(step)) for step in expected} == pytest.approx(expected)
    assert optimizers.constant(peak=0.3, total_steps=5)(7) == 0.3


@pytest.mark.parametrize("tree", [dict, freeze])  # T5X's parameters are frozen
def test_embeddings_take_larger_steps_and_nothing_else_does(tree):
    kernel, embedding = jnp.full((2, 3), 0.5), jnp.full((4, 3), 0.5)
    params = tree({"token_embedder": {"embedding": embedding}, "decoder": {"kernel": kernel}})
    grads = tree({"token_embedder": {"embedding": -embedding}, "decoder": {"kernel": kernel}})

    def update(**options):
        optimizer = optimizers.adamw(optax.constant_schedule(0.01), **options)
        return optimizer.update(grads, optimizer.init(params), params)[0]

    plain, scaled = update(), update(embedding_rate=8.0)
    # The first step of Adam is the learning rate, against the gradient's sign.
    np.testing.assert_allclose(plain["token_embedder"]["embedding"], 0.01, rtol=1e-5)
    np.testing.assert_allclose(plain["decoder"]["kernel"], -0.01, rtol=1e-5)
    np.testing.assert_allclose(scaled["token_embedder"]["embedding"], 0.08, rtol=1e-5)
    np.testing.assert_array_equal(scaled["decoder"]["kernel"], plain["decoder"]["kernel"])


@pytest.mark.parametrize("engine", ["runs", "t5x"])
def test_all_ways_of_training_from_scratch_have_one_embedding_rate(engine):
    binding = "optimizers.adamw.embedding_rate = "
    assert f"{binding}{FRESH_EMBEDDING_RATE}" in (GIN / engine / "train.gin").read_text()
    assert f"{binding}1.0" in (GIN / engine / "finetune.gin").read_text()
