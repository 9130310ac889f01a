"""The network: sizes, who sees whom, and decoding step by step."""

import dataclasses

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rec_align.models.t5 import T5Config, Transformer, empty_cache
from rec_align.training.state import init_params

CONFIG = T5Config(
    vocab_size=128,
    emb_dim=32,
    num_heads=4,
    head_dim=8,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_dim=48,
    item_age_bias=True,
)


@pytest.fixture(scope="module")
def network():
    return Transformer(CONFIG)


@pytest.fixture(scope="module")
def params(network):
    # Not the initial zeros and ones, so that every parameter matters.
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda p: jnp.asarray(p + 0.1 * rng.standard_normal(p.shape), jnp.float32),
        init_params(network, 0),
    )


def apply(network, params, **features):
    features = {name: jnp.asarray(value) for name, value in features.items()}
    return np.asarray(jax.jit(network.apply)({"params": params}, **features))


def num_parameters(config: T5Config) -> int:
    """The formula of T5.1.1, written out by hand."""
    attention = 4 * config.emb_dim * config.num_heads * config.head_dim
    mlp = (len(config.mlp_activations) + 1) * config.emb_dim * config.mlp_dim
    encoder = config.num_encoder_layers * (attention + mlp + 2 * config.emb_dim)
    decoder = config.num_decoder_layers * (2 * attention + mlp + 3 * config.emb_dim)
    embeddings = config.vocab_size * config.emb_dim
    norms_and_positions = 2 * config.emb_dim + 2 * 32 * config.num_heads
    return encoder + decoder + 2 * embeddings + norms_and_positions


@pytest.mark.parametrize(
    ("size", "millions"),
    # FLAN-T5's published counts, in millions, from its model cards.
    [("small", 77), ("base", 248), ("large", 783), ("xl", 2850), ("xxl", 11135)],
)
def test_sizes(size, millions):
    gin.clear_config()
    gin.parse_config_file(f"gin/models/{size}.gin")
    network = gin.query_parameter("%MODEL").scoped_configurable_fn()
    shapes = jax.eval_shape(lambda: init_params(network, 0))
    count = sum(np.prod(leaf.shape, dtype=np.int64) for leaf in jax.tree.leaves(shapes))
    assert count == num_parameters(network.config)
    assert count == pytest.approx(millions * 1e6, rel=0.005)
    gin.clear_config()


def test_packing_changes_nothing(network, params):
    first = {"encoder": [5, 6, 7, 1], "inputs": [0, 9, 8], "blocks": [0, 0, 1, 2]}
    second = {"encoder": [4, 3, 1], "inputs": [0, 11], "blocks": [0, 1, 1]}
    alone = [
        apply(
            network,
            params,
            encoder_input_tokens=[example["encoder"]],
            decoder_input_tokens=[example["inputs"]],
            encoder_blocks=[example["blocks"]],
            decoder_blocks=[[2] * len(example["inputs"])],
        )[0]
        for example in (first, second)
    ]
    packed = apply(
        network,
        params,
        encoder_input_tokens=[first["encoder"] + second["encoder"] + [0, 0]],
        decoder_input_tokens=[first["inputs"] + second["inputs"] + [0]],
        encoder_segment_ids=[[1] * 4 + [2] * 3 + [0] * 2],
        decoder_segment_ids=[[1] * 3 + [2] * 2 + [0]],
        encoder_blocks=[first["blocks"] + second["blocks"] + [0, 0]],
        decoder_blocks=[[2] * 5 + [0]],
    )[0]
    np.testing.assert_allclose(packed[:3], alone[0], atol=2e-5)
    np.testing.assert_allclose(packed[3:5], alone[1], atol=2e-5)


def test_a_target_sees_only_earlier_blocks(network, params):
    """Many targets in one pass give what each gives alone, on its own shortened history."""
    tokens, blocks = [7, 20, 21, 30, 40, 41], [0, 1, 1, 2, 3, 3]
    targets = [[0, 50], [0, 51, 52], [0, 53]]  # of blocks 1, 2, 3
    together = apply(
        network,
        params,
        encoder_input_tokens=[tokens],
        decoder_input_tokens=[[token for target in targets for token in target]],
        encoder_blocks=[blocks],
        decoder_blocks=[[1, 1, 2, 2, 2, 3, 3]],
    )[0]
    start = 0
    for block, target in enumerate(targets, 1):
        seen = sum(b < block for b in blocks)
        alone = apply(
            network,
            params,
            encoder_input_tokens=[tokens[:seen]],
            decoder_input_tokens=[target],
            encoder_blocks=[blocks[:seen]],
            decoder_blocks=[[block] * len(target)],
        )[0]
        np.testing.assert_allclose(together[start : start + len(target)], alone, atol=2e-5)
        start += len(target)


def test_without_blocks_the_encoder_is_bidirectional(network, params):
    features = {"encoder_input_tokens": [[5, 6, 7, 8]], "decoder_input_tokens": [[0, 9]]}
    plain = apply(network, params, **features)
    zeros = apply(network, params, **features, encoder_blocks=[[0] * 4], decoder_blocks=[[1] * 2])
    np.testing.assert_array_equal(plain, zeros)
    encode = {"method": "encode"}
    tokens = jnp.array([[5, 6, 7, 8]])
    changed = jnp.array([[5, 6, 7, 9]])
    first = network.apply({"params": params}, tokens, **encode)[0, 0]
    assert not np.allclose(first, network.apply({"params": params}, changed, **encode)[0, 0])


def test_the_age_of_an_item_matters(network, params):
    """The same two item tokens in other blocks: only the age bias can tell."""
    features = {"encoder_input_tokens": [[5, 6]], "decoder_input_tokens": [[0]]}
    recent = apply(network, params, **features, encoder_blocks=[[1, 1]], decoder_blocks=[[2]])
    old = apply(network, params, **features, encoder_blocks=[[1, 1]], decoder_blocks=[[9]])
    # Both tokens have the same age, and a softmax does not see what is equal for all keys.
    np.testing.assert_allclose(recent, old, atol=1e-5)
    mixed = apply(network, params, **features, encoder_blocks=[[1, 2]], decoder_blocks=[[3]])
    older = apply(network, params, **features, encoder_blocks=[[1, 2]], decoder_blocks=[[30]])
    assert np.abs(mixed - older).max() > 1e-3


def test_steps_equal_teacher_forcing(network, params):
    rng = np.random.default_rng(1)
    batch, beam, length = 2, 3, 5
    encoder = rng.integers(2, 128, (batch, 6))
    encoder[1, 4:] = 0
    blocks = np.array([[0, 1, 1, 2, 2, 3], [0, 1, 1, 2, 0, 0]])
    target_block = np.array([4, 3])
    inputs = rng.integers(2, 128, (batch, beam, length))
    inputs[..., 0] = 0
    context = network.apply(
        {"params": params}, jnp.asarray(encoder), jnp.asarray(blocks), target_block, method="start"
    )
    cache = empty_cache(CONFIG, encoder.shape, beam, length)
    for step in range(length):
        logits, cache = network.apply(
            {"params": params}, inputs[:, :, step], cache, context, step, method="step"
        )
        for b in range(beam):
            forced = apply(
                network,
                params,
                encoder_input_tokens=encoder,
                decoder_input_tokens=inputs[:, b],
                encoder_blocks=blocks,
                decoder_blocks=np.broadcast_to(target_block[:, None], (batch, length)),
            )
            np.testing.assert_allclose(logits[:, b], forced[:, step], atol=2e-5)


def test_vocab_size_from_the_vocabulary():
    assert T5Config().with_vocab_size(4101).vocab_size == 4224
    assert T5Config(vocab_size=32128).with_vocab_size(32100).vocab_size == 32128
    with pytest.raises(ValueError, match="32100 tokens"):
        T5Config(vocab_size=4096).with_vocab_size(32100)


def test_parameter_names_are_t5x(params):
    names = {
        "/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params)
    }
    assert {
        "token_embedder/embedding",
        "encoder/relpos_bias/rel_embedding",
        "encoder/layers_1/attention/query/kernel",
        "encoder/layers_0/mlp/wi_1/kernel",
        "encoder/encoder_norm/scale",
        "decoder/layers_0/encoder_decoder_attention/out/kernel",
        "decoder/layers_1/pre_cross_attention_layer_norm/scale",
        "decoder/logits_dense/kernel",
    } <= names


@pytest.mark.parametrize("per_row", [True, False])
def test_dropout_masks_are_of_rows_or_of_positions(per_row):
    """Every dropout of the network has one mask a row, or one a position."""
    seen = set()

    def look(call, args, kwargs, context):
        if not isinstance(context.module, nn.Dropout):
            return call(*args, **kwargs)
        mask = call(jnp.ones_like(args[0]), **kwargs)
        seen.add(bool((mask == mask[..., :1, :]).all()))
        return mask * args[0]

    network = Transformer(dataclasses.replace(CONFIG, dropout_rate=0.5, dropout_per_row=per_row))
    tokens = jnp.full((2, 12), 7)
    params = init_params(network, 0)
    with nn.intercept_methods(look):
        network.apply(
            {"params": params},
            tokens,
            tokens,
            enable_dropout=True,
            rngs={"dropout": jax.random.key(0)},
        )
    assert seen == {per_row}
