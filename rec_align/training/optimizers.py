"""Optimisers and learning-rate schedules, all from optax, by the names T5X users know."""

import jax
import jax.numpy as jnp
import optax


def warmup_linear_decay(
    *, peak: float, total_steps: int, warmup_steps: int = 100, hold_share: float = 0.3
) -> optax.Schedule:
    """Linear warm-up to `peak`, held for a share of training, then linear to 2 % of it."""
    hold_steps = int(hold_share * total_steps)
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, peak, warmup_steps),
            optax.constant_schedule(peak),
            optax.linear_schedule(peak, 0.02 * peak, max(total_steps - hold_steps, 1)),
        ],
        [warmup_steps, max(hold_steps, warmup_steps)],
    )


def warmup_cosine_decay(
    *, peak: float, total_steps: int, warmup_steps: int = 100
) -> optax.Schedule:
    """Linear warm-up to `peak`, then half a cosine down to 0."""
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)


def rsqrt_decay(*, peak: float, total_steps: int, warmup_steps: int = 10_000) -> optax.Schedule:
    """`peak` for `warmup_steps`, then falling with 1 / sqrt(step), as in T5's pre-training."""
    del total_steps

    def schedule(step: jax.Array) -> jax.Array:
        return peak * jnp.sqrt(warmup_steps / jnp.maximum(step, warmup_steps))

    return schedule


def constant(*, peak: float, total_steps: int) -> optax.Schedule:
    """The same learning rate throughout, as in T5's fine-tuning."""
    del total_steps
    return optax.constant_schedule(peak)


def _matrices_only(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def adamw(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.98,
    weight_decay: float = 0.0,
    clip_norm: float = 1.0,
    embedding_rate: float = 1.0,
) -> optax.GradientTransformation:
    """AdamW on clipped gradients; norms and biases are not decayed.

    Adam's steps are of one size whatever the parameter's, and fresh token embeddings are several
    times as large as the entries of a matrix: from scratch they need larger ones, see
    docs/results.md. (Adafactor's steps grow with the parameter.)

    Args:
      schedule: the learning rate.
      b1: see `optax.adamw`.
      b2: likewise.
      weight_decay: likewise.
      clip_norm: most that the gradients' global norm may be.
      embedding_rate: the learning rate of the token embeddings, as a multiple of the others'.
    """
    adam = optax.adamw(schedule, b1=b1, b2=b2, weight_decay=weight_decay, mask=_matrices_only)
    steps = [optax.clip_by_global_norm(clip_norm), adam]
    if embedding_rate != 1.0:
        steps.append(_embeddings_times(embedding_rate))
    return optax.chain(*steps)


def _embeddings_times(factor: float) -> optax.GradientTransformation:
    def scale(path, update):
        is_embedding = any(getattr(key, "key", None) == "token_embedder" for key in path)
        return factor * update if is_embedding else update

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates))


def adafactor(schedule: optax.Schedule, *, decay_rate: float = 0.8) -> optax.GradientTransformation:
    """Adafactor with T5's settings: factored second moments, updates scaled by parameter size."""
    return optax.adafactor(schedule, decay_rate=decay_rate, multiply_by_parameter_scale=True)
