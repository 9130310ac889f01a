"""Who may see whom: attention biases from segments and blocks.

One encoder pass serves many targets through two integer features beside the tokens:

- `encoder_blocks` [batch, inputs length]: a token sees the tokens of its own and earlier blocks.
- `decoder_blocks` [batch, targets length]: a target sees the encoder's earlier blocks only.

An ordinary T5 example has encoder blocks 0 and decoder blocks 1: everything sees everything. A
history of n items with item t in block t and the target 'item t' in block t gives n next-item
targets for one encoder pass, each seeing only the items before it.

Worked example (one row): prompt P, items A A B, targets a b (next item after nothing, after A):
  encoder_blocks 0 1 1 2, decoder_blocks 1 2: target a sees P; target b sees P A A.
"""

import jax
import jax.numpy as jnp

from rec_align.models.layers import MASKED

Array = jax.Array


def _to_bias(visible: Array) -> Array:
    """[batch, query, key] bool -> [batch, 1, query, key] float32."""
    return jnp.where(visible, 0.0, MASKED)[:, None]


def _same(queries: Array, keys: Array) -> Array:
    return queries[:, :, None] == keys[:, None, :]


def encoder_bias(tokens: Array, segment_ids: Array | None, blocks: Array | None) -> Array:
    """[batch, length] tokens (0 = padding), segments, blocks -> [batch, 1, length, length]."""
    visible = (tokens > 0)[:, None, :]
    if segment_ids is not None:
        visible = visible & (_same(segment_ids, segment_ids))
    if blocks is not None:
        visible = visible & (blocks[:, None, :] <= blocks[:, :, None])
    return _to_bias(visible)


def decoder_bias(input_tokens: Array) -> Array:
    """A target token sees the earlier tokens of its own target.

    Every target starts with the BOS token 0, so the count of zeros so far tells targets apart,
    packed or not: [batch, length] -> [batch, 1, length, length].
    """
    target_ids = jnp.cumsum(input_tokens == 0, axis=-1)
    position = jnp.arange(input_tokens.shape[-1])
    return _to_bias(_same(target_ids, target_ids) & (position[None, :] <= position[:, None]))


def cross_bias(
    encoder_tokens: Array,
    encoder_segment_ids: Array | None,
    decoder_segment_ids: Array | None,
    encoder_blocks: Array | None,
    decoder_blocks: Array | None,
) -> Array:
    """Which encoder tokens a target sees: -> [batch, 1, targets length or 1, inputs length]."""
    visible = (encoder_tokens > 0)[:, None, :]
    if encoder_segment_ids is not None:
        visible = visible & (_same(decoder_segment_ids, encoder_segment_ids))
    if encoder_blocks is not None:
        visible = visible & (encoder_blocks[:, None, :] < decoder_blocks[:, :, None])
    return _to_bias(visible)
