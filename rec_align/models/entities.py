"""Embeddings of entities: which one of its prompt a token is of, and where inside it.

An entity is what fills a place of a prompt whole: an item of the history with its rating, a
candidate, a brand; of a record with blanks, each value. All its tokens carry its number, 1, 2, ...
in order of appearance, as the feature `encoder_entities`; the prompt's own words and the labels of
values carry 0, and nothing is added to them.

- `whole_word` is P5's whole-word embedding (Geng et al. 2022, arXiv 2203.13366): the pieces of one
  id share a learned vector, which is added to their embeddings. Ours: what shares one is an entity
  as above, for there are titles where P5 has ids.
- `two_dimensional` adds a second vector, of the token's place inside its entity. That positions
  are two, between and inside entities, is RecSysLLM's (Chu et al. 2023). Ours: they are added in
  the encoder of a T5, whose relative positions stay, and RecSysLLM is a GLM; what is generated has
  none, where RecSysLLM's entity trie gives it some.

Ours, too: the sizes of both tables (numbers and places beyond share the last row), and that they
start at zero, so that training starts from the network without them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models.partitioning import constrain

Array = jax.Array

NONE, WHOLE_WORD, TWO_DIMENSIONAL = "none", "whole_word", "two_dimensional"
NUM_NUMBERS, NUM_PLACES = 256, 32


def places_inside(entities: Array, segment_ids: Array | None = None) -> Array:
    """Each token's place inside its entity, from 0: [batch, length] int32 -> the same.

    Example: entities 0 0 1 1 1 2 2 -> 0 1 0 1 2 0 1; of entity 0 the places mean nothing.

    Args:
      entities: [batch, length] int32.
      segment_ids: [batch, length] int32, which packed example a token is of; None: one a row.
    """
    position = jnp.arange(entities.shape[1])
    begins = differs_from_the_one_before(entities)
    if segment_ids is not None:
        begins = begins | differs_from_the_one_before(segment_ids)
    return position - jax.lax.cummax(jnp.where(begins, position, 0), axis=1)


def differs_from_the_one_before(values: Array) -> Array:
    """[batch, length] -> bool [batch, length], the first True."""
    return jnp.pad(values[:, 1:] != values[:, :-1], ((0, 0), (1, 0)), constant_values=True)


class EntityEmbed(nn.Module):
    """What is added to the token embeddings of the encoder's input.

    Attributes:
      kind: `WHOLE_WORD` or `TWO_DIMENSIONAL`.
      features: width of the residual stream.
      dtype: of the result.
    """

    kind: str
    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, entities: Array, segment_ids: Array | None = None) -> Array:
        """[batch, length] int32, 0 = no entity -> [batch, length, features]."""

        def rows(name: str, size: int, numbers: Array) -> Array:
            # T5X's name for positions, which it splits over no device.
            table = param_with_axes(
                name,
                nn.initializers.zeros,
                (size, self.features),
                jnp.float32,
                axes=("relpos_buckets", "embed"),
            )
            return jnp.take(table, numbers.clip(0, size - 1), axis=0)

        x = rows("number", NUM_NUMBERS, entities - 1)
        if self.kind == TWO_DIMENSIONAL:
            x = x + rows("place", NUM_PLACES, places_inside(entities, segment_ids))
        x = jnp.where((entities > 0)[..., None], x, 0.0).astype(self.dtype)
        return constrain(x, "embed")
