"""The state of training, and the one step that changes it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rec_align.models.losses import cross_entropy
from rec_align.models.t5 import Transformer

Batch = dict[str, np.ndarray]
# The features of a batch that the network reads; the others are for the loss and the metrics.
NETWORK_FEATURES = (
    "encoder_input_tokens",
    "decoder_input_tokens",
    "encoder_segment_ids",
    "decoder_segment_ids",
    "encoder_blocks",
    "decoder_blocks",
)


class TrainState(NamedTuple):
    step: jax.Array
    params: Any
    opt_state: Any


def init_params(network: Transformer, seed: int) -> Any:
    """Fresh float32 parameters; the same seed gives the same ones."""
    tokens = jnp.ones((1, 2), jnp.int32)
    return jax.jit(network.init)(jax.random.key(seed), tokens, tokens)["params"]


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def batch_loss(
    network: Transformer,
    params: Any,
    batch: Batch,
    dropout_key: jax.Array | None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean loss a target token of a teacher-forced batch; `dropout_key` None means evaluation."""
    logits = network.apply(
        {"params": params},
        **{name: batch[name] for name in NETWORK_FEATURES if name in batch},
        enable_dropout=dropout_key is not None,
        rngs=None if dropout_key is None else {"dropout": dropout_key},
    )
    return cross_entropy(
        logits,
        batch["decoder_target_tokens"],
        batch["decoder_loss_weights"],
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )


def make_train_step(
    network: Transformer,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
):
    """The jitted step: (state, batch) -> (state, metrics).

    Dropout depends on the seed and the step alone, so a resumed run repeats it exactly.
    """
    root = jax.random.key(seed + 1)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        def loss_fn(params):
            return batch_loss(
                network,
                params,
                batch,
                jax.random.fold_in(root, state.step),
                label_smoothing=label_smoothing,
                z_loss=z_loss,
            )

        (_, sums), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state), sums

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(network: Transformer):
    """The jitted (params, batch) -> sums of loss and tokens, without dropout or smoothing."""

    @jax.jit
    def eval_step(params: Any, batch: Batch) -> dict[str, jax.Array]:
        return batch_loss(network, params, batch, None)[1]

    return eval_step
