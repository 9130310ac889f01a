"""SASRec's network against NumPy; who sees whom; both losses against formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.models.sasrec import (
    SASRecConfig,
    SASRecNetwork,
    ages_and_visible,
    full_softmax_loss,
    sampled_softmax_loss,
)

CONFIG = SASRecConfig(num_items=11, emb_dim=8, num_layers=2, num_heads=2, max_length=6)


def layer_norm(x, params):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * params["scale"] + params["bias"]


def numpy_hidden(params, history):
    """The network for one history, a position and a head at a time."""
    x = params["item_embedding"][history] + params["position_embedding"][: len(history)][::-1]
    for layer in range(CONFIG.num_layers):
        p = params[f"layers_{layer}"]
        normalised = layer_norm(x, p["query_layer_norm"])
        q, k, v = (
            np.einsum("ld,dhk->lhk", of, p[name]["kernel"]) + p[name]["bias"]
            for name, of in (("query", normalised), ("key", x), ("value", x))
        )
        for position in range(len(history)):
            seen = slice(0, position + 1)
            of_heads = []
            for head in range(CONFIG.num_heads):
                logits = k[seen, head] @ q[position, head] / np.sqrt(q.shape[-1])
                weights = np.exp(logits) / np.exp(logits).sum()
                of_heads.append(weights @ v[seen, head])
            mixed = np.einsum("hk,hkd->d", np.array(of_heads), p["out"]["kernel"])
            normalised[position] += mixed + p["out"]["bias"]
        x = layer_norm(normalised, p["mlp_layer_norm"])
        y = np.maximum(x @ p["wi"]["kernel"] + p["wi"]["bias"], 0)
        x = x + y @ p["wo"]["kernel"] + p["wo"]["bias"]
    return layer_norm(x, params["final_layer_norm"])


@pytest.fixture(scope="module")
def params():
    """Parameters without a zero or a one, so that each of them matters."""
    nothing = jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(SASRecNetwork(CONFIG).init, jax.random.key(0), nothing, nothing)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes["params"]
    )


def hidden(params, items, segments):
    apply = jax.jit(SASRecNetwork(CONFIG).apply)
    return np.asarray(apply({"params": params}, jnp.array(items), jnp.array(segments)))


def test_the_network_is_that_of_numpy(params):
    history = [3, 9, 0, 3, 7, 10]
    found = hidden(params, [history], [[1] * 6])
    np.testing.assert_allclose(found[0], numpy_hidden(params, history), atol=2e-4)


def test_a_later_item_changes_nothing_before_it(params):
    history = [3, 9, 0, 3, 7, 10]
    before = hidden(params, [history], [[1] * 6])[0]
    for position in range(6):
        changed = list(history)
        changed[position] = 5
        after = hidden(params, [changed], [[1] * 6])[0]
        np.testing.assert_array_equal(after[:position], before[:position])
        assert (np.abs(after[position:] - before[position:]).max(axis=-1) > 1e-3).all()


def test_neither_padding_nor_a_neighbour_in_the_row_is_seen(params):
    alone = hidden(params, [[4, 8]], [[1, 1]])[0]
    for items, segments, begin in (
        ([4, 8, 0, 0], [1, 1, 0, 0], 0),
        ([4, 8, 6, 2], [1, 1, 0, 0], 0),
        ([5, 1, 4, 8], [3, 3, 9, 9], 2),
        ([0, 4, 8, 1], [9, 3, 3, 4], 1),
    ):
        found = hidden(params, [items], [segments])[0][begin : begin + 2]
        np.testing.assert_allclose(found, alone, atol=1e-5)


def test_ages_and_who_is_seen():
    age, visible = ages_and_visible(jnp.array([[5, 5, 7, 0]]))
    assert age.tolist() == [[1, 0, 0, 0]]
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert visible[0].astype(int).tolist() == expected


def test_parameters_are_those_of_the_formula():
    config = SASRecConfig(num_items=100, num_layers=3)
    nothing = jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(SASRecNetwork(config).init, jax.random.key(0), nothing, nothing)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    # A block: 4 maps of attention, 2 of the feed-forward, each with a bias, and 2 LayerNorms.
    assert count == (100 + 50) * 64 + 3 * (6 * (64 * 64 + 64) + 2 * 2 * 64) + 2 * 64


def test_dropout_is_for_training_only(params):
    items, segments = jnp.array([[1, 2]]), jnp.array([[1, 1]])
    network = SASRecNetwork(CONFIG)
    dropped = [
        network.apply(
            {"params": params},
            items,
            segments,
            enable_dropout=True,
            rngs={"dropout": jax.random.key(seed)},
        )
        for seed in (0, 1)
    ]
    assert np.abs(dropped[0] - dropped[1]).max() > 1e-3


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(1)
    embedding, states = rng.normal(size=(9, 4)), rng.normal(size=(2, 3, 4))
    targets = rng.integers(9, size=(2, 3))
    weights = np.array([[1, 1, 0], [1, 0, 0]])
    as_jax = (jnp.array(states, jnp.float32), jnp.array(embedding, jnp.float32))
    return states @ embedding.T, targets, weights, (*as_jax, jnp.array(targets), jnp.array(weights))


def test_the_full_loss_is_the_formula(drawn):
    scores, targets, weights, arguments = drawn
    expected = [
        np.log(np.exp(scores[place]).sum()) - scores[place][targets[place]]
        for place in zip(*np.nonzero(weights), strict=True)
    ]
    np.testing.assert_allclose(full_softmax_loss(*arguments), np.mean(expected), rtol=1e-5)


def test_the_sampled_loss_is_the_formula(drawn):
    scores, targets, weights, arguments = drawn
    negatives = np.array([3, 7, targets[0, 0], 3])
    expected = []
    for row, place in zip(*np.nonzero(weights), strict=True):
        exps, target = np.exp(scores[row, place]), targets[row, place]
        of_negatives = sum(exps[item] for item in negatives if item != target)
        whole = exps[target] + 9 / 4 * of_negatives  # 9 items, 4 drawn
        expected.append(np.log(whole / exps[target]))
    found = sampled_softmax_loss(*arguments, jnp.array(negatives))
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


def test_with_every_item_as_a_negative_both_losses_are_one(drawn):
    *_, arguments = drawn
    sampled = sampled_softmax_loss(*arguments, jnp.arange(9))
    np.testing.assert_allclose(sampled, full_softmax_loss(*arguments), rtol=1e-6)
