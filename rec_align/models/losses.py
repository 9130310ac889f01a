"""Cross-entropy with label smoothing and z-loss, over the weighted target tokens."""

import jax
import jax.numpy as jnp

Array = jax.Array


def cross_entropy(
    logits: Array,
    targets: Array,
    weights: Array,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[Array, dict[str, Array]]:
    """The loss summed over the target tokens.

    With smoothing s the target distribution is (1 - s) on the token and s / vocab on every token.
    The z-loss, z_loss * log(Z)^2 with Z the softmax's denominator, keeps logits from drifting
    (Mesh TensorFlow; the T5.1.1 models were trained with 1e-4).

    Args:
      logits: [batch, length, vocab] float32.
      targets: [batch, length] int32.
      weights: [batch, length], 0 where nothing is to be predicted.
      label_smoothing: s, in [0, 1).
      z_loss: the coefficient.

    Returns:
      The loss (scalar, nats; divide by `num_tokens` for the mean), and two sums: `loss_sum`,
      without z-loss and smoothing, and `num_tokens`.
    """
    weights = weights.astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    token_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    nll = log_z - token_logits
    smooth = log_z - jnp.mean(logits, axis=-1) if label_smoothing else 0.0
    per_token = (1 - label_smoothing) * nll + label_smoothing * smooth + z_loss * log_z**2
    sums = {"loss_sum": (nll * weights).sum(), "num_tokens": weights.sum()}
    return (per_token * weights).sum(), sums
