"""Item tokens that start from given embeddings."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from rec_align.models.lora import Lora
from rec_align.models.t5 import T5Config, Transformer
from rec_align.training import loop, sharding
from rec_align.training.item_embeddings import ItemEmbeddings
from rec_align.training.state import init_params, init_state

CONFIG = T5Config(
    vocab_size=128,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=16,
    logits_via_embedding=True,
)
FIRST, NUM_ITEMS = 90, 30  # then 8 rows that no token has


def embeddings(width: int) -> np.ndarray:
    """Rows of which the first directions are the largest."""
    rows = np.random.default_rng(0).normal(size=(NUM_ITEMS, width))
    return (7 * rows * 0.5 ** np.arange(width)).astype(np.float32)


def read(path, rows, width=16) -> ItemEmbeddings:
    np.save(path, rows)
    return ItemEmbeddings.read(
        path, width=width, vocab_size=FIRST + NUM_ITEMS, num_item_tokens=NUM_ITEMS
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("width", [16, 6])
def test_items_have_their_dot_products_and_the_tables_scale(tmp_path, tied, width):
    network = Transformer(dataclasses.replace(CONFIG, logits_via_embedding=tied))
    given = embeddings(width)
    found = read(tmp_path / "rows.npy", given)
    state, _ = init_state(
        network, optax.sgd(1.0), sharding.make_mesh(), seed=3, item_embeddings=found
    )
    params, fresh = state.params, init_params(network, 3)
    tables = [p["token_embedder"]["embedding"] for p in (params, fresh)]
    if not tied:
        more = [p["decoder"]["logits_dense"]["kernel"].T for p in (params, fresh)]
        tables = [np.stack(pair) for pair in zip(tables, more, strict=True)]
    after, before = (np.reshape(table, (-1, 128, 16)) for table in tables)
    assert len(after) == (1 if tied else 2)
    of_items = slice(FIRST, FIRST + NUM_ITEMS)
    for one, other in zip(after, before, strict=True):
        rows = one[of_items]
        scale = np.sqrt(np.square(other[:FIRST]).mean() / np.square(rows).mean())
        assert scale == pytest.approx(1, rel=1e-5)
        products, expected = rows @ rows.T, given @ given.T
        expected *= np.trace(products) / np.trace(expected)
        np.testing.assert_allclose(products, expected, atol=1e-5 * np.abs(expected).max())
        others = [np.delete(table, of_items, 0) for table in (one, other)]
        np.testing.assert_allclose(*others, atol=1e-6)  # fused otherwise
    for one, other in zip(*(jax.tree.leaves(p["encoder"]) for p in (params, fresh)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_scale_is_that_of_the_tokens_a_checkpoint_has(tmp_path):
    """Rows that were added for the items, all the mean of the others, say nothing of it."""
    network = Transformer(CONFIG)
    given = init_params(network, 1)
    table = np.array(given["token_embedder"]["embedding"])
    table[FIRST:] = table[:FIRST].mean(0)
    given["token_embedder"]["embedding"] = jax.numpy.asarray(table)
    found = read(tmp_path / "rows.npy", embeddings(16))
    state, _ = init_state(
        network, optax.sgd(1.0), sharding.make_mesh(), seed=3, given=given, item_embeddings=found
    )
    after = np.asarray(state.params["token_embedder"]["embedding"])
    np.testing.assert_array_equal(after[:FIRST], table[:FIRST])
    sizes = [np.square(rows).mean() for rows in (after[FIRST : FIRST + NUM_ITEMS], table[:FIRST])]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_wider_ones_keep_what_fits_best(tmp_path, dtype):
    given = embeddings(9).astype(dtype)
    found = read(tmp_path / "rows.npy", given, width=4).rows
    assert found.shape == (NUM_ITEMS, 4) and found.dtype == np.float32
    left, sizes, right = np.linalg.svd(given.astype(np.float64), full_matrices=False)
    best = (left[:, :4] * sizes[:4]) @ right[:4]
    np.testing.assert_allclose(found @ found.T, best @ best.T, rtol=1e-4, atol=1e-2)


def test_training_starts_from_them_once(tmp_path):
    """And goes on from its own checkpoint, wherever that has taken them."""
    network, rows = Transformer(CONFIG), read(tmp_path / "rows.npy", embeddings(16))
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 128, (2, 4))
    batch = {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": np.zeros((2, 1), int),
        "decoder_target_tokens": tokens[:, :1],
        "decoder_loss_weights": np.ones((2, 1), int),
    }

    def run(total_steps, **kwargs):
        outcome = loop.train(
            network, optax.sgd(1.0), lambda _: iter(lambda: batch, None), [], tmp_path / "run",
            loop.Schedule(total_steps=total_steps), **kwargs,
        )  # fmt: skip
        return np.asarray(outcome.state.params["token_embedder"]["embedding"])

    started = run(0, item_embeddings=rows)
    expected = rows.into(init_params(network, 0))["token_embedder"]["embedding"]
    np.testing.assert_allclose(started, expected, rtol=1e-6)
    moved = run(1, item_embeddings=rows)
    assert (moved != started).any()
    np.testing.assert_array_equal(run(1, item_embeddings=rows), moved)


def test_adapters_have_no_use_for_them(tmp_path):
    network = Transformer(dataclasses.replace(CONFIG, lora=Lora()))
    with pytest.raises(ValueError, match="adapters leave all embeddings as they are"):
        loop.train(
            network, optax.sgd(1.0), None, [], tmp_path, loop.Schedule(total_steps=1),
            initial_params=lambda like: like,
            item_embeddings=ItemEmbeddings(FIRST, embeddings(16)),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (embeddings(16)[1:], r"29 rows, .* with 30 tokens of their own: .*`atomic`"),
        (embeddings(16)[0], r"\[num_items, width\], is needed"),
        (np.full((NUM_ITEMS, 2), np.nan), "finite and not all 0"),
        (np.full((NUM_ITEMS, 2), 1e300), "finite and not all 0"),
        (np.zeros((NUM_ITEMS, 2)), "finite and not all 0"),
        (np.ones((NUM_ITEMS, 2), int), "of floats"),
        (np.array([["a"]] * NUM_ITEMS, object), "is no .npy of numbers"),
        (np.array([["a"]] * NUM_ITEMS), "is needed"),
    ],
)
def test_what_is_no_row_an_item_is_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "rows.npy", rows)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"some text"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "rows.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.npy is no \.npy of numbers"):
        ItemEmbeddings.read(tmp_path / "rows.npy", width=4, vocab_size=9, num_item_tokens=3)
