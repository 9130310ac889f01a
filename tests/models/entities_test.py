"""Embeddings of entities: what is added where, off as if they were not there, decoding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.models.entities import NUM_NUMBERS, EntityEmbed, places_inside
from rec_align.models.t5 import T5Config, Transformer, empty_cache
from rec_align.training.checkpoints import shapes
from rec_align.training.state import init_params

CONFIG = T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=16,
    dropout_rate=0.0,
)
BOTH = "two_dimensional"
# Two packed examples: a prompt, a candidate of two tokens, an item of three; then an item and EOS.
TOKENS = np.array([[5, 6, 7, 8, 9, 10, 11, 12, 1, 0]])
ENTITIES = np.array([[0, 1, 1, 2, 2, 2, 2, 2, 0, 0]])
SEGMENTS = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2, 0]])
DECODER_INPUTS = np.array([[0, 20, 0, 21]])
DECODER_SEGMENTS = np.array([[1, 1, 2, 2]])


def network(kind: str) -> Transformer:
    return Transformer(dataclasses.replace(CONFIG, entity_embedding=kind))


def apply(params, *features, kind=BOTH, **by_name):
    call = jax.jit(lambda params, features, by_name: network(kind).apply(
        {"params": params}, *features, **by_name
    ))  # fmt: skip
    return call(params, features, by_name)


PACKED = {"encoder_segment_ids": SEGMENTS, "decoder_segment_ids": DECODER_SEGMENTS}
BATCH = {"encoder_input_tokens": TOKENS, "decoder_input_tokens": DECODER_INPUTS, **PACKED}


@pytest.fixture(scope="module")
def fresh():
    return init_params(network(BOTH), 0)


@pytest.fixture(scope="module")
def uneven(fresh):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda p: np.asarray(p + 0.3 * rng.standard_normal(p.shape), np.float32), fresh
    )


def test_off_the_parameters_are_those_of_t5():
    def tree(kind):
        return shapes(jax.eval_shape(lambda: init_params(network(kind), 0)))

    plain = tree("none")
    numbers = {"entity_embedder/number": (256, 16)}
    assert tree("whole_word") == plain | numbers
    assert tree("two_dimensional") == plain | numbers | {"entity_embedder/place": (32, 16)}
    with pytest.raises(ValueError, match="entity_embedding is 'words'; it must be one of none, wh"):
        network("words")


def test_fresh_tables_change_nothing(fresh):
    plain = {name: part for name, part in fresh.items() if name != "entity_embedder"}
    np.testing.assert_array_equal(
        apply(fresh, **BATCH, encoder_entities=ENTITIES), apply(plain, **BATCH, kind="none")
    )


def test_places_begin_anew_with_each_entity_and_example():
    places = places_inside(jnp.asarray(ENTITIES), jnp.asarray(SEGMENTS))
    assert places.tolist() == [[0, 0, 1, 0, 1, 2, 0, 1, 0, 0]]
    # Without segments the item of the second example would go on.
    assert places_inside(jnp.asarray(ENTITIES))[0, 6] == 3


def test_tokens_of_an_entity_have_the_same_vector_and_others_none():
    table = np.random.default_rng(1).standard_normal((NUM_NUMBERS, 16)).astype(np.float32)
    params = {"number": table}
    entities = np.array([[0, 1, 1, 2, 0, NUM_NUMBERS, NUM_NUMBERS + 50]])
    added = EntityEmbed("whole_word", 16).apply({"params": params}, entities)
    zero, last = np.zeros(16), table[-1]
    expected = [zero, table[0], table[0], table[1], zero, last, last]
    np.testing.assert_array_equal(added[0], expected)

    params["place"] = 10 * table[:32]
    added = EntityEmbed("two_dimensional", 16).apply({"params": params}, entities)
    places = [0, 0, 1, 0, 0, 0, 0]
    expected = [e + (e.any() * 10 * table[p]) for e, p in zip(expected, places, strict=True)]
    np.testing.assert_allclose(added[0], expected, rtol=1e-6)


def test_the_gradient_reaches_the_rows_that_are_used(uneven, fresh):
    def loss(tables):
        params = {**uneven, "entity_embedder": tables}
        return (apply(params, **BATCH, encoder_entities=ENTITIES) ** 2).mean()

    grads = jax.jit(jax.grad(loss))(fresh["entity_embedder"])
    used = {name: np.flatnonzero(np.abs(grad).sum(axis=1)).tolist() for name, grad in grads.items()}
    assert used == {"number": [0, 1], "place": [0, 1, 2]}


def test_packing_changes_nothing(uneven):
    packed = apply(uneven, **BATCH, encoder_entities=ENTITIES)
    for segment, begin, end in ((1, 0, 6), (2, 6, 9)):
        mine = DECODER_SEGMENTS[0] == segment
        alone = apply(
            uneven,
            TOKENS[:, begin:end],
            DECODER_INPUTS[:, mine],
            encoder_entities=ENTITIES[:, begin:end],
        )
        np.testing.assert_allclose(packed[0, mine], alone[0], atol=2e-5)


def test_steps_equal_teacher_forcing(uneven):
    blocks, target_block = np.array([[0, 0, 0, 1, 1, 1]]), np.array([2])
    tokens, entities = TOKENS[:, :6], ENTITIES[:, :6]
    inputs = np.array([[0, 20, 30]])
    forced = apply(
        uneven,
        tokens,
        inputs,
        encoder_blocks=blocks,
        decoder_blocks=np.full((1, 3), 2),
        encoder_entities=entities,
    )

    @jax.jit
    def decode(params):
        variables = {"params": params}
        context = network(BOTH).apply(
            variables, tokens, blocks, target_block, entities, method="start"
        )
        cache, logits = empty_cache(CONFIG, tokens.shape, 1, 3), []
        for step in range(3):
            found, cache = network(BOTH).apply(
                variables, inputs[:, step][:, None], cache, context, step, method="step"
            )
            logits.append(found[:, 0])
        return jnp.stack(logits, axis=1)

    np.testing.assert_allclose(decode(uneven), forced, atol=2e-5)


def test_a_batch_without_entities_is_refused(uneven):
    with pytest.raises(ValueError, match=r"no encoder_entities: .*entities=True.*--entities"):
        apply(uneven, **BATCH)
