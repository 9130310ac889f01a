"""T5.1.1 in Flax: encoder, decoder, and one decoding step for many beams at once.

The parameter tree is T5X's (`encoder/layers_0/attention/query/kernel`, ...). Beside T5 itself the
network knows three things, all off for pretrained weights: blocks (see `masks`), a bias on repeats
(see `repeats`), and `item_age_bias`, a learned cross-attention slope by how many items ago a
history item was. T5's cross-attention has no positions of its own, so without the latter a target
of a block-causal encoder cannot tell the last item from the first.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rec_align.models import masks
from rec_align.models.entities import EntityEmbed
from rec_align.models.layers import Embed
from rec_align.models.rating_head import RatingHead
from rec_align.models.repeats import (
    History,
    RepeatBias,
    places_of_beams,
    places_of_targets,
    read_history,
)
from rec_align.models.stacks import Decoder, Encoder
from rec_align.models.t5_config import T5Config

Array = jax.Array


class Transformer(nn.Module):
    """The encoder-decoder. `__call__` is teacher forcing; `encode`, `start` and `step` decode."""

    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.token_embedder = Embed(cfg.vocab_size, cfg.emb_dim, cfg.dtype, cfg.embedding_init_std)
        if cfg.reads_entities:
            self.entity_embedder = EntityEmbed(cfg.entity_embedding, cfg.emb_dim, cfg.dtype)
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)
        if cfg.rates:
            self.rating_head = RatingHead(cfg.rating_head)
        if cfg.repeat_bias:
            self.repeat_bias = RepeatBias()

    def encode(
        self,
        encoder_input_tokens: Array,
        encoder_segment_ids: Array | None = None,
        encoder_blocks: Array | None = None,
        encoder_entities: Array | None = None,
        *,
        enable_dropout: bool = False,
    ) -> Array:
        """[batch, inputs length] -> [batch, inputs length, emb_dim]."""
        bias = masks.encoder_bias(encoder_input_tokens, encoder_segment_ids, encoder_blocks)
        embedded = self.token_embedder(encoder_input_tokens)
        if self.config.reads_entities:
            if encoder_entities is None and self.is_initializing():
                encoder_entities = jnp.zeros_like(encoder_input_tokens)
            embedded += self._of_entities(encoder_entities, encoder_segment_ids)
        return self.encoder(embedded, bias, not enable_dropout)

    def _of_entities(self, entities: Array | None, segment_ids: Array | None) -> Array:
        if entities is None:
            raise ValueError(
                f"T5Config.entity_embedding is {self.config.entity_embedding!r} and the batch has "
                "no encoder_entities: convert with RecFeatureConverter(entities=True), or compile "
                "the mixture with --entities."
            )
        return self.entity_embedder(entities, segment_ids)

    def __call__(
        self,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        encoder_blocks: Array | None = None,
        decoder_blocks: Array | None = None,
        encoder_entities: Array | None = None,
        *,
        enable_dropout: bool = False,
    ) -> Array:
        """Teacher forcing -> float32 logits [batch, targets length, vocab]."""
        x, cross = self._states(
            encoder_input_tokens,
            decoder_input_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            encoder_blocks,
            decoder_blocks,
            encoder_entities,
            enable_dropout=enable_dropout,
        )
        if self.config.rates and self.is_initializing():
            self.rating_head(x)
        if not self.config.repeat_bias or encoder_blocks is None:
            return self._logits(x)
        history = read_history(encoder_input_tokens, encoder_blocks, encoder_segment_ids, cross)
        return self._logits(x, history, places_of_targets(history, decoder_input_tokens))

    def _logits(
        self, x: Array, history: History | None = None, places: Array | None = None
    ) -> Array:
        """[batch, targets, emb_dim] -> float32 [batch, targets, vocab]."""
        logits = self.decoder.logits(x, self.token_embedder)
        if not self.config.repeat_bias:
            return logits
        return logits + self.repeat_bias(x, history, places, logits.shape[-1])

    def rate(self, *features: Array, **by_name: Any) -> Array:
        """What the rating head says at each target token; arguments as those of `__call__`.

        Returns:
          float32 [batch, targets length, 5 or 1], see `rating_head.RatingHead`; it means something
          at the first token of each target.
        """
        return self.rating_head(self._states(*features, **by_name)[0])

    def _states(
        self,
        encoder_input_tokens: Array,
        decoder_input_tokens: Array,
        encoder_segment_ids: Array | None = None,
        decoder_segment_ids: Array | None = None,
        encoder_blocks: Array | None = None,
        decoder_blocks: Array | None = None,
        encoder_entities: Array | None = None,
        *,
        enable_dropout: bool = False,
    ) -> tuple[Array, Array]:
        """The decoder's states [batch, targets length, emb_dim], and the cross-attention's mask."""
        encoded = self.encode(
            encoder_input_tokens,
            encoder_segment_ids,
            encoder_blocks,
            encoder_entities,
            enable_dropout=enable_dropout,
        )
        cross = masks.cross_bias(
            encoder_input_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            encoder_blocks,
            decoder_blocks,
        )
        states = self.decoder(
            self.token_embedder(decoder_input_tokens),
            encoded,
            masks.decoder_bias(decoder_input_tokens),
            self.decoder.cross_bias(cross, encoder_blocks, decoder_blocks),
            not enable_dropout,
        )
        return states, cross

    def start(
        self,
        encoder_input_tokens: Array,
        encoder_blocks: Array | None = None,
        decoder_block: Array | None = None,
        encoder_entities: Array | None = None,
    ) -> dict[str, Any]:
        """What decoding needs of each user, computed once and shared by all its beams.

        Args:
          encoder_input_tokens: [batch, inputs length], 0 = padding.
          encoder_blocks: [batch, inputs length] or None.
          decoder_block: [batch], the block of the one target to decode.
          encoder_entities: [batch, inputs length]; needed with `T5Config.entity_embedding`.
        """
        encoded = self.encode(encoder_input_tokens, None, encoder_blocks, encoder_entities)
        decoder_blocks = None if encoder_blocks is None else decoder_block[:, None]
        cross = masks.cross_bias(encoder_input_tokens, None, None, encoder_blocks, decoder_blocks)
        context = {
            "keys_values": [layer.cross_keys_values(encoded) for layer in self.decoder.layers],
            "bias": self.decoder.cross_bias(cross, encoder_blocks, decoder_blocks),
        }
        if self.config.repeat_bias and encoder_blocks is not None:
            context["history"] = read_history(encoder_input_tokens, encoder_blocks, None, cross)
        return context

    def step(self, tokens: Array, cache: list, context: dict[str, Any], step: Array):
        """One decoding step: tokens [batch, beam] -> logits [batch, beam, vocab], new cache."""
        num_layers = self.config.num_decoder_layers
        x, new_cache = self.decoder.step(
            self.token_embedder(tokens),
            cache[:num_layers],
            context["keys_values"],
            context["bias"],
            step,
        )
        history = context.get("history")
        if history is None:
            return self._logits(x), new_cache + cache[num_layers:]
        places = places_of_beams(history, cache[num_layers]["places"], tokens, step)
        return self._logits(x, history, places), [*new_cache, {"places": places}]


def empty_cache(
    config: T5Config, inputs_shape: tuple[int, int], beam_size: int, max_length: int
) -> list:
    """The decoder's past: per layer keys and values [batch, beam, max_length, heads, head_dim].

    With `repeat_bias` one entry more, where each beam is in the history: [batch, beam, inputs
    length] bool.

    Args:
      config: of the network.
      inputs_shape: (batch, inputs length) of the encoder's tokens.
      beam_size: beams a row.
      max_length: tokens of a target, at most.
    """
    batch_size, inputs_length = inputs_shape
    shape = (batch_size, beam_size, max_length, config.num_heads, config.head_dim)
    zeros = jnp.zeros(shape, config.dtype)
    cache = [{"key": zeros, "value": zeros} for _ in range(config.num_decoder_layers)]
    if config.repeat_bias:
        cache.append({"places": jnp.zeros((batch_size, beam_size, inputs_length), jnp.bool)})
    return cache
