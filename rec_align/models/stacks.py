"""The encoder and the decoder of T5.1.1; `t5.Transformer` is both."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models.layers import (
    MASKED,
    Attention,
    BucketBias,
    Dense,
    Embed,
    MlpBlock,
    RMSNorm,
    dropout,
    for_each_row,
    relative_position_bucket,
)
from rec_align.models.partitioning import constrain
from rec_align.models.stacking import run_layers
from rec_align.models.t5_config import T5Config

Array = jax.Array


def _attention(config: T5Config) -> Attention:
    return Attention(
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        emb_dim=config.emb_dim,
        dropout_rate=config.dropout_rate,
        dropout_per_row=config.dropout_per_row,
        dtype=config.dtype,
        lora=config.lora,
    )


def _mlp(config: T5Config) -> MlpBlock:
    return MlpBlock(
        config.mlp_dim,
        config.mlp_activations,
        dropout_rate=config.dropout_rate,
        dropout_per_row=config.dropout_per_row,
        dtype=config.dtype,
        lora=config.lora,
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
    return dropout(config.dropout_rate, config.dropout_per_row)


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
