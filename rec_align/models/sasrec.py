"""SASRec in Flax: self-attention over a user's items, to predict the next one at every position.

Kang and McAuley 2018 (arXiv 1808.09781): causal self-attention over item embeddings with learned
positions, point-wise feed-forward, scores by the same item embeddings. As in the authors' code the
queries are normalised, the keys and values are not, what is added to each part is its normalised
input, and positions count from the newest item. The loss is a cross-entropy over the catalogue or a
sample of it (Klenitskiy and Vasilev 2023, arXiv 2309.07602: this, not the network, is what the
original lacks).

Several histories may share a row, told apart by `segment_ids`, so short ones cost no padding.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from rec_align.models.layers import MASKED
from rec_align.models.losses import cross_entropy

Array = jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SASRecConfig:
    """The size of a network, and its loss.

    Attributes:
      num_items: size of the catalogue.
      emb_dim: width of the residual stream.
      num_layers: blocks of attention and feed-forward.
      num_heads: attention heads, together as wide as `emb_dim`.
      max_length: most items that are looked back at.
      dropout_rate: share of activations and of the item table dropped in training.
      num_negatives: items that stand for the catalogue in the softmax, drawn uniformly and shared
        by a batch; None is the whole catalogue.
    """

    num_items: int
    emb_dim: int = 64
    num_layers: int = 1
    num_heads: int = 1
    max_length: int = 50
    dropout_rate: float = 0.2
    num_negatives: int | None = None


class Block(nn.Module):
    config: SASRecConfig

    @nn.compact
    def __call__(self, x: Array, visible: Array, deterministic: bool) -> Array:
        """[batch, length, emb_dim], [batch, query, key] bool -> [batch, length, emb_dim]."""
        cfg = self.config

        def dropout(y: Array) -> Array:
            return nn.Dropout(cfg.dropout_rate)(y, deterministic=deterministic)

        def heads(name: str, y: Array) -> Array:
            shape = (cfg.num_heads, cfg.emb_dim // cfg.num_heads)
            return nn.DenseGeneral(shape, name=name)(y)  # [batch, length, heads, head_dim]

        normalised = nn.LayerNorm(name="query_layer_norm")(x)
        query, key, value = heads("query", normalised), heads("key", x), heads("value", x)
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(query.shape[-1])
        weights = nn.softmax(jnp.where(visible[:, None], logits, MASKED))
        y = jnp.einsum("bhqk,bkhd->bqhd", dropout(weights), value)
        x = normalised + nn.DenseGeneral(cfg.emb_dim, axis=(-2, -1), name="out")(y)
        x = nn.LayerNorm(name="mlp_layer_norm")(x)
        y = dropout(nn.relu(nn.Dense(cfg.emb_dim, name="wi")(x)))
        return x + dropout(nn.Dense(cfg.emb_dim, name="wo")(y))


class SASRecNetwork(nn.Module):
    """Items -> what is expected after each of them; its scores are `hidden @ item_embedding.T`."""

    config: SASRecConfig

    @nn.compact
    def __call__(
        self, item_indices: Array, segment_ids: Array, *, enable_dropout: bool = False
    ) -> Array:
        """[batch, length] -> [batch, length, emb_dim].

        Args:
          item_indices: int32, each segment in time order; any item where there is padding.
          segment_ids: int32, equal within a history and different between neighbours in a row; 0 =
            padding.
          enable_dropout: whether this is training.
        """
        cfg = self.config
        init = nn.initializers.xavier_normal()
        embedding = self.param("item_embedding", init, (cfg.num_items, cfg.emb_dim))
        positions = self.param("position_embedding", init, (cfg.max_length, cfg.emb_dim))
        age, visible = ages_and_visible(segment_ids)
        x = embedding[item_indices] + positions[age]
        x = nn.Dropout(cfg.dropout_rate)(x, deterministic=not enable_dropout)
        for layer in range(cfg.num_layers):
            x = Block(cfg, name=f"layers_{layer}")(x, visible, not enable_dropout)
        return nn.LayerNorm(name="final_layer_norm")(x)


def ages_and_visible(segment_ids: Array) -> tuple[Array, Array]:
    """How old each position is in its segment, and whom it sees.

    Returns:
      [batch, length] int32, 0 for the newest of a segment, and [batch, query, key] bool: itself and
      what is before it in its segment.

    Example: segments 5 5 7 -> ages 1 0 0; the second sees the first, the third only itself.
    """
    index = jnp.arange(segment_ids.shape[1])
    ends = jnp.diff(segment_ids, axis=1, append=-1) != 0
    newest = jax.lax.cummin(jnp.where(ends, index, segment_ids.shape[1]), axis=1, reverse=True)
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return newest - index, same & (index[None, :] <= index[:, None])


def full_softmax_loss(hidden: Array, embedding: Array, targets: Array, weights: Array) -> Array:
    """Mean cross-entropy of the targets over the whole catalogue.

    Args:
      hidden: [batch, length, emb_dim].
      embedding: [num_items, emb_dim].
      targets: [batch, length] int32.
      weights: [batch, length], 0 where nothing is to be predicted.
    """
    return _mean(cross_entropy(hidden @ embedding.T, targets, weights))


def sampled_softmax_loss(
    hidden: Array, embedding: Array, targets: Array, weights: Array, negatives: Array
) -> Array:
    """Mean cross-entropy of the targets over themselves and a sample of the catalogue.

    An estimate of the full softmax: each negative stands for num_items / num_negatives items, the
    correction by log Q of Jean et al. 2015 for a uniform Q. What is a position's target does not
    count as its negative.

    Args:
      hidden: as in `full_softmax_loss`, like the next three.
      embedding: see there.
      targets: see there.
      weights: see there.
      negatives: [num_negatives] int32, drawn uniformly.
    """
    of_targets = jnp.einsum("bld,bld->bl", hidden, embedding[targets])
    of_negatives = hidden @ embedding[negatives].T  # [batch, length, num_negatives]
    of_negatives += jnp.log(len(embedding) / len(negatives))
    of_negatives = jnp.where(negatives == targets[..., None], MASKED, of_negatives)
    logits = jnp.concatenate([of_targets[..., None], of_negatives], axis=-1)
    return _mean(cross_entropy(logits, jnp.zeros_like(targets), weights))


def _mean(loss_and_sums: tuple[Array, dict[str, Array]]) -> Array:
    loss, sums = loss_and_sums
    return loss / jnp.maximum(sums["num_tokens"], 1)
