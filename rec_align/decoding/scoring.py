"""Exact scores of given items: candidate ranking, and what beam search is checked against."""

import jax
import jax.numpy as jnp

from rec_align.decoding.trie import PAD_ID


def score_items(logits: jax.Array, item_tokens: jax.Array) -> jax.Array:
    """Sums the log-probabilities of each item's tokens, EOS included, padding left out.

    Example: uniform logits over 10 tokens score the item [7, 1, 0] as 2 * log(1 / 10).

    Args:
      logits: [batch, items, length, vocab] float32 or bfloat16, teacher-forced on each item:
        position `t` predicts token `t`. Sums are float32.
      item_tokens: [items, length] int32, or [batch, items, length] where each user has candidates
        of its own.

    Returns:
      [batch, items] float32, natural log; -inf for a row of padding only, which is no item.

    Raises:
      ValueError: the shapes do not fit.
    """
    item_tokens = jnp.asarray(item_tokens)
    if item_tokens.ndim not in (2, 3) or logits.shape[:3][-item_tokens.ndim :] != item_tokens.shape:
        raise ValueError(
            f"item_tokens has shape {item_tokens.shape}, logits {logits.shape}; pass "
            "[items, length] or [batch, items, length] with logits [batch, items, length, vocab]"
        )
    tokens = jnp.broadcast_to(item_tokens, logits.shape[:3])
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0].astype(jnp.float32)
    log_probs = chosen - jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
    is_token = tokens != PAD_ID
    total = jnp.where(is_token, log_probs, 0.0).sum(axis=-1)
    return jnp.where(is_token.any(axis=-1), total, -jnp.inf)
