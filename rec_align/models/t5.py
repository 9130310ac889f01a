"""T5.1.1 in Flax: encoder, decoder, and one decoding step for many beams at once.

The parameter tree is T5X's (`encoder/layers_0/attention/query/kernel`, ...). Beside T5 itself the
network knows two things, both off for pretrained weights: blocks (see `masks`), and
`item_age_bias`, a learned cross-attention slope by how many items ago a history item was.
T5's cross-attention has no positions of its own, so without it a target of a block-causal encoder
cannot tell the last item from the first.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models import masks, repeats
from rec_align.models.entities import EntityEmbed
from rec_align.models.layers import (
    MASKED,
    Attention,
    BucketBias,
    Dense,
    Embed,
    MlpBlock,
    RMSNorm,
    for_each_row,
    relative_position_bucket,
)
from rec_align.models.partitioning import constrain
from rec_align.models.rating_head import RatingHead
from rec_align.models.stacking import run_layers
from rec_align.models.t5_config import T5Config

Array = jax.Array


def _attention(config: T5Config) -> Attention:
    return Attention(
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        emb_dim=config.emb_dim,
        dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        lora=config.lora,
    )


def _mlp(config: T5Config) -> MlpBlock:
    return MlpBlock(
        config.mlp_dim, config.mlp_activations, config.dropout_rate, config.dtype, config.lora
    )


def _run_layers(config: T5Config, layers, x, *context, deterministic: bool) -> Array:
    return run_layers(
        layers,
        x,
        *context,
        deterministic=deterministic,
        remat_policy=config.remat_policy,
        scan=config.scan_layers,
    )


def _dropout(config: T5Config) -> nn.Dropout:
    # One mask for all positions of a row, as in T5X: random bits are dear.
    return nn.Dropout(config.dropout_rate, broadcast_dims=(-2,))


class EncoderLayer(nn.Module):
    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.pre_attention_layer_norm = RMSNorm(cfg.dtype)
        self.attention = _attention(cfg)
        self.pre_mlp_layer_norm = RMSNorm(cfg.dtype)
        self.mlp = _mlp(cfg)
        self.dropout = _dropout(cfg)

    def __call__(self, x: Array, bias: Array, deterministic: bool) -> Array:
        y = self.pre_attention_layer_norm(x)
        y = self.attention(y, y, bias, deterministic=deterministic)
        x = x + self.dropout(y, deterministic=deterministic)
        y = self.mlp(self.pre_mlp_layer_norm(x), deterministic=deterministic)
        return x + self.dropout(y, deterministic=deterministic)


class Encoder(nn.Module):
    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.relpos_bias = BucketBias(cfg.num_heads)
        self.layers = [EncoderLayer(cfg) for _ in range(cfg.num_encoder_layers)]
        self.encoder_norm = RMSNorm(cfg.dtype)
        self.dropout = _dropout(cfg)

    def __call__(self, embedded: Array, bias: Array, deterministic: bool) -> Array:
        """[batch, length, emb_dim], [batch, 1, length, length] -> [batch, length, emb_dim]."""
        position = jnp.arange(embedded.shape[1])
        distance = position[None, :] - position[:, None]
        of_distance = self.relpos_bias(relative_position_bucket(distance, bidirectional=True))
        bias = bias + for_each_row(of_distance, len(embedded))
        x = self.dropout(embedded, deterministic=deterministic)
        x = _run_layers(self.config, self.layers, x, bias, deterministic=deterministic)
        return self.dropout(self.encoder_norm(x), deterministic=deterministic)


class DecoderLayer(nn.Module):
    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.pre_self_attention_layer_norm = RMSNorm(cfg.dtype)
        self.self_attention = _attention(cfg)
        self.pre_cross_attention_layer_norm = RMSNorm(cfg.dtype)
        self.encoder_decoder_attention = _attention(cfg)
        self.pre_mlp_layer_norm = RMSNorm(cfg.dtype)
        self.mlp = _mlp(cfg)
        self.dropout = _dropout(cfg)

    def _cross_and_mlp(self, x, cross_keys_values, cross_bias, deterministic):
        query = self.encoder_decoder_attention.query_heads(self.pre_cross_attention_layer_norm(x))
        y = self.encoder_decoder_attention.attend(
            query, *cross_keys_values, cross_bias, deterministic
        )
        x = x + self.dropout(y, deterministic=deterministic)
        y = self.mlp(self.pre_mlp_layer_norm(x), deterministic=deterministic)
        return x + self.dropout(y, deterministic=deterministic)

    def __call__(self, x, encoded, self_bias, cross_bias, deterministic):
        y = self.pre_self_attention_layer_norm(x)
        y = self.self_attention(y, y, self_bias, deterministic=deterministic)
        x = x + self.dropout(y, deterministic=deterministic)
        return self._cross_and_mlp(x, self.cross_keys_values(encoded), cross_bias, deterministic)

    def cross_keys_values(self, encoded: Array) -> tuple[Array, Array]:
        return self.encoder_decoder_attention.key_value_heads(encoded)

    def step(self, x, cache, cross_keys_values, self_bias, cross_bias, step):
        """One token of each beam: x [batch, beam, emb_dim] -> the same, and the new cache."""
        y = self.pre_self_attention_layer_norm(x)
        key, value = self.self_attention.key_value_heads(y)  # [batch, beam, heads, head_dim]
        # The past of each beam: [batch, beam, max_length, heads, head_dim].
        cache = {
            "key": jax.lax.dynamic_update_index_in_dim(cache["key"], key, step, axis=2),
            "value": jax.lax.dynamic_update_index_in_dim(cache["value"], value, step, axis=2),
        }
        query = self.self_attention.query_heads(y)[:, :, None]  # one query a beam
        y = self.self_attention.attend(query, cache["key"], cache["value"], self_bias, True)
        x = x + y[:, :, 0]
        # Beams are to the encoder's output what target positions are in training.
        return self._cross_and_mlp(x, cross_keys_values, cross_bias, True), cache


class Decoder(nn.Module):
    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.relpos_bias = BucketBias(cfg.num_heads)
        if cfg.item_age_bias:
            # Heads start from blind to age to looking mostly at the last item.
            self.item_age_slope = param_with_axes(
                "item_age_slope",
                lambda _, shape, dtype: jnp.arange(shape[0], dtype=dtype) / 2,
                (cfg.num_heads,),
                jnp.float32,
                axes=("heads",),
            )
        self.layers = [DecoderLayer(cfg) for _ in range(cfg.num_decoder_layers)]
        self.decoder_norm = RMSNorm(cfg.dtype)
        self.dropout = _dropout(cfg)
        if not cfg.logits_via_embedding:
            self.logits_dense = Dense(cfg.vocab_size, ("embed", "vocab"), jnp.float32)

    def relative_bias(self, queries: Array, keys: Array) -> Array:
        distance = keys[None, :] - queries[:, None]
        return self.relpos_bias(relative_position_bucket(distance, bidirectional=False))

    def cross_bias(self, bias: Array, encoder_blocks: Array | None, decoder_blocks: Array | None):
        """Adds -slope * ln(age) to the cross-attention mask, age 1 being the last item."""
        if not self.config.item_age_bias or encoder_blocks is None:
            return bias
        age = decoder_blocks[:, :, None] - encoder_blocks[:, None, :]
        # Block 0 is the prompt and plain text: no age, no bias.
        is_item = (encoder_blocks > 0)[:, None, :] & (age > 0)
        log_age = jnp.log(jnp.where(is_item, age, 1).astype(jnp.float32))
        return bias - self.item_age_slope[:, None, None] * log_age[:, None]

    def logits(self, x: Array, shared_embedding: Embed) -> Array:
        """[..., emb_dim] -> float32 [..., vocab]."""
        if self.config.logits_via_embedding:
            return shared_embedding.attend(x) / jnp.sqrt(x.shape[-1]).astype(jnp.float32)
        return constrain(self.logits_dense(x), "vocab")

    def __call__(self, embedded, encoded, self_bias, cross_bias, deterministic):
        """Teacher forcing: [batch, targets length, emb_dim] -> the same, before the logits."""
        position = jnp.arange(embedded.shape[1])
        of_distance = self.relative_bias(position, position)
        self_bias = self_bias + for_each_row(of_distance, len(embedded))
        x = self.dropout(embedded, deterministic=deterministic)
        context = (encoded, self_bias, cross_bias)
        x = _run_layers(self.config, self.layers, x, *context, deterministic=deterministic)
        return self.dropout(self.decoder_norm(x), deterministic=deterministic)

    def step(self, embedded, cache, cross_keys_values, cross_bias, step):
        position = jnp.arange(cache[0]["key"].shape[2])
        bias = self.relative_bias(jnp.full((1,), step), position)
        bias = jnp.where(position <= step, bias, MASKED)[None, None]  # all batches and beams
        x = embedded
        new_cache = []
        for layer, layer_cache, keys_values in zip(
            self.layers, cache, cross_keys_values, strict=True
        ):
            x, layer_cache = layer.step(x, layer_cache, keys_values, bias, cross_bias, step)
            new_cache.append(layer_cache)
        return self.decoder_norm(x), new_cache


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
        if cfg.repeat_gate:
            self.repeat_gate = repeats.RepeatGate()

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
        places = None
        if self.config.repeat_gate and encoder_blocks is not None:
            starts = repeats.visible_starts(encoder_blocks, encoder_segment_ids, cross)
            places = repeats.places_of_targets(starts, decoder_input_tokens, encoder_input_tokens)
        return self._logits(x, places, encoder_input_tokens)

    def _logits(self, x: Array, places: Array | None, encoder_tokens: Array) -> Array:
        """[batch, targets, emb_dim] -> float32 [batch, targets, vocab]; places as in `repeats`."""
        logits = self.decoder.logits(x, self.token_embedder)
        if self.config.repeat_gate and self.is_initializing():
            self.repeat_gate(x)
        if places is None:
            return logits
        repeating = repeats.repeating_tokens(places, encoder_tokens, logits.shape[-1])
        return logits + jnp.where(repeating, self.repeat_gate(x), 0.0)

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
        if self.config.repeat_gate and encoder_blocks is not None:
            starts = repeats.visible_starts(encoder_blocks, None, cross)
            context |= {"starts": starts, "tokens": encoder_input_tokens}
        return context

    def step(self, tokens: Array, cache: list, context: dict[str, Any], step: Array):
        """One decoding step: tokens [batch, beam] -> logits [batch, beam, vocab], new cache."""
        layers = self.config.num_decoder_layers
        x, new_cache = self.decoder.step(
            self.token_embedder(tokens),
            cache[:layers],
            context["keys_values"],
            context["bias"],
            step,
        )
        if "starts" not in context:
            return self._logits(x, None, None), new_cache + cache[layers:]
        read = cache[layers]["tokens"]
        read = jax.lax.dynamic_update_index_in_dim(read, tokens, step, axis=2)
        places = repeats.places_of_beams(context["starts"], read, step, context["tokens"])
        return self._logits(x, places, context["tokens"]), [*new_cache, {"tokens": read}]


def empty_cache(config: T5Config, batch_size: int, beam_size: int, max_length: int) -> list:
    """The decoder's past: per layer keys and values [batch, beam, max_length, heads, head_dim].

    A network with a repeat gate has one entry more, the tokens read: [batch, beam, max_length].
    """
    shape = (batch_size, beam_size, max_length)
    zeros = jnp.zeros((*shape, config.num_heads, config.head_dim), config.dtype)
    cache = [{"key": zeros, "value": zeros} for _ in range(config.num_decoder_layers)]
    return cache + [{"tokens": jnp.zeros(shape, jnp.int32)}] * config.repeat_gate
