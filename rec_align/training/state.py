"""The state of training, and the one step that changes it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rec_align.models import rating_head
from rec_align.models.lora import ADAPTER_NAMES, join, split
from rec_align.models.losses import cross_entropy
from rec_align.models.partitioning import constrain
from rec_align.models.t5 import Transformer
from rec_align.models.t5_config import ADDED_PARTS
from rec_align.training.item_embeddings import ItemEmbeddings
from rec_align.training.sharding import abstract_opt_state, abstract_params

Batch = dict[str, np.ndarray]
# The features of a batch that the network reads; the others are for the loss and the metrics.
NETWORK_FEATURES = (
    "encoder_input_tokens",
    "decoder_input_tokens",
    "encoder_segment_ids",
    "decoder_segment_ids",
    "encoder_blocks",
    "decoder_blocks",
    "encoder_entities",
)


class TrainState(NamedTuple):
    """What training changes, and a checkpoint holds.

    Attributes:
      step: [] int32, steps done.
      params: the trained parameters: where the network has adapters these and `ADDED_PARTS` alone,
        else all.
      opt_state: the optimizer's.
    """

    step: jax.Array
    params: Any
    opt_state: Any


def split_trained(network: Transformer, params: Any) -> tuple[Any, Any]:
    """(what is trained, what is frozen) of the network's parameters."""
    if not network.config.lora:
        return params, {}
    return split(params, lambda path: path[-1] in ADAPTER_NAMES or path[0] in ADDED_PARTS)


def init_params(network: Transformer, seed: int) -> Any:
    """Fresh float32 parameters; the same seed gives the same ones."""
    tokens = jnp.ones((1, 2), jnp.int32)
    return jax.jit(network.init)(jax.random.key(seed), tokens, tokens)["params"]


def abstract_state(
    network: Transformer, optimizer: optax.GradientTransformation, mesh: Mesh
) -> tuple[TrainState, Any]:
    """The shapes and placements of the state and of the frozen parameters."""
    trained, frozen = split_trained(network, abstract_params(network, mesh))
    step = jax.ShapeDtypeStruct((), jnp.int32, sharding=NamedSharding(mesh, PartitionSpec()))
    return TrainState(step, trained, abstract_opt_state(optimizer, trained, mesh)), frozen


def init_state(
    network: Transformer,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    seed: int,
    given: Any | None = None,
    item_embeddings: ItemEmbeddings | None = None,
) -> tuple[TrainState, Any]:
    """A fresh state and the frozen parameters, each computed where it lives.

    Args:
      network: the network.
      optimizer: an optax transformation.
      mesh: the mesh.
      seed: of fresh parameters.
      given: parameters that are not to be fresh (all, or all but the adapters and what of
        `ADDED_PARTS` the checkpoint lacks); placed already.
      item_embeddings: what item tokens start from instead.
    """
    state, frozen = abstract_state(network, optimizer, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, (state, frozen))

    def make(given: Any, items: ItemEmbeddings | None) -> tuple[TrainState, Any]:
        params = given
        if jax.tree.structure(given) != jax.tree.structure(join(state.params, frozen)):
            params = join(init_params(network, seed), given)
        if items:
            params = items.into(params)
        trained, rest = split_trained(network, params)
        return TrainState(jnp.zeros((), jnp.int32), trained, optimizer.init(trained)), rest

    start = jax.jit(make, out_shardings=shardings, donate_argnums=0)
    return start(given or {}, item_embeddings)


def batch_loss(
    network: Transformer,
    params: Any,
    batch: Batch,
    dropout_key: jax.Array | None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The summed loss of a teacher-forced batch, and its sums; see `losses.cross_entropy`, and
    `rating_head.rating_loss` for networks with a head.

    Features may come in a smaller integer type, to be sent to the device; they are widened here.
    `dropout_key` None means evaluation.
    """
    batch = {name: _widened(array) for name, array in batch.items()}
    config = network.config
    outputs = network.apply(
        {"params": params},
        **{name: batch[name] for name in NETWORK_FEATURES if name in batch},
        enable_dropout=dropout_key is not None,
        rngs=None if dropout_key is None else {"dropout": dropout_key},
        method="rate" if config.rates else None,
    )
    if config.rates:
        targets = (batch["decoder_input_tokens"], batch["decoder_target_tokens"])
        return rating_head.rating_loss(
            config.rating_head,
            outputs,
            rating_head.ratings_of_targets(*targets, config.rating_tokens),
            label_smoothing=label_smoothing,
            z_loss=z_loss,
        )
    return cross_entropy(
        outputs,
        batch["decoder_target_tokens"],
        batch["decoder_loss_weights"],
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )


def _widened(array: jax.Array) -> jax.Array:
    # Blocks are subtracted from each other, which no unsigned type survives.
    small = jnp.issubdtype(array.dtype, jnp.unsignedinteger)
    return array.astype(jnp.int32) if small else array


def make_train_step(
    network: Transformer,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    num_microbatches: int = 1,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
):
    """The jitted step: (state, frozen parameters, batch) -> (state, metrics).

    Dropout depends on the seed and the step alone, so a resumed run repeats it exactly. The loss
    is the mean over the batch's target tokens, in how many microbatches it may be computed.

    Raises:
      ValueError: `label_smoothing` is no share below 1.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}: give 0, or a share below 1")
    root = jax.random.key(seed + 1)

    def gradients(trained: Any, frozen: Any, batch: Batch, key: jax.Array) -> tuple[Any, dict]:
        def loss_fn(trained):
            return batch_loss(
                network,
                join(trained, frozen),
                batch,
                key,
                label_smoothing=label_smoothing,
                z_loss=z_loss,
            )

        grads, sums = jax.grad(loss_fn, has_aux=True)(trained)
        return grads, sums

    def accumulated(trained: Any, frozen: Any, batch: Batch, key: jax.Array) -> tuple[Any, dict]:
        def add(total: Any, numbered: tuple) -> tuple[Any, None]:
            number, microbatch = numbered
            microbatch = jax.tree.map(constrain, microbatch)
            found = gradients(trained, frozen, microbatch, jax.random.fold_in(key, number))
            return jax.tree.map(jnp.add, total, found), None

        # Every microbatch takes rows of every device, so nothing moves between devices.
        parts = jax.tree.map(
            lambda x: x.reshape(-1, num_microbatches, *x.shape[1:]).swapaxes(0, 1), batch
        )
        numbered = (jnp.arange(num_microbatches), parts)
        shapes = jax.eval_shape(
            gradients, trained, frozen, jax.tree.map(lambda x: x[0], parts), key
        )
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(add, zeros, numbered)[0]

    def train_step(
        state: TrainState, frozen: Any, batch: Batch
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(root, state.step)
        compute = gradients if num_microbatches == 1 else accumulated
        grads, sums = compute(state.params, frozen, batch, key)
        grads = jax.tree.map(lambda g: g / jnp.maximum(sums["num_tokens"], 1.0), grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state), sums

    return jax.jit(train_step, donate_argnums=0)


def make_eval_step(network: Transformer):
    """The jitted (params, frozen, batch) -> sums of loss and tokens, without dropout."""

    @jax.jit
    def eval_step(trained: Any, frozen: Any, batch: Batch) -> dict[str, jax.Array]:
        return batch_loss(network, join(trained, frozen), batch, None)[1]

    return eval_step
