"""The repeat gate: what would repeat, against a search by hand; decoding; what it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.models import masks, repeats
from rec_align.models.t5 import T5Config, Transformer, empty_cache
from rec_align.training.state import batch_loss, init_params

CONFIG = T5Config(
    vocab_size=24,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=16,
    item_age_bias=True,
    repeat_gate=True,
    dropout_rate=0.0,
)
WARS, TREK, STAR, FARGO, END, EOS = 4, 5, 6, 7, 3, 1
# Star Wars; Star Trek; Fargo
HISTORY = {
    "encoder_input_tokens": np.array([[9, STAR, WARS, END, STAR, TREK, END, FARGO, END, 0]]),
    "encoder_blocks": np.array([[0, 1, 1, 1, 2, 2, 2, 3, 3, 0]]),
}


def repeating(encoder_tokens, encoder_blocks, decoder_tokens, decoder_blocks, *segments):
    of_encoder, of_decoder = segments or (None, None)
    cross = masks.cross_bias(encoder_tokens, of_encoder, of_decoder, encoder_blocks, decoder_blocks)
    starts = repeats.visible_starts(encoder_blocks, of_encoder, cross)
    places = repeats.places_of_targets(starts, decoder_tokens, encoder_tokens)
    return np.asarray(repeats.repeating_tokens(places, encoder_tokens, CONFIG.vocab_size))


def by_hand(encoder_tokens, encoder_blocks, decoder_tokens, decoder_blocks, segments):
    """The same for one row, item by item and target by target."""
    of_encoder, of_decoder = segments
    found = np.zeros((len(decoder_tokens), CONFIG.vocab_size), bool)
    for t, token in enumerate(decoder_tokens):
        if token == 0:
            begin = t
        prefix = list(decoder_tokens[begin + 1 : t + 1])
        for j in range(len(encoder_tokens)):
            key = (of_encoder[j], encoder_blocks[j])
            is_start = j == 0 or (of_encoder[j - 1], encoder_blocks[j - 1]) != key
            if not is_start or key[0] != of_decoder[t] or not 0 < key[1] < decoder_blocks[t]:
                continue
            after = encoder_tokens[j : j + len(prefix) + 1]
            if len(after) > len(prefix) and list(after[:-1]) == prefix:
                found[t, after[-1]] = True
    return found


def test_the_worked_example():
    targets, blocks = [0, STAR, 0, 0, FARGO], [4, 4, 2, 4, 4]
    found = repeating(*HISTORY.values(), np.array([targets]), np.array([blocks]))
    assert [np.flatnonzero(row).tolist() for row in found[0]] == [
        [STAR, FARGO],
        [WARS, TREK],
        [STAR],  # the target after Star Wars sees no other item
        [STAR, FARGO],
        [END],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_as_by_hand_in_packed_rows(seed):
    rng = np.random.default_rng(seed)
    rows, inputs, targets = 4, 40, 60
    # Few tokens, so that prefixes meet often.
    encoder_tokens = rng.integers(2, 5, (rows, inputs))
    of_encoder = np.sort(rng.integers(1, 4, (rows, inputs)))
    of_decoder = np.sort(rng.integers(1, 4, (rows, targets)))
    encoder_blocks = rng.integers(0, 2, (rows, inputs)).cumsum(axis=1)
    encoder_blocks -= np.where(
        of_encoder == 1,
        0,
        encoder_blocks[np.arange(rows)[:, None], (of_encoder - 1).argmax(1)[:, None]],
    )
    encoder_blocks = encoder_blocks.clip(0)
    decoder_tokens = np.where(
        rng.random((rows, targets)) < 0.3, 0, rng.integers(2, 5, (rows, targets))
    )
    decoder_tokens[:, 0] = 0
    begins = (decoder_tokens == 0).cumsum(axis=1)
    decoder_blocks = rng.integers(1, 20, (rows, targets + 1))[np.arange(rows)[:, None], begins]
    of_decoder = np.take_along_axis(of_decoder, begins - 1, axis=1)
    found = repeating(
        encoder_tokens, encoder_blocks, decoder_tokens, decoder_blocks, of_encoder, of_decoder
    )
    assert found.any()
    for row in range(rows):
        expected = by_hand(
            encoder_tokens[row],
            encoder_blocks[row],
            decoder_tokens[row],
            decoder_blocks[row],
            (of_encoder[row], of_decoder[row]),
        )
        np.testing.assert_array_equal(found[row], expected)


@pytest.fixture(scope="module")
def params():
    fresh = init_params(Transformer(CONFIG), 0)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda p: np.asarray(p + 0.3 * rng.standard_normal(p.shape), np.float32), fresh
    )


def test_a_fresh_gate_changes_nothing():
    features = {**HISTORY, "decoder_input_tokens": np.array([[0, STAR]])}
    features["decoder_blocks"] = np.full((1, 2), 4)
    fresh = init_params(Transformer(CONFIG), 0)
    without = Transformer(dataclasses.replace(CONFIG, repeat_gate=False))
    rest = {name: part for name, part in fresh.items() if name != "repeat_gate"}
    np.testing.assert_array_equal(
        Transformer(CONFIG).apply({"params": fresh}, **features),
        without.apply({"params": rest}, **features),
    )


def test_steps_equal_teacher_forcing(params):
    """Three beams: one on the way to each item of the history, the last leaves it."""
    network = Transformer(CONFIG)
    beams = np.array([[[0, STAR, TREK, END], [0, FARGO, END, 8], [0, STAR, 8, WARS]]])
    context = network.apply(
        {"params": params}, *map(jnp.asarray, HISTORY.values()), np.array([4]), method="start"
    )
    cache = empty_cache(CONFIG, 1, 3, 4)
    for step in range(4):
        logits, cache = network.apply(
            {"params": params}, beams[:, :, step], cache, context, step, method="step"
        )
        for beam in range(3):
            forced = network.apply(
                {"params": params},
                **HISTORY,
                decoder_input_tokens=beams[:, beam],
                decoder_blocks=np.full((1, 4), 4),
            )
            np.testing.assert_allclose(logits[:, beam], forced[:, step], atol=2e-5)


@pytest.mark.parametrize(("next_item", "wanted"), [(FARGO, True), (8, False)])
def test_the_gate_follows_the_data(next_item, wanted):
    """A target that repeats pulls the gate up, another pushes it down."""
    batch = {
        **HISTORY,
        "decoder_input_tokens": np.array([[0]]),
        "decoder_target_tokens": np.array([[next_item]]),
        "decoder_loss_weights": np.array([[1]]),
        "decoder_blocks": np.array([[4]]),
    }
    fresh = init_params(Transformer(CONFIG), 0)
    gradient = jax.grad(lambda p: batch_loss(Transformer(CONFIG), p, batch, None)[0])(fresh)
    assert (gradient["repeat_gate"]["bias"][0] < 0) == wanted
