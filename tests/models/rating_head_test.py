"""Rating heads: what a target says, losses and predictions by formula, training and prediction."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rec_align.decoding.trie import CatalogueTrie
from rec_align.models import rating_head
from rec_align.models.t5 import T5Config, Transformer
from rec_align.training import prediction, sharding
from rec_align.training.checkpoints import shapes
from rec_align.training.state import (
    NETWORK_FEATURES,
    init_params,
    init_state,
    make_train_step,
)

# "1" is two pieces, as some vocabularies have it; "5" begins like it.
WRITTEN = ((30, 11, 1), (12, 1), (13, 1), (14, 1), (30, 15, 1))
CONFIG = T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=16,
    item_age_bias=True,
    dropout_rate=0.0,
)
HEADS = ("classes", "regression")


def network(head: str) -> Transformer:
    config = dataclasses.replace(CONFIG, rating_head=head)
    return Transformer(config.with_rating_tokens(WRITTEN, "a_rating"))


def test_off_the_parameters_are_those_of_t5():
    def tree(head):
        return shapes(jax.eval_shape(lambda: init_params(network(head), 0)))

    plain = tree("none")
    sizes = {"classes": 5, "regression": 1}
    for head, size in sizes.items():
        added = {"rating_head/kernel": (16, size), "rating_head/bias": (size,)}
        assert tree(head) == plain | added


def test_what_targets_say():
    targets = np.array([[30, 15, 1, 13, 1, 30, 11, 1, 0, 0], [40, 1, 12, 1, 14, 12, 1, 0, 0, 0]])
    inputs = np.array([[0, 30, 15, 0, 13, 0, 30, 11, 0, 0], [0, 40, 0, 12, 0, 14, 12, 0, 0, 0]])
    found = rating_head.ratings_of_targets(jnp.asarray(inputs), jnp.asarray(targets), WRITTEN)
    # "40" is no rating, and neither is "14 12", which only begins like one.
    expected = [[5, 0, 0, 3, 0, 1, 0, 0, 0, 0], [-1, 0, 2, 0, -1, 0, 0, 0, 0, 0]]
    assert found.tolist() == expected
    batch = {"decoder_input_tokens": inputs, "decoder_target_tokens": targets}
    rating_head.check_targets([{k: v[:1] for k, v in batch.items()}], WRITTEN)
    with pytest.raises(ValueError, match="2 of 6 validation targets"):
        rating_head.check_targets([batch], WRITTEN)


def test_losses_are_the_formulas():
    rng = np.random.default_rng(0)
    ratings = np.array([[4, 0, 1], [0, 5, 0]])
    rated = ratings > 0
    logits = rng.normal(size=(2, 3, 5)).astype(np.float32)
    loss, sums = rating_head.rating_loss("classes", jnp.asarray(logits), jnp.asarray(ratings))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -sum(np.log(shares[i, j, ratings[i, j] - 1]) for i, j in np.argwhere(rated))
    np.testing.assert_allclose([loss, sums["loss_sum"]], expected, rtol=1e-5)
    assert sums["num_tokens"] == 3

    values = logits[..., :1]
    loss, sums = rating_head.rating_loss("regression", jnp.asarray(values), jnp.asarray(ratings))
    expected = ((3 + values[..., 0] - ratings) ** 2)[rated].sum()
    np.testing.assert_allclose([loss, sums["loss_sum"]], expected, rtol=1e-5)
    for head in HEADS:
        unknown, _ = rating_head.rating_loss(head, jnp.asarray(logits), jnp.array([[4, -1, 0]] * 2))
        assert np.isnan(unknown)


def test_predictions_are_the_formulas():
    logits = np.log([[0.1, 0.2, 0.3, 0.4, 1e-9], [0.2] * 5]).astype(np.float32)
    found = rating_head.predicted_ratings("classes", jnp.asarray(logits))
    np.testing.assert_allclose(found, [0.1 + 0.4 + 0.9 + 1.6, 3.0], rtol=1e-5)
    values = jnp.array([[0.25], [7.0], [-9.0]])
    assert rating_head.predicted_ratings("regression", values).tolist() == [3.25, 5.0, 1.0]
    tokens, aux = prediction.rating_outputs(WRITTEN, np.array([4.6, 1.2, 2.5]))
    assert tokens.tolist() == [[30, 15, 1], [30, 11, 1], [12, 1, 0]]
    assert aux["predicted_rating"].tolist() == [4.6, 1.2, 2.5]


def block_causal(rng, count: int) -> dict[str, np.ndarray]:
    """Rows of a prompt and three items; an item's token tells its rating, 2 or 5."""
    items = rng.integers(20, 30, (count, 3))
    answers = np.where(items < 25, 12, 30)  # "2", or the first piece of "5"
    targets = np.zeros((count, 9), int)
    inputs = np.zeros((count, 9), int)
    blocks = np.zeros((count, 9), int)
    for row in range(count):
        place = 0
        for number, answer in enumerate(answers[row], 1):
            written = WRITTEN[1] if answer == 12 else WRITTEN[4]
            targets[row, place : place + len(written)] = written
            inputs[row, place + 1 : place + len(written)] = written[:-1]
            blocks[row, place : place + len(written)] = number + 1
            place += len(written)
    return {
        "encoder_input_tokens": np.concatenate([np.full((count, 1), 7), items], axis=1),
        "encoder_blocks": np.tile(np.arange(4), (count, 1)),
        "decoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": (targets > 0).astype(int),
        "decoder_blocks": blocks,
    }


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_and_predicts_each_target_from_what_it_sees(head):
    rng = np.random.default_rng(1)
    optimizer, mesh = optax.adam(5e-3), sharding.make_mesh()
    step = make_train_step(network(head), optimizer, seed=0)
    state, frozen = init_state(network(head), optimizer, mesh, seed=0)
    batch, losses = block_causal(rng, 8), []
    with jax.set_mesh(mesh):
        for _ in range(90):
            state, sums = step(state, frozen, sharding.shard_batch(batch, mesh))
            assert sums["num_tokens"] == 8 * 3
            losses.append(float(sums["loss_sum"]) / 24)
    # Fresh heads say 3: the mean squared error is 1 for a 2 and 4 for a 5.
    assert losses[0] == pytest.approx(np.log(5), rel=1e-4) or 1 < losses[0] < 4
    assert losses[-1] < 0.4 * losses[0]

    # The last target of a row, asked alone, as in evaluation.
    seen = {name: batch[name] for name in NETWORK_FEATURES if name in batch}
    rate = jax.jit(
        lambda p, features: network(head).apply({"params": p}, **features, method="rate")
    )
    outputs = rate(state.params, seen)
    asked = batch | {"decoder_blocks": np.full((8, 1), 4)}
    trie = CatalogueTrie.build(np.array([[5, 1]]))
    predictor = prediction.Predictor(network(head), state.params, trie)
    found = predictor.rate(asked)
    last = [np.flatnonzero(row == 4)[0] for row in batch["decoder_blocks"]]
    forced = rating_head.predicted_ratings(head, outputs[np.arange(8), np.array(last)])
    np.testing.assert_allclose(found, forced, atol=1e-4)
    expected = np.where(batch["encoder_input_tokens"][:, -1] < 25, 2, 5)
    assert np.abs(found - expected).mean() < 0.75  # a constant would be 1.5 off


def test_other_targets_than_ratings_are_refused():
    config = dataclasses.replace(CONFIG, rating_head="classes")
    with pytest.raises(ValueError, match="'shop_aligned' asks for more: name a rating task"):
        config.with_rating_tokens(None, "shop_aligned")
    assert CONFIG.with_rating_tokens(None, "shop_aligned") is CONFIG
    with pytest.raises(ValueError, match="rating_head is 'softmax'; it must be one of none, cl"):
        dataclasses.replace(CONFIG, rating_head="softmax")
