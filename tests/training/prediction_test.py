"""Prediction with a real network: against brute force over the catalogue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from rec_align.decoding import entity_tries
from rec_align.decoding.live_trie import LiveTrie
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.t5 import T5Config, Transformer
from rec_align.training import prediction
from rec_align.training.prediction import Predictor
from rec_align.training.sharding import make_mesh
from rec_align.training.state import init_params

CONFIG = T5Config(
    vocab_size=128,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=2,
    mlp_dim=16,
    item_age_bias=True,
    repeat_bias=True,
)
NETWORK = Transformer(CONFIG)


@pytest.fixture(scope="module")
def catalogue() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = {tuple(rng.integers(2, 9, rng.integers(1, 5))) for _ in range(60)}
    tokens = np.zeros((len(rows), 5), np.int32)
    for index, row in enumerate(sorted(rows)):
        tokens[index, : len(row) + 1] = [*row, 1]
    return tokens


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda p: jnp.asarray(p + 0.3 * rng.standard_normal(p.shape), jnp.float32),
        init_params(NETWORK, 0),
    )


@pytest.fixture(scope="module")
def users(catalogue) -> dict[str, np.ndarray]:
    """Two histories, of a long and a short item of the catalogue and of a short one alone.

    The first is longer than what inputs are at least cut to, and padding follows both.
    """
    lengths = (catalogue > 1).sum(axis=1)
    long, short = catalogue[lengths.argmax()], catalogue[lengths.argmin()]
    tokens, blocks = np.zeros((2, 2, 100), np.int32)
    history = [30, *np.tile([*long[:4], short[0]], 7)]
    tokens[0, : len(history)], tokens[1, :2] = history, [40, short[0]]
    blocks[0, 1 : len(history)] = np.repeat(np.arange(1, 15), [4, 1] * 7)
    blocks[1, 1] = 1
    return {
        "encoder_input_tokens": tokens,
        "encoder_blocks": blocks,
        "decoder_blocks": np.array([[15, 15], [2, 0]], np.int32),
    }


@jax.jit
def apply(params, tokens, decoder_inputs, **blocks):
    return NETWORK.apply({"params": params}, tokens, decoder_inputs, **blocks)


@pytest.fixture(scope="module")
def scores(catalogue, params, users) -> np.ndarray:
    """[users, items] log-probabilities, one teacher-forced item at a time: brute force."""
    scores = np.zeros((2, len(catalogue)))
    for user in range(2):
        length = int((users["encoder_input_tokens"][user] > 0).sum())
        for index, row in enumerate(catalogue):
            logits = apply(
                params,
                users["encoder_input_tokens"][None, user, :length],
                np.concatenate([[0], row[:-1]])[None],
                encoder_blocks=users["encoder_blocks"][None, user, :length],
                decoder_blocks=np.full((1, len(row)), users["decoder_blocks"][user, 0]),
            )
            log_probs = np.take_along_axis(np.asarray(logits[0]), row[:, None], axis=1)[:, 0]
            log_probs -= jax.nn.logsumexp(logits[0], axis=-1)
            scores[user, index] = log_probs[row > 0].sum()  # what follows EOS is padding
    return scores


def test_recommend_equals_brute_force(catalogue, params, users, scores):
    predictor = Predictor(
        NETWORK, params, CatalogueTrie.build(catalogue), beam_size=len(catalogue), num_results=20
    )
    found = predictor.recommend(users)
    expected = np.argsort(-scores, axis=1)[:, :20]
    np.testing.assert_array_equal(found.item_indices, expected)
    np.testing.assert_allclose(
        found.log_probs, np.take_along_axis(scores, expected, axis=1), atol=1e-4
    )
    assert found.num_exact.tolist() == [20, 20]


def test_recommend_follows_a_live_trie(catalogue, params, users, scores):
    num_items = len(catalogue)
    mesh = make_mesh()
    whole = NamedSharding(mesh, PartitionSpec())
    live = LiveTrie(catalogue, vocab_size=CONFIG.vocab_size, sharding=whole)
    predictor = Predictor(
        NETWORK, params, live, mesh=mesh, beam_size=num_items, num_results=num_items
    )

    def assert_these_are_found(items):
        found = predictor.recommend(users)
        expected = items[np.argsort(-scores[:, items], axis=1)]
        np.testing.assert_array_equal(found.item_indices[:, : len(items)], expected)
        assert (found.item_indices[:, len(items) :] == -1).all()
        assert found.num_exact.tolist() == [len(items)] * 2

    everything = np.arange(num_items)
    assert_these_are_found(everything)
    live.remove(everything[::3])
    assert_these_are_found(everything[everything % 3 > 0])
    live.add(everything[::6], catalogue[::6])
    assert_these_are_found(everything[(everything % 3 > 0) | (everything % 6 == 0)])


def test_rank_equals_brute_force(catalogue, params, users, scores):
    candidates = np.array([[3, 0, 7], [5, 9, 2]])
    predictor = Predictor(NETWORK, params, CatalogueTrie.build(catalogue))
    found = predictor.rank(users | {"candidate_tokens": catalogue[candidates]})
    np.testing.assert_allclose(found, np.take_along_axis(scores, candidates, axis=1), atol=1e-4)


def test_no_token_is_cut_with_the_padding(users):
    entities = users["encoder_blocks"] + 1
    batch = users | {"encoder_entities": entities}
    cut = prediction._without_padding(prediction.user_inputs(batch))
    assert cut.tokens.shape == cut.blocks.shape == cut.entities.shape == (2, 64)
    for kept, whole in zip((cut.tokens, cut.blocks), users.values(), strict=False):
        np.testing.assert_array_equal(kept, whole[:, :64])
    np.testing.assert_array_equal(cut.entities, entities[:, :64])
    assert (cut.tokens > 0).sum() == (users["encoder_input_tokens"] > 0).sum()


def test_generate_takes_the_most_probable_token(catalogue, params, users):
    predictor = Predictor(NETWORK, params, CatalogueTrie.build(catalogue), max_text_tokens=4)
    found = predictor.generate(users)
    inputs = np.concatenate([np.zeros((2, 1), int), found[:, :-1]], axis=1)
    logits = apply(
        params,
        users["encoder_input_tokens"],
        inputs,
        encoder_blocks=users["encoder_blocks"],
        decoder_blocks=np.repeat(users["decoder_blocks"][:, :1], 4, axis=1),
    )
    for row, expected in zip(found, np.asarray(logits.argmax(-1)), strict=True):
        ended = np.cumsum(row == 1) - (row == 1) > 0
        np.testing.assert_array_equal(row[~ended], expected[~ended])
        assert (row[ended] == 0).all()


def test_fill_takes_the_best_value_of_each_rows_kind(catalogue, params, users, scores):
    """Two kinds whose values have different lengths, and a row of either kind."""
    is_short = (catalogue > 0).sum(axis=1) < 4
    values = {1: catalogue[is_short][:, :3], 4: catalogue[~is_short]}
    scores = {1: scores[:, is_short], 4: scores[:, ~is_short]}
    predictor = Predictor(
        NETWORK,
        params,
        CatalogueTrie.build(catalogue),
        beam_size=len(catalogue),
        open_entity_tries=lambda: entity_tries.build(values),
    )
    for kinds in ([1, 4], [4, 1]):
        found = predictor.fill(users | {"entity_kind": np.array(kinds, np.int32)})
        for row, kind in enumerate(kinds):
            best = values[kind][scores[kind][row].argmax()]
            assert found[row][found[row] > 0].tolist() == best[best > 0].tolist()
    assert not predictor.fill(users | {"entity_kind": np.array([2, 2], np.int32)}).any()
