"""Repeats: a learned logit for going on as an item of the history does.

A network that scores by resemblance to the history scores the history itself first, and the few
numbers of a decoder state cannot say of fifty items that just these are not wanted. So the output
layer is told which tokens would repeat: those that follow, in a visible item of the history, the
very tokens that the target has so far. Whether a repeat is wanted is learned. Networks that tell
repeats from new items are known in recommendation since RepeatNet (Ren et al. 2019, arXiv
1812.02646); here it is one logit more on the tokens, without a distribution of its own.

Worked example: history 'Star Wars', 'Star Trek', both seen; the target so far 'Star': the tokens
'Wars' and 'Trek' would repeat. At the target's begin it is 'Star' alone, so an unseen 'Star Dust'
pays for its first word, and for no other. The end of an item is not told: 'Alien', seen, and
'Aliens' differ for the bias only after 'Alien' where the tokens do.

It works on histories in blocks, see `masks`, and does nothing where all blocks are 0. What begins a
block counts as an item: in the rating tasks' histories the ratings do so too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models.entities import differs_from_the_one_before
from rec_align.models.partitioning import constrain

Array = jax.Array

LONGEST = 16  # tokens of a target that are compared; of a longer one the rest repeats nothing


class History(NamedTuple):
    """What the targets of a batch may repeat.

    Attributes:
      tokens: [batch, inputs length] int32.
      starts: [batch, targets or 1, inputs length] bool, the first tokens of the items that a target
        sees.
      goes_on: [batch, inputs length] bool, whether a token is of the same item as the one before.
    """

    tokens: Array
    starts: Array
    goes_on: Array


def read_history(
    tokens: Array, blocks: Array, segment_ids: Array | None, cross_bias: Array
) -> History:
    """The history of the encoder's features.

    Args:
      tokens: [batch, inputs length] int32, as the encoder reads them.
      blocks: the same of blocks.
      segment_ids: the same of packed examples, or None.
      cross_bias: [batch, 1, targets or 1, inputs length], of `masks.cross_bias`.
    """
    begins = differs_from_the_one_before(blocks)
    if segment_ids is not None:
        begins = begins | differs_from_the_one_before(segment_ids)
    starts = (begins & (blocks > 0))[:, None, :] & (cross_bias[:, 0] == 0.0)
    return History(tokens, starts, ~begins)


def _after(places: Array, tokens: Array, history: History) -> Array:
    """The places whose token was this one, one place further and still in the item."""
    same = places & (history.tokens[:, None, :] == tokens[:, :, None])
    return jnp.pad(same[..., :-1], ((0, 0), (0, 0), (1, 0))) & history.goes_on[:, None, :]


def places_of_targets(history: History, decoder_input_tokens: Array) -> Array:
    """Where the history goes on as each token of each target may.

    Args:
      history: with its starts for each target token.
      decoder_input_tokens: [batch, targets length] int32, BOS (0) at the start of each target.

    Returns:
      [batch, targets length, inputs length] bool.
    """
    begins = (decoder_input_tokens == 0)[:, :, None]
    found = now = history.starts & begins
    for _ in range(LONGEST - 1):
        now = jnp.pad(now[:, :-1], ((0, 0), (1, 0), (0, 0)))
        now = _after(now, decoder_input_tokens, history) & ~begins
        found = found | now
    return found


def places_of_beams(history: History, places: Array, tokens: Array, step: Array) -> Array:
    """The same for the beams of one target, one token at a time.

    Args:
      history: with one set of starts a row.
      places: [batch, beam, inputs length] bool, of the step before; at step 0 they do not count.
      tokens: [batch, beam] int32, what each beam has read last; at step 0 BOS.
      step: [] int32.

    Returns:
      [batch, beam, inputs length] bool.
    """
    now = jnp.where(step == 0, history.starts, _after(places, tokens, history))
    return now & (step < LONGEST)


def repeating_tokens(history: History, places: Array, vocab_size: int) -> Array:
    """Which tokens would repeat, of `places`: bool [batch, targets, vocab]."""

    def of_row(tokens: Array, columns: Array) -> Array:
        # A whole column an update: token by token there would be hundreds of times as many.
        zeros = jnp.zeros((vocab_size, columns.shape[1]), jnp.bool)
        return zeros.at[tokens].max(columns)

    columns = jax.vmap(of_row)(history.tokens, places.swapaxes(1, 2))
    return constrain(columns.swapaxes(1, 2), "vocab")


class RepeatBias(nn.Module):
    """What is added to the logits of repeats: linear in the decoder's state, 0 at first."""

    @nn.compact
    def __call__(
        self, x: Array, history: History | None, places: Array | None, vocab_size: int
    ) -> Array:
        """[batch, targets, emb_dim] -> float32 [batch, targets, vocab], 0 without a history."""
        zeros = nn.initializers.zeros
        # T5X's name for what it splits over no device.
        kernel = param_with_axes(
            "kernel", zeros, (x.shape[-1], 1), jnp.float32, axes=("embed", "relpos_buckets")
        )
        bias = param_with_axes("bias", zeros, (1,), jnp.float32, axes=("relpos_buckets",))
        if history is None:
            return jnp.zeros(())
        wanted = jnp.dot(x.astype(jnp.float32), kernel) + bias
        return jnp.where(repeating_tokens(history, places, vocab_size), wanted, 0.0)
