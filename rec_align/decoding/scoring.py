"""Exact scores of given items: candidate ranking."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rec_align.decoding.beam_search import BOS_ID, StepFn, check_cache
from rec_align.decoding.trie import PAD_ID


def score_items(step_fn: StepFn, cache: Any, item_tokens: jax.Array) -> jax.Array:
    """Sums the log-probabilities of each item's tokens, EOS included, padding left out.

    A user's items are decoded side by side as the beams of a search are, so the work grows
    linearly with their number; it ends with the longest item's last token.

    Example: a `step_fn` of uniform logits over 10 tokens scores the item [7, 1, 0] as
    2 * log(1 / 10).

    Args:
      step_fn: as in `beam_search`; the first call has beam 1, the others one beam an item.
      cache: pytree of arrays [batch, 1, ...].
      item_tokens: [batch, items, length] int32, 0 after EOS; each user has items of its own.

    Returns:
      [batch, items] float32, natural log; -inf for a row of padding only, which is no item.

    Raises:
      ValueError: item_tokens has another rank, or a cache leaf has not [batch, 1] in front.
    """
    item_tokens = jnp.asarray(item_tokens)
    if item_tokens.ndim != 3:
        raise ValueError(
            f"item_tokens has shape {item_tokens.shape}; it must be [batch, items, length]"
        )
    batch_size, num_items, _ = item_tokens.shape
    check_cache(cache, batch_size, (1,))
    tokens = jnp.moveaxis(item_tokens, 2, 0)  # [length, batch, items]

    # All items begin with BOS, so what follows it is computed once a user.
    begin = jnp.full((batch_size, 1), BOS_ID, jnp.int32)
    logits, cache = step_fn(begin, cache, jnp.int32(0))
    scores = _log_probs(logits, tokens[0][:, None])[:, 0]
    scores = jnp.where(tokens[0] == PAD_ID, -jnp.inf, scores)

    def one_further(step: jax.Array, state: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
        scores, cache = state
        logits, cache = step_fn(tokens[step - 1], cache, step)
        log_probs = _log_probs(logits, tokens[step][..., None])[..., 0]
        return scores + jnp.where(tokens[step] == PAD_ID, 0.0, log_probs), cache

    cache = jax.tree.map(lambda leaf: jnp.repeat(leaf, num_items, axis=1), cache)
    longest = (item_tokens != PAD_ID).sum(axis=2).max()
    return lax.fori_loop(1, longest, one_further, (scores, cache))[0]


def _log_probs(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """[batch, beam, vocab], [batch, beam, n] -> float32 [batch, beam, n]."""
    chosen = jnp.take_along_axis(logits, tokens, axis=-1).astype(jnp.float32)
    return chosen - jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1, keepdims=True)
