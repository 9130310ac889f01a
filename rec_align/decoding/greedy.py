"""Free greedy decoding, for targets that are text and no item (ratings, explanations)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rec_align.decoding.beam_search import BOS_ID, StepFn, check_cache
from rec_align.decoding.trie import EOS_ID, PAD_ID


def greedy_decode(step_fn: StepFn, cache: Any, *, batch_size: int, max_steps: int) -> jax.Array:
    """Takes the most probable token (the lowest id of equals) at each step until all have ended.

    Args:
      step_fn: as in `beam_search`, always with beam 1.
      cache: pytree of arrays [batch, 1, ...].
      batch_size: rows.
      max_steps: tokens at most, EOS included.

    Returns:
      [batch, max_steps] int32, padded with 0 after EOS; a row cut at `max_steps` has no EOS.

    Raises:
      ValueError: `max_steps` below 1, or a cache leaf without [batch, 1] in front.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps={max_steps}; it must be at least 1")
    check_cache(cache, batch_size, (1,))

    def unfinished(state: tuple) -> jax.Array:
        step, _, ended, _, _ = state
        return (step < max_steps) & ~ended.all()

    def advance(state: tuple) -> tuple:
        step, last, ended, tokens, cache = state
        logits, cache = step_fn(last[:, None], cache, step)  # [batch, 1, vocab]
        last = jnp.where(ended, PAD_ID, jnp.argmax(logits[:, 0], axis=-1)).astype(jnp.int32)
        tokens = lax.dynamic_update_slice_in_dim(tokens, last[:, None], step, axis=1)
        return step + 1, last, ended | (last == EOS_ID), tokens, cache

    state = (
        jnp.int32(0),
        jnp.full(batch_size, BOS_ID, jnp.int32),
        jnp.zeros(batch_size, bool),
        jnp.full((batch_size, max_steps), PAD_ID, jnp.int32),
        cache,
    )
    return lax.while_loop(unfinished, advance, state)[3]
