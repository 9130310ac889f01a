"""Repeats: a learned logit for going on as an item of the history does.

A network that scores by resemblance to the history scores the history itself first, and 64 numbers
a target cannot say of fifty items that these are not wanted. So the output layer is told which
tokens would repeat: those that follow, in a visible item of the history, the very tokens that the
target has so far. Whether people repeat is the data's affair: on films the gate learns that they
do not, on groceries that they do. Copying by a learned gate is See et al. 2017's (arXiv
1704.04368), with the sign left open.

Worked example: history 'Star Wars', 'Star Trek', both seen; the target so far 'Star': the tokens
'Wars' and 'Trek' would repeat. At the target's begin it is 'Star' alone.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models.entities import differs_from_the_one_before
from rec_align.models.partitioning import constrain

Array = jax.Array

LONGEST = 16  # tokens of a target that are compared; of a longer one the rest repeats nothing


class RepeatGate(nn.Module):
    """How much a repeat is wanted, by the decoder's state: 0 at first."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., emb_dim] -> float32 [..., 1]."""
        zeros = nn.initializers.zeros
        # T5X's name for what it splits over no device.
        kernel = param_with_axes(
            "kernel", zeros, (x.shape[-1], 1), jnp.float32, axes=("embed", "relpos_buckets")
        )
        bias = param_with_axes("bias", zeros, (1,), jnp.float32, axes=("relpos_buckets",))
        return jnp.dot(x.astype(jnp.float32), kernel) + bias


def visible_starts(blocks: Array, segment_ids: Array | None, cross_bias: Array) -> Array:
    """Which first tokens of history items each target sees.

    Args:
      blocks: [batch, inputs length] int32, as in `masks`.
      segment_ids: the same of packed examples, or None.
      cross_bias: [batch, 1, targets or 1, inputs length], of `masks.cross_bias`.

    Returns:
      [batch, targets or 1, inputs length] bool.
    """
    starts = differs_from_the_one_before(blocks)
    if segment_ids is not None:
        starts = starts | differs_from_the_one_before(segment_ids)
    return (starts & (blocks > 0))[:, None, :] & (cross_bias[:, 0] == 0.0)


def going_on(places: Array, tokens: Array, encoder_tokens: Array) -> Array:
    """The places of the history after one more token of the target.

    Args:
      places: [batch, targets, inputs length] bool, where the history goes on as the target may.
      tokens: [batch, targets] int32, the token that the target did go on with.
      encoder_tokens: [batch, inputs length] int32.

    Returns:
      bool like `places`: those whose token was this one, one place further.
    """
    same = places & (encoder_tokens[:, None, :] == tokens[:, :, None])
    return jnp.pad(same[..., :-1], ((0, 0), (0, 0), (1, 0)))


def places_of_targets(starts: Array, decoder_input_tokens: Array, encoder_tokens: Array) -> Array:
    """Where the history goes on as each token of each target may.

    Args:
      starts: [batch, targets length, inputs length] bool, the first tokens of items that a target
        sees.
      decoder_input_tokens: [batch, targets length] int32, BOS (0) at the start of each target.
      encoder_tokens: [batch, inputs length] int32.

    Returns:
      [batch, targets length, inputs length] bool.
    """
    begins = (decoder_input_tokens == 0)[:, :, None]
    found = now = starts & begins
    for _ in range(LONGEST - 1):
        now = jnp.pad(now[:, :-1], ((0, 0), (1, 0), (0, 0)))
        now = going_on(now, decoder_input_tokens, encoder_tokens) & ~begins
        found = found | now
    return found


def places_of_beams(starts: Array, tokens: Array, step: Array, encoder_tokens: Array) -> Array:
    """The same for beams of one target, of which more than `step` tokens are not yet known.

    Args:
      starts: [batch, 1, inputs length] bool.
      tokens: [batch, beam, length] int32, what each beam has read: BOS, then its tokens.
      step: [] int32, the last of them that counts.
      encoder_tokens: [batch, inputs length] int32.

    Returns:
      [batch, beam, inputs length] bool.
    """
    now = jnp.broadcast_to(starts, (*tokens.shape[:2], starts.shape[-1]))
    for number in range(1, min(tokens.shape[-1], LONGEST)):
        further = going_on(now, tokens[..., number], encoder_tokens)
        now = jnp.where(number <= step, further, now)
    return now & (step < LONGEST)


def repeating_tokens(places: Array, encoder_tokens: Array, vocab_size: int) -> Array:
    """Which tokens would repeat, of `places`: bool [batch, targets, vocab]."""
    batch, targets, _ = places.shape
    # A whole column an update: token by token a CPU would take a hundred times as long.
    columns = jnp.zeros((batch, vocab_size, targets), jnp.bool)
    rows = jnp.arange(batch)[:, None]
    columns = columns.at[rows, encoder_tokens].max(places.swapaxes(1, 2))
    return constrain(columns.swapaxes(1, 2), "vocab")
