"""The repeat bias: what would repeat, against a search by hand; decoding; what it learns."""

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
    repeat_bias=True,
    dropout_rate=0.0,
)
WARS, TREK, STAR, FARGO, END = 4, 5, 6, 7, 3
# Star Wars; Star Trek; Fargo
HISTORY = {
    "encoder_input_tokens": np.array([[9, STAR, WARS, END, STAR, TREK, END, FARGO, END, 0]]),
    "encoder_blocks": np.array([[0, 1, 1, 1, 2, 2, 2, 3, 3, 0]]),
}


def repeating(encoder_tokens, encoder_blocks, decoder_tokens, decoder_blocks, *segments):
    of_encoder, of_decoder = segments or (None, None)
    cross = masks.cross_bias(encoder_tokens, of_encoder, of_decoder, encoder_blocks, decoder_blocks)
    history = repeats.read_history(jnp.asarray(encoder_tokens), encoder_blocks, of_encoder, cross)
    places = repeats.places_of_targets(history, decoder_tokens)
    return np.asarray(repeats.repeating_tokens(history, places, CONFIG.vocab_size))


def by_hand(encoder_tokens, encoder_blocks, decoder_tokens, decoder_blocks, segments):
    """The same for one row, item by item and target by target."""
    of_encoder, of_decoder = segments
    keys = list(zip(of_encoder, encoder_blocks, strict=True))
    items = {}  # (segment, block) -> tokens; blocks ascend in a segment
    for key, token in zip(keys, encoder_tokens, strict=True):
        items.setdefault(key, []).append(token)
    found = np.zeros((len(decoder_tokens), CONFIG.vocab_size), bool)
    for t, token in enumerate(decoder_tokens):
        if token == 0:
            begin = t
        prefix = list(decoder_tokens[begin + 1 : t + 1])
        for (segment, block), tokens in items.items():
            is_seen = segment == of_decoder[t] and 0 < block < decoder_blocks[t]
            is_longer = len(prefix) < min(len(tokens), repeats.LONGEST)
            if is_seen and is_longer and tokens[: len(prefix)] == prefix:
                found[t, tokens[len(prefix)]] = True
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
    inputs, targets = 40, 60
    # Few tokens, so that prefixes meet often.
    encoder_tokens = rng.integers(2, 5, inputs)
    of_encoder = np.sort(rng.integers(1, 4, inputs))
    steps = rng.integers(0, 2, inputs)
    blocks = [steps[of_encoder == segment].cumsum() for segment in (1, 2, 3)]
    encoder_blocks = np.concatenate(blocks)
    decoder_tokens = np.where(rng.random(targets) < 0.3, 0, rng.integers(2, 5, targets))
    decoder_tokens[0] = 0
    number = (decoder_tokens == 0).cumsum() - 1
    decoder_blocks = rng.integers(1, 15, targets)[number]
    of_decoder = np.sort(rng.integers(1, 4, targets))[number]
    row = (encoder_tokens, encoder_blocks, decoder_tokens, decoder_blocks)
    segments = (of_encoder, of_decoder)
    found = repeating(*(array[None] for array in (*row, *segments)))[0]
    assert found.sum() > 20
    np.testing.assert_array_equal(found, by_hand(*row, segments))


def test_nothing_after_an_item_is_read():
    """Items without a separator: what follows Trek is Fargo, the item that is asked for."""
    tokens, blocks = np.array([[STAR, TREK, FARGO]]), np.array([[1, 1, 2]])
    found = repeating(tokens, blocks, np.array([[0, STAR, TREK]]), np.array([[2, 2, 2]]))
    assert [np.flatnonzero(row).tolist() for row in found[0]] == [[STAR], [TREK], []]


def test_long_items_repeat_as_far_as_tokens_are_compared(params):
    """An item of 20 tokens, in teacher forcing and step by step."""
    item = np.arange(3, 23)
    target = np.concatenate([[0], item[:-1]])[None]
    tokens, blocks = item[None], np.ones((1, 20), int)
    found = repeating(tokens, blocks, target, 2 * np.ones((1, 20), int))[0]
    for place, token in enumerate(item):
        assert np.flatnonzero(found[place]).tolist() == [token] * (place < repeats.LONGEST)
    forced, stepped = both_ways(params, tokens, blocks, target[None], 2)
    np.testing.assert_allclose(stepped, forced, atol=2e-5)


@pytest.fixture(scope="module")
def params():
    fresh = init_params(Transformer(CONFIG), 0)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda p: np.asarray(p + 0.3 * rng.standard_normal(p.shape), np.float32), fresh
    )


def without_bias(params):
    network = Transformer(dataclasses.replace(CONFIG, repeat_bias=False))
    return network, {name: part for name, part in params.items() if name != "repeat_bias"}


def test_a_fresh_bias_changes_nothing():
    features = {**HISTORY, "decoder_input_tokens": np.array([[0, STAR]])}
    features["decoder_blocks"] = np.full((1, 2), 4)
    fresh = init_params(Transformer(CONFIG), 0)
    network, rest = without_bias(fresh)
    np.testing.assert_array_equal(
        Transformer(CONFIG).apply({"params": fresh}, **features),
        network.apply({"params": rest}, **features),
    )


@pytest.mark.parametrize("blocks", [None, np.zeros((1, 10), int)])
def test_without_blocks_there_are_no_repeats(params, blocks):
    features = {"encoder_input_tokens": HISTORY["encoder_input_tokens"]}
    features |= {"decoder_input_tokens": np.array([[0, STAR]])}
    if blocks is not None:
        features |= {"encoder_blocks": blocks, "decoder_blocks": np.ones((1, 2), int)}
    network, rest = without_bias(params)
    np.testing.assert_array_equal(
        Transformer(CONFIG).apply({"params": params}, **features),
        network.apply({"params": rest}, **features),
    )


def both_ways(params, tokens, blocks, beams, target_block):
    """Logits [batch, beam, length, vocab] of `beams`: by teacher forcing, and step by step."""
    network = Transformer(CONFIG)
    batch, beam, length = beams.shape
    target_blocks = None if blocks is None else np.full((batch,), target_block)
    context = network.apply(
        {"params": params}, jnp.asarray(tokens), blocks, target_blocks, method="start"
    )
    cache = empty_cache(CONFIG, tokens.shape, beam, length)
    stepped = []
    for step in range(length):
        logits, cache = network.apply(
            {"params": params}, beams[:, :, step], cache, context, step, method="step"
        )
        stepped.append(logits)
    forced = [
        network.apply(
            {"params": params},
            tokens,
            beams[:, number],
            encoder_blocks=blocks,
            decoder_blocks=None if blocks is None else np.full((batch, length), target_block),
        )
        for number in range(beam)
    ]
    return np.stack(forced, axis=1), np.stack(stepped, axis=2)


@pytest.mark.parametrize("with_blocks", [True, False])
def test_steps_equal_teacher_forcing(params, with_blocks):
    """Three beams: one on the way to each item of the history, the last leaves it."""
    beams = np.array([[[0, STAR, TREK, END], [0, FARGO, END, 8], [0, STAR, 8, WARS]]])
    tokens, blocks = map(jnp.asarray, HISTORY.values())
    forced, stepped = both_ways(params, tokens, blocks if with_blocks else None, beams, 4)
    np.testing.assert_allclose(stepped, forced, atol=2e-5)


@pytest.mark.parametrize(("next_item", "wanted"), [(FARGO, True), (8, False)])
def test_the_bias_follows_the_data(next_item, wanted):
    """A target that repeats pulls it up, another pushes it down."""
    batch = {
        **HISTORY,
        "decoder_input_tokens": np.array([[0]]),
        "decoder_target_tokens": np.array([[next_item]]),
        "decoder_loss_weights": np.array([[1]]),
        "decoder_blocks": np.array([[4]]),
    }
    fresh = init_params(Transformer(CONFIG), 0)
    gradient_of = jax.jit(jax.grad(lambda p, b: batch_loss(Transformer(CONFIG), p, b, None)[0]))
    gradient = gradient_of(fresh, batch)
    assert (gradient["repeat_bias"]["bias"][0] < 0) == wanted
