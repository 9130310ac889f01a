"""Logical axes: what the dimensions of arrays are called, and which mesh axes hold them.

The names are T5X's. A mesh has three axes: `data` copies the parameters, `fsdp` splits parameters
and optimizer state and gathers them where they are used, `model` splits the work inside a layer
(Megatron's tensor parallelism). Batches are split over `data` and `fsdp`.
"""

import math
from collections.abc import Sequence

import jax
from flax.linen.partitioning import logical_to_mesh_axes
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

MESH_AXES = ("data", "fsdp", "model")

# In order of precedence: a mesh axis that an earlier name has taken is not used again.
RULES = (
    ("batch", ("data", "fsdp")),
    ("vocab", "model"),
    ("mlp", "model"),
    ("heads", "model"),
    ("joined_kv", "model"),
    ("embed", "fsdp"),
    ("kv", None),
    ("length", None),
    ("relpos_buckets", None),
    ("lora_rank", None),
    ("ratings", None),
)


def mesh_axes(
    names: Sequence[str | None], shape: Sequence[int], mesh: Mesh | AbstractMesh
) -> PartitionSpec:
    """The mesh axes that split an array; a dimension that does not divide by them stays whole.

    Example on a mesh data=2, fsdp=2, model=2: ("embed", "mlp"), (64, 255) -> ("fsdp", None).
    """
    parts = []
    for size, axes in zip(shape, logical_to_mesh_axes(tuple(names), RULES), strict=True):
        axes = (axes,) if isinstance(axes, str) else (axes or ())
        while size % math.prod(mesh.shape[axis] for axis in axes):
            axes = axes[:-1]
        parts.append(axes or None)
    return PartitionSpec(*parts)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Tells XLA how an activation is split; outside a mesh of ours it does nothing.

    Args:
      x: [batch, ..., dimensions with the other names].
      *names: the last so many dimensions; the first is always `batch`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if tuple(mesh.axis_names) != MESH_AXES:
        return x
    between = (None,) * (x.ndim - 1 - len(names))
    return jax.lax.with_sharding_constraint(
        x, mesh_axes(("batch", *between, *names), x.shape, mesh)
    )
