"""The layers of T5.1.1: RMSNorm, gated MLP, attention, relative position bias, embedding.

Source: Raffel et al. 2020 (arXiv 1910.10683), section 2.1, and the T5.1.1 changes (Shazeer 2020,
arXiv 2002.05202: gated GELU). Parameter names, shapes and logical axis names are T5X's, so its
public checkpoints load as they are: every kernel is two-dimensional, every parameter float32.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.partitioning import param_with_axes

from rec_align.models.lora import Lora
from rec_align.models.partitioning import constrain

Array = jax.Array

# Added to the logits of what may not be seen; finite, so that a row without anything to see gives
# a uniform softmax instead of NaN.
MASKED = -1e10

lecun_normal = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


def relative_position_bucket(
    distance: Array, *, bidirectional: bool, num_buckets: int = 32, max_distance: int = 128
) -> Array:
    """Maps signed distances (key position - query position) to buckets.

    Half of the buckets hold one distance each, the other half grow logarithmically up to
    `max_distance`; farther ones share the last bucket. Bidirectional: half the buckets for keys
    after the query. Otherwise keys after the query fall into bucket 0.

    Example: unidirectional, 32 buckets: distances 0, -1, -15, -127, -500 -> 0, 1, 15, 31, 31.
    """
    n = -distance
    offset = 0
    if bidirectional:
        num_buckets //= 2
        offset = (n < 0).astype(jnp.int32) * num_buckets
        n = jnp.abs(n)
    else:
        n = jnp.maximum(n, 0)
    max_exact = num_buckets // 2
    # The epsilon keeps log(0) away; those entries are replaced by the exact branch.
    log_ratio = jnp.log(n.astype(jnp.float32) / max_exact + np.finfo(np.float32).eps)
    large = max_exact + (
        log_ratio / math.log(max_distance / max_exact) * (num_buckets - max_exact)
    ).astype(jnp.int32)
    return offset + jnp.where(n < max_exact, n, jnp.minimum(large, num_buckets - 1))


def flat_dot(x: Array, kernel: Array) -> Array:
    """[..., in], [in, out] -> [..., out], as one product of two matrices.

    The gradient of the same product over several dimensions is slower in XLA on CPUs, see
    bench/cpu_step.py.
    """
    flat = jnp.dot(x.reshape(-1, x.shape[-1]), kernel)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])


class Dense(nn.Module):
    """A linear map without bias, with a LoRA adapter where `lora` names this layer.

    [..., in] -> [..., features].
    """

    features: int
    axes: tuple[str, str]
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Array] = lecun_normal
    lora: Lora | None = None

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        def matrix(name: str, init: Callable[..., Array], shape: tuple[int, int], axes) -> Array:
            weights = param_with_axes(name, init, shape, jnp.float32, axes=axes)
            return weights.astype(self.dtype)

        inputs = inputs.astype(self.dtype)
        width = inputs.shape[-1]
        outputs = flat_dot(
            inputs, matrix("kernel", self.kernel_init, (width, self.features), self.axes)
        )
        if self.lora is None or not self._is_adapted(self.lora):
            return outputs
        rank = self.lora.rank
        zeros = nn.initializers.zeros
        a = matrix("lora_a", lecun_normal, (width, rank), (self.axes[0], "lora_rank"))
        b = matrix("lora_b", zeros, (rank, self.features), ("lora_rank", self.axes[1]))
        return outputs + flat_dot(flat_dot(inputs, a), b)

    def _is_adapted(self, lora: Lora) -> bool:
        # A scanned layer does not know its whole name, but has its parameters.
        if self.is_initializing():
            return lora.adapts("/".join(self.path))
        return self.has_variable("params", "lora_a")


class RMSNorm(nn.Module):
    """Scales to unit root mean square, in float32: [..., emb_dim] -> the same."""

    dtype: Any = jnp.float32
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        x = inputs.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        scale = param_with_axes(
            "scale", nn.initializers.ones, x.shape[-1:], jnp.float32, axes=("embed",)
        )
        return (x * scale).astype(self.dtype)


class Embed(nn.Module):
    """Token embeddings, and their transpose as the output layer of tied models."""

    num_embeddings: int
    features: int
    dtype: Any = jnp.float32
    init_std: float = 1.0

    def setup(self) -> None:
        self.embedding = param_with_axes(
            "embedding",
            nn.initializers.normal(stddev=self.init_std),
            (self.num_embeddings, self.features),
            jnp.float32,
            axes=("vocab", "embed"),
        )

    def __call__(self, tokens: Array) -> Array:
        x = jnp.take(self.embedding, tokens, axis=0).astype(self.dtype)
        return constrain(x, "embed")

    def attend(self, x: Array) -> Array:
        """[..., emb_dim] -> float32 logits [..., vocab]."""
        return constrain(flat_dot(x.astype(jnp.float32), self.embedding.T), "vocab")


class BucketBias(nn.Module):
    """A learned bias for each head and distance bucket."""

    num_heads: int
    num_buckets: int = 32
    init: Callable[..., Array] = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")

    def setup(self) -> None:
        self.rel_embedding = param_with_axes(
            "rel_embedding",
            self.init,
            (self.num_heads, self.num_buckets),
            jnp.float32,
            axes=("heads", "relpos_buckets"),
        )

    def __call__(self, buckets: Array) -> Array:
        """[..., query, key] buckets -> [..., heads, query, key] float32."""
        return jnp.moveaxis(jnp.take(self.rel_embedding, buckets, axis=1), 0, -3)


def for_each_row(bias: Array, batch_size: int) -> Array:
    """The same bias for each row: [heads, query, key] -> [batch, heads, query, key].

    As a product: its gradient, a sum over the rows, is a product too, and faster in XLA on CPUs
    (bench/cpu_step.py). At the highest precision, so that nothing is rounded.
    """
    ones = jnp.ones(batch_size, bias.dtype)
    return jnp.einsum("b,hqk->bhqk", ones, bias, precision=jax.lax.Precision.HIGHEST)


def dropout(rate: float, per_row: bool) -> nn.Dropout:
    """Dropout with one mask for all positions of a row, or a mask of its own for each position."""
    return nn.Dropout(rate, broadcast_dims=(-2,) if per_row else ())


class MlpBlock(nn.Module):
    """activation_0(x W0) * activation_1(x W1) ... W: [..., emb_dim] -> the same."""

    hidden: int
    activations: tuple[str, ...]
    dropout_rate: float
    dropout_per_row: bool
    dtype: Any = jnp.float32
    lora: Lora | None = None

    @nn.compact
    def __call__(self, x: Array, *, deterministic: bool) -> Array:
        emb_dim = x.shape[-1]
        hidden = None
        for i, name in enumerate(self.activations):
            # T5X calls a lone input kernel `wi`, several `wi_0`, `wi_1`.
            kernel = "wi" if len(self.activations) == 1 else f"wi_{i}"
            y = Dense(self.hidden, ("embed", "mlp"), self.dtype, lora=self.lora, name=kernel)(x)
            y = constrain(y, "mlp")
            y = y if name == "linear" else getattr(nn, name)(y)
            hidden = y if hidden is None else hidden * y
        hidden = dropout(self.dropout_rate, self.dropout_per_row)(
            hidden, deterministic=deterministic
        )
        wo = Dense(emb_dim, ("mlp", "embed"), self.dtype, lora=self.lora, name="wo")
        return constrain(wo(hidden), "embed")


class Attention(nn.Module):
    """Multi-head attention without scaling: 1/sqrt(head_dim) is in the query's initializer.

    The pieces (`query_heads`, `key_value_heads`, `attend`) are methods of their own, so that
    decoding can keep keys and values: once a user for the encoder's output, once a step for the
    decoder's own past.
    """

    num_heads: int
    head_dim: int
    emb_dim: int
    dropout_rate: float
    dropout_per_row: bool
    dtype: Any = jnp.float32
    lora: Lora | None = None

    def setup(self) -> None:
        joined = self.num_heads * self.head_dim
        axes = ("embed", "joined_kv")
        kwargs = {"dtype": self.dtype, "lora": self.lora}

        def scaled_normal(*args: Any) -> Array:
            return lecun_normal(*args) / math.sqrt(self.head_dim)

        self.query = Dense(joined, axes, kernel_init=scaled_normal, **kwargs)
        self.key = Dense(joined, axes, **kwargs)
        self.value = Dense(joined, axes, **kwargs)
        self.out = Dense(self.emb_dim, ("joined_kv", "embed"), **kwargs)
        self.dropout = dropout(self.dropout_rate, self.dropout_per_row)

    def _split(self, x: Array) -> Array:
        x = x.reshape(*x.shape[:-1], self.num_heads, self.head_dim)
        return constrain(x, "heads", "kv")

    def query_heads(self, x: Array) -> Array:
        """[..., emb_dim] -> [..., heads, head_dim]."""
        return self._split(self.query(x))

    def key_value_heads(self, x: Array) -> tuple[Array, Array]:
        """[..., emb_dim] -> keys and values, each [..., heads, head_dim]."""
        return self._split(self.key(x)), self._split(self.value(x))

    def attend(self, query: Array, key: Array, value: Array, bias: Array, deterministic: bool):
        """Softmax attention in float32.

        Args:
          query: [batch..., query, heads, head_dim].
          key: [batch..., key, heads, head_dim]; `value` likewise.
          bias: [batch... or 1, heads or 1, query, key], with `MASKED` where nothing may be seen.
          deterministic: no dropout of attention weights.

        Returns:
          [batch..., query, emb_dim].
        """
        logits = jnp.einsum("...qhd,...khd->...hqk", query, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(logits + bias, axis=-1).astype(self.dtype)
        weights = self.dropout(weights, deterministic=deterministic)
        x = jnp.einsum("...hqk,...khd->...qhd", weights, value)
        return constrain(self.out(x.reshape(*x.shape[:-2], -1)), "embed")

    def __call__(self, x: Array, context: Array, bias: Array, *, deterministic: bool) -> Array:
        key, value = self.key_value_heads(context)
        return self.attend(self.query_heads(x), key, value, bias, deterministic)
