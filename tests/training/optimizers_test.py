"""Schedules against their formulas."""

import math

import pytest

from rec_align.training import optimizers


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
