"""The size of a T5, and its options; gin and the rest of the code know it as `t5.T5Config`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from rec_align.models import entities, rating_head
from rec_align.models.lora import Lora

# Parts of the parameter tree that a pretrained T5 does not have: where a checkpoint lacks one it
# starts fresh, and it is trained where adapters leave the rest as it is.
ADDED_PARTS = ("entity_embedder", "rating_head", "repeat_bias")

# The parameters that have an entry for each token, and the axis of these.
TOKEN_AXIS = {"token_embedder/embedding": 0, "decoder/logits_dense/kernel": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5Config:
    """The size of a network.

    Attributes:
      vocab_size: rows of the embedding; 0 takes the vocabulary's size, rounded up to 128.
      emb_dim: width of the residual stream.
      num_heads: attention heads.
      head_dim: width of one head.
      num_encoder_layers: encoder depth.
      num_decoder_layers: decoder depth.
      mlp_dim: width of the MLP.
      mlp_activations: ("gelu", "linear") is T5.1.1's gated GELU, ("relu",) T5 v1.0's.
      logits_via_embedding: output layer tied to the embedding (T5 v1.0).
      item_age_bias: a cross-attention slope for each head over the log age of a history item.
      repeat_bias: a learned logit for repeating an item of a history in blocks; see `repeats`.
      entity_embedding: what the encoder adds to its token embeddings: "none", "whole_word" a vector
        of the item or other entity that a token is of, "two_dimensional" also one of the token's
        place in it; see `entities`.
      rating_head: how ratings are predicted: "none" as text, "classes" by a classifier of five,
        "regression" by one number; a head is trained on rating tasks alone. See `rating_head`.
      rating_tokens: how "1" to "5" are written; a head takes it from the vocabulary.
      embedding_init_std: of fresh token embeddings; T5's is 1, small ones learn faster with Adam.
      dropout_rate: share of activations dropped in training.
      dropout_per_row: whether all positions of a row drop the same ones, as in T5X, since random
        bits are dear; packed rows of many users may want a mask for each position.
      dtype: of the activations, "float32" or "bfloat16"; parameters are float32.
      remat_policy: what training keeps of a layer for the backward pass: "none" computes nothing
        again, "minimal" all but the products with kernels, "full" everything.
      scan_layers: compile one layer instead of each; see `stacking`.
      lora: adapters; training leaves everything else as it is.
    """

    vocab_size: int = 0
    emb_dim: int = 512
    num_heads: int = 6
    head_dim: int = 64
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp_dim: int = 1024
    mlp_activations: tuple[str, ...] = ("gelu", "linear")
    logits_via_embedding: bool = False
    item_age_bias: bool = False
    repeat_bias: bool = False
    entity_embedding: str = entities.NONE
    rating_head: str = rating_head.NONE
    rating_tokens: tuple[tuple[int, ...], ...] = ()
    embedding_init_std: float = 1.0
    dropout_rate: float = 0.1
    dropout_per_row: bool = True
    dtype: Any = jnp.float32
    remat_policy: str = "none"
    scan_layers: bool = False
    lora: Lora | None = None

    def __post_init__(self) -> None:
        kinds = {
            "entity_embedding": (entities.NONE, entities.WHOLE_WORD, entities.TWO_DIMENSIONAL),
            "rating_head": (rating_head.NONE, rating_head.CLASSES, rating_head.REGRESSION),
        }
        for name, allowed in kinds.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"T5Config.{name} is {getattr(self, name)!r}; it must be one of "
                    f"{', '.join(allowed)}."
                )

    @property
    def reads_entities(self) -> bool:
        """Whether the network needs `encoder_entities`."""
        return self.entity_embedding != entities.NONE

    @property
    def rates(self) -> bool:
        """Whether the network predicts ratings with a head."""
        return self.rating_head != rating_head.NONE

    def with_rating_tokens(
        self, rating_tokens: Sequence[Sequence[int]] | None, name: str
    ) -> "T5Config":
        """This config for a task; one without a head stays as it is.

        Args:
          rating_tokens: how the task's targets "1" to "5" are written, EOS included; None where it
            has other targets.
          name: of the task or mixture.

        Raises:
          ValueError: there is a head, and other targets than ratings.
        """
        if not self.rates:
            return self
        if rating_tokens is None:
            raise ValueError(
                f"T5Config.rating_head is {self.rating_head!r}, which predicts ratings and nothing "
                f"else, but {name!r} asks for more: name a rating task such as ml_100k_rating, or "
                "leave the head out."
            )
        return dataclasses.replace(self, rating_tokens=tuple(map(tuple, rating_tokens)))

    def with_vocab_size(self, num_tokens: int) -> "T5Config":
        """This size for a vocabulary of `num_tokens`; refuses one that does not fit."""
        if not self.vocab_size:
            return dataclasses.replace(self, vocab_size=-(-num_tokens // 128) * 128)
        if self.vocab_size < num_tokens:
            raise ValueError(
                f"T5Config.vocab_size is {self.vocab_size}, but the vocabulary has {num_tokens} "
                "tokens: raise vocab_size, set it to 0, or choose the model's own vocabulary."
            )
        return self
