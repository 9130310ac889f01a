"""Heads that predict a rating as a number, instead of writing it as text.

Kang et al. 2023 (arXiv 2305.06474) fine-tune language models to predict ratings by classification,
with the cross-entropy over the five ratings, and by regression, with the squared error. Ours: a
head reads the decoder's state at the first token of each rating target, where generation would
begin to write it, so prompts, packed rows and blocks are those of generation, and every item of a
run has its target; a classifier predicts its expected rating, which is what RMSE asks for; and
both heads start at zero, where they predict 3.

Targets stay text. What they say is read from their tokens, compared with those of "1" to "5".
"""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models.losses import cross_entropy
from rec_align.rating_scale import MIDDLE, RATINGS

Array = jax.Array

NONE, CLASSES, REGRESSION = "none", "classes", "regression"
NO_RATING = -1


class RatingHead(nn.Module):
    """A linear map of the decoder's states, in float32.

    Attributes:
      kind: `CLASSES`: a logit for each of the five ratings; `REGRESSION`: the rating minus 3.
    """

    kind: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., emb_dim] -> float32 [..., 5] for classes, [..., 1] for regression."""
        size = len(RATINGS) if self.kind == CLASSES else 1
        zeros = nn.initializers.zeros
        kernel = param_with_axes(
            "kernel", zeros, (x.shape[-1], size), jnp.float32, axes=("embed", "ratings")
        )
        bias = param_with_axes("bias", zeros, (size,), jnp.float32, axes=("ratings",))
        return jnp.dot(x.astype(jnp.float32), kernel) + bias


def predicted_ratings(kind: str, outputs: Array) -> Array:
    """What a head's outputs predict, in 1-5: [..., 5] or [..., 1] -> float32 [...].

    Classes: the expected rating; regression: the value, clipped.
    """
    if kind == CLASSES:
        return jax.nn.softmax(outputs) @ jnp.array(RATINGS, jnp.float32)
    return jnp.clip(MIDDLE + outputs[..., 0], RATINGS[0], RATINGS[-1])


def ratings_of_targets(
    decoder_input_tokens: Array,
    decoder_target_tokens: Array,
    rating_tokens: tuple[tuple[int, ...], ...],
) -> Array:
    """The rating that each target says, at its first token.

    Example: ratings written 11 1, 12 1, ... and targets 14 1 15 1 0 -> 4 0 5 0 0.

    Args:
      decoder_input_tokens: [batch, length] int32, 0 before each target.
      decoder_target_tokens: [batch, length] int32, each target ended by EOS, 0 = padding.
      rating_tokens: how each of `RATINGS` is written, EOS included.

    Returns:
      [batch, length] int32: 1 to 5 at a target's first token, -1 where the target is no rating; 0
      elsewhere.

    Raises:
      ValueError: `rating_tokens` are not those of five ratings.
    """
    if len(rating_tokens) != len(RATINGS):
        raise ValueError(
            f"T5Config.rating_tokens has {len(rating_tokens)} entries, a head needs those of "
            "1 to 5: take the config by T5Config.with_rating_tokens."
        )
    longest = max(map(len, rating_tokens))
    rows = np.full((len(RATINGS), longest), -1)
    for row, tokens in zip(rows, rating_tokens, strict=True):
        row[: len(tokens)] = tokens
    length = decoder_target_tokens.shape[1]
    padded = jnp.pad(decoder_target_tokens, ((0, 0), (0, longest)))
    matches = jnp.ones((*decoder_target_tokens.shape, len(RATINGS)), bool)
    for place in range(longest):
        token = padded[:, place : place + length, None]
        matches &= (rows[:, place] < 0) | (token == rows[:, place])
    ratings = jnp.where(matches.any(axis=-1), matches.argmax(axis=-1) + RATINGS[0], NO_RATING)
    is_first = (decoder_input_tokens == 0) & (decoder_target_tokens > 0)
    return jnp.where(is_first, ratings, 0)


def check_train_ratings(kind: str, other_rating: float | None) -> None:
    """Raises ValueError for a train rating that no head reads: it would make the loss NaN.

    Args:
      kind: of the head.
      other_rating: a rating of train that is no whole number from 1 to 5, or None.
    """
    if other_rating is not None:
        raise ValueError(
            f"T5Config.rating_head is {kind!r}, which learns whole ratings from 1 to 5, but train "
            f"has a rating of {other_rating:g}: round the ratings before the corpus is built, or "
            f"set it to {NONE!r}, which writes any rating as text."
        )


def check_targets(
    batches: Iterable[Mapping[str, np.ndarray]], rating_tokens: tuple[tuple[int, ...], ...]
) -> None:
    """Raises ValueError where a target of these batches is no whole rating from 1 to 5."""
    for batch in batches:
        tokens = (jnp.asarray(batch[f"decoder_{name}_tokens"]) for name in ("input", "target"))
        ratings = np.asarray(ratings_of_targets(*tokens, rating_tokens))
        if (ratings == NO_RATING).any():
            raise ValueError(
                f"T5Config.rating_head: {(ratings == NO_RATING).sum()} of {(ratings != 0).sum()} "
                "validation targets of a batch are no whole ratings from 1 to 5: rate in whole "
                'numbers, or set it to "none", which generates any rating as text.'
            )


def rating_loss(
    kind: str, outputs: Array, ratings: Array, *, label_smoothing: float = 0.0, z_loss: float = 0.0
) -> tuple[Array, dict[str, Array]]:
    """The loss summed over the ratings: cross-entropy in nats, or the squared error.

    Args:
      kind: of the head.
      outputs: of the head, [batch, length, 5 or 1] float32.
      ratings: [batch, length] int32, of `ratings_of_targets`; one that is -1 makes the loss NaN, so
        that it is not passed over in silence.
      label_smoothing: of classes, see `losses.cross_entropy`.
      z_loss: likewise.

    Returns:
      The loss, and the sums `loss_sum` (without smoothing and z-loss) and `num_tokens`, which here
      are ratings.
    """
    weights = jnp.where(ratings == NO_RATING, jnp.nan, (ratings > 0).astype(jnp.float32))
    if kind == CLASSES:
        return cross_entropy(
            outputs,
            jnp.maximum(ratings - RATINGS[0], 0),
            weights,
            label_smoothing=label_smoothing,
            z_loss=z_loss,
        )
    squared = (MIDDLE + outputs[..., 0] - ratings) ** 2
    loss = (squared * weights).sum()
    return loss, {"loss_sum": loss, "num_tokens": weights.sum()}
