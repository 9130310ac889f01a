"""Adapters: where they sit, what they add, and that merging changes no output."""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from rec_align.models.lora import ADAPTER_NAMES, Lora, join, split_adapters
from rec_align.models.t5 import T5Config, Transformer
from rec_align.training.checkpoints import shapes
from rec_align.training.state import init_params

CONFIG = T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=2,
    num_decoder_layers=1,
    mlp_dim=24,
    lora=Lora(rank=3),
)
TOKENS = np.random.default_rng(0).integers(2, 60, (2, 7)).astype(np.int32)


def merge_adapters(params):
    """The same network without adapters: each adapted kernel becomes W + A B."""
    flat = flatten_dict(params)
    merged = {path: leaf for path, leaf in flat.items() if path[-1] not in ADAPTER_NAMES}
    for path in flat:
        if path[-1] == "lora_a":
            layer = path[:-1]
            product = np.asarray(flat[path]) @ np.asarray(flat[(*layer, "lora_b")])
            merged[(*layer, "kernel")] = merged[(*layer, "kernel")] + product
    return unflatten_dict(merged)


def logits(config, params):
    return Transformer(config).apply({"params": params}, TOKENS, TOKENS)


@pytest.fixture(scope="module")
def params():
    return init_params(Transformer(CONFIG), 0)


def test_the_targets_are_adapted_and_no_others(params):
    adapters, rest = split_adapters(params)
    attentions = ["encoder/layers_0/attention", "encoder/layers_1/attention"]
    attentions += [f"decoder/layers_0/{n}_attention" for n in ("self", "encoder_decoder")]
    expected = {}
    for attention in attentions:
        for name in ("query", "value"):
            expected[f"{attention}/{name}/lora_a"] = (16, 3)
            expected[f"{attention}/{name}/lora_b"] = (3, 16)
    assert shapes(adapters) == expected
    without = Transformer(dataclasses.replace(CONFIG, lora=None))
    assert shapes(rest) == shapes(init_params(without, 0))
    assert jax.tree.structure(join(adapters, rest)) == jax.tree.structure(params)


def test_fresh_adapters_change_nothing(params):
    expected = logits(dataclasses.replace(CONFIG, lora=None), split_adapters(params)[1])
    np.testing.assert_array_equal(logits(CONFIG, params), expected)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_merged_kernels_give_the_adapted_logits(params, scan_layers):
    rng = np.random.default_rng(1)
    trained = jax.tree.map(lambda p: p + 0.1 * rng.standard_normal(p.shape, np.float32), params)
    found = logits(dataclasses.replace(CONFIG, scan_layers=scan_layers), trained)
    merged = merge_adapters(trained)
    expected = logits(dataclasses.replace(CONFIG, lora=None), merged)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    frozen = split_adapters(trained)[1]
    change = logits(dataclasses.replace(CONFIG, lora=None), frozen) - expected
    assert np.abs(change).max() > 0.1  # the adapters did matter


def test_a_pattern_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match=r"Lora.targets '\(' is no regular expression"):
        Lora(targets="(")
