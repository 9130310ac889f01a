"""Where arrays live: a data-parallel mesh over all devices; parameters are replicated.

GSPMD splits the computation from the placement of its inputs alone, so nothing else in the engine
knows how many devices there are.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def data_mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("data",))


def replicate(tree: Any, mesh: Mesh) -> Any:
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Splits the leading axis over the devices; each host brings its own part of the batch.

    Raises:
      ValueError: the host's batch does not divide by its number of devices.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    size = len(next(iter(batch.values())))
    if size % len(mesh.local_devices):
        raise ValueError(
            f"BATCH_SIZE: {size} examples on this host do not divide by its "
            f"{len(mesh.local_devices)} devices; take a multiple of {len(mesh.local_devices)}."
        )
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }
