"""Where arrays live: the mesh, and the placement of parameters, optimizer state and batches.

GSPMD splits the computation from these placements and the network's own constraints, so nothing
else in the engine knows how many devices or hosts there are.
"""

import math
from typing import Any

import jax
import numpy as np
import optax
from flax.core import unfreeze
from flax.linen.partitioning import get_axis_names
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rec_align.models.partitioning import MESH_AXES, mesh_axes
from rec_align.models.t5 import Transformer


def make_mesh(shape: str | None = None, devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh over all devices.

    Args:
      shape: "DATAxFSDPxMODEL", for instance "2x4x1"; "DATAxMODEL" has fsdp 1. One number may be -1
        and takes what is left. None: all devices are data.
      devices: instead of those of this machine or pod.

    Raises:
      ValueError: the shape cannot be read, or is not that of all devices.
    """
    num_devices = len(devices or jax.devices())
    try:
        sizes = [int(size) for size in (shape or "-1x1x1").split("x")]
        if len(sizes) == 2:
            sizes.insert(1, 1)
        (_, _, _), others = sizes, math.prod(size for size in sizes if size != -1)
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = num_devices // others
        if min(sizes) < 1 or math.prod(sizes) != num_devices:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"MESH: {shape!r} does not describe {num_devices} devices; write DATAxFSDPxMODEL with "
            f"that product, one of them may be -1, for instance '1x-1x1'."
        ) from None
    auto = (jax.sharding.AxisType.Auto,) * len(MESH_AXES)
    return jax.make_mesh(tuple(sizes), MESH_AXES, auto, devices=devices)


def _network_variables(network: Transformer) -> Any:
    tokens = jax.ShapeDtypeStruct((1, 2), np.int32)
    return jax.eval_shape(network.init, jax.random.key(0), tokens, tokens)


def abstract_params(network: Transformer, mesh: Mesh | None = None) -> Any:
    """The shapes of the network's parameters, and where they live; nothing is computed."""
    variables = _network_variables(network)
    if mesh is None:
        return variables["params"]
    names = unfreeze(get_axis_names(variables["params_axes"]))
    return jax.tree.map(lambda leaf, axes: _abstract(leaf, axes, mesh), variables["params"], names)


def _abstract(leaf: Any, axes: Any, mesh: Mesh) -> jax.ShapeDtypeStruct:
    sharding = NamedSharding(mesh, mesh_axes(axes, leaf.shape, mesh))
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def abstract_opt_state(optimizer: optax.GradientTransformation, params: Any, mesh: Mesh) -> Any:
    """The shapes and placements of an optimizer's state.

    Moments live where their parameter lives. A factored moment (Adafactor's rows and columns) has
    the parameter's shape without one dimension, and is split as the others are; of a square kernel
    both are split as its second dimension.

    Args:
      optimizer: an optax transformation.
      params: as `abstract_params` gives them with a mesh.
      mesh: the mesh.
    """

    def like_param(leaf: Any, param: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        split = list(param.sharding.spec) + [None] * (len(param.shape) - len(param.sharding.spec))
        for dropped in [None, *range(len(param.shape))]:
            kept = [i for i in range(len(param.shape)) if i != dropped]
            if leaf.shape == tuple(param.shape[i] for i in kept):
                return _placed(leaf, PartitionSpec(*(split[i] for i in kept)))
        return _placed(leaf, PartitionSpec())

    def _placed(leaf: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return optax.tree_map_params(
        optimizer,
        like_param,
        jax.eval_shape(optimizer.init, params),
        params,
        transform_non_params=lambda leaf: _placed(leaf, PartitionSpec()),
    )


def batch_sharding(mesh: Mesh, batch_size: int) -> NamedSharding:
    return NamedSharding(mesh, mesh_axes(("batch",), (batch_size,), mesh))


def num_batch_shards(mesh: Mesh) -> int:
    """Over how many groups of devices the rows of a batch are split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def host_shard(mesh: Mesh, batch_size: int, num_microbatches: int = 1) -> tuple[int, int]:
    """Which part of every batch this host brings: (its number, how many parts there are).

    Hosts whose devices hold the same rows (a `model` axis that spans hosts) bring the same part.

    Raises:
      ValueError: the batch does not divide, or the hosts' rows overlap in part.
    """
    shards = num_batch_shards(mesh)
    if num_microbatches < 1 or batch_size < 1 or batch_size % (shards * num_microbatches):
        raise ValueError(
            f"BATCH_SIZE: {batch_size} does not divide by data x fsdp of the mesh ({shards}) x "
            f"NUM_MICROBATCHES ({num_microbatches}); take a multiple of the product."
        )
    rows: dict[int, set[int]] = {}
    for row, devices in enumerate(mesh.devices.reshape(shards, -1)):
        for device in devices:
            rows.setdefault(device.process_index, set()).add(row)
    parts = sorted({tuple(sorted(mine)) for mine in rows.values()})
    if sum(map(len, parts)) != shards or len({len(part) for part in parts}) != 1:
        raise ValueError(
            f"MESH: the hosts' parts of the batch overlap or differ in size ({parts}); choose "
            "data x fsdp as a multiple or a divisor of the number of hosts."
        )
    return parts.index(tuple(sorted(rows[jax.process_index()]))), len(parts)


def num_parts(mesh: Mesh) -> int:
    """Of how many parts, each from one or more hosts, a batch is made."""
    return host_shard(mesh, num_batch_shards(mesh))[1]


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A global batch of the hosts' parts (see `host_shard`), split over `data` and `fsdp`."""
    size = len(next(iter(batch.values()))) * num_parts(mesh)
    sharding = batch_sharding(mesh, size)
    return {
        name: jax.make_array_from_process_local_data(sharding, array, (size, *array.shape[1:]))
        for name, array in batch.items()
    }


def shard_whole_batch(tree: Any, mesh: Mesh) -> Any:
    """The same for arrays that every host has whole; rows that do not divide are copied."""

    def place(array: Any) -> jax.Array:
        array = np.asarray(array)
        sharding = batch_sharding(mesh, len(array))
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(place, tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A copy of the arrays, which every host has whole, on every device."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda array: jax.make_array_from_callback(
            np.shape(array), sharding, lambda index: np.asarray(array)[index]
        ),
        tree,
    )
