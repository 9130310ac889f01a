"""What a training step needs of each device, found by compiling it: no weights, no accelerator.

The program is the one that `loop.train` runs, lowered on abstract shapes for a mesh of devices that
are simulated (CPU) or described (`topology`). XLA then says how much memory it takes.
"""

import dataclasses
import math
import re
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from rec_align.models.lora import join
from rec_align.models.t5 import Transformer
from rec_align.training.collectives import collective_bytes
from rec_align.training.flops import step_flops
from rec_align.training.sharding import batch_sharding, host_shard
from rec_align.training.state import Batch, abstract_state, make_train_step

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One training step on one mesh. Bytes are of the device that has the most.

    Attributes:
      device_kind: what it was compiled for, such as "TPU v4" or "cpu".
      mesh: devices by axis: {"data": 2, "fsdp": 4, "model": 4}.
      num_parameters: of the network, frozen ones included.
      memory: bytes by kind:
        parameters, frozen parameters, optimizer state, batch: the step's arguments, from their
          shapes and placements;
        layout padding: what the arguments take more than that, in the device's tiles;
        temporaries: activations, gradients, gathered parameters: what lives at the worst moment;
        outputs: results that do not take an argument's place;
        program: the code.
      gradient_bytes: what gradients in float32 take where all live at once; within temporaries.
      flops: of the whole step over all devices; see `step_flops`.
      xla_flops: XLA's count for one device, each loop's body once; None where it was refused.
      collectives: bytes by kind that a device sends or takes; see `collective_bytes`.
      unknown_loops: loops in it that are counted once because their length is not known.
      available: bytes that a program may use, where the compiler refused this one for its size;
        its `memory` is what the compiler would have needed when it gave up.
      compile_seconds: how long it took.
    """

    device_kind: str
    mesh: Mapping[str, int]
    num_parameters: int
    memory: Mapping[str, int]
    gradient_bytes: int
    flops: float
    xla_flops: float | None
    collectives: Mapping[str, int]
    unknown_loops: int
    available: int | None
    compile_seconds: float

    @property
    def total_bytes(self) -> int:
        return sum(self.memory.values())

    def fits(self, hbm_bytes: float) -> bool:
        """Whether a device with this much memory can run it."""
        return self.available is None and self.total_bytes <= hbm_bytes


def abstract_batch(
    mesh: Mesh, rows: int, inputs: int, targets: int, *, entities: bool = False
) -> Batch:
    """The shapes and placements of a packed batch: what the network and the loss read of it."""
    placed = batch_sharding(mesh, rows)
    of_inputs = ("encoder_input_tokens", "encoder_segment_ids", "encoder_blocks")
    of_targets = (
        "decoder_input_tokens",
        "decoder_target_tokens",
        "decoder_loss_weights",
        "decoder_segment_ids",
        "decoder_blocks",
    )
    lengths = dict.fromkeys(of_inputs, inputs) | dict.fromkeys(of_targets, targets)
    if entities:
        lengths["encoder_entities"] = inputs
    return {
        name: jax.ShapeDtypeStruct((rows, length), jnp.int32, sharding=placed)
        for name, length in lengths.items()
    }


def device_bytes(tree: Any) -> int:
    """Bytes of the largest shards of a tree of shapes with placements."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def make_plan(
    network: Transformer,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    batch_size: int,
    inputs: int,
    targets: int,
    num_microbatches: int = 1,
    quick: bool = False,
) -> Plan:
    """Compiles a training step and reads what it needs.

    Args:
      network: the network; its vocabulary size is known.
      optimizer: an optax transformation.
      mesh: of devices that may be described only; see `topology`.
      batch_size: packed rows a step, over all devices.
      inputs: tokens a row.
      targets: tokens a row.
      num_microbatches: see `make_train_step`.
      quick: the compiler takes less trouble: a third of the time, a few per cent more memory than
        the program that training runs.

    Raises:
      ValueError: the batch does not divide by the mesh and the microbatches.
    """
    host_shard(mesh, batch_size, num_microbatches)
    state, frozen = abstract_state(network, optimizer, mesh)
    entities = network.config.reads_entities
    batch = abstract_batch(mesh, batch_size, inputs, targets, entities=entities)
    arguments = {
        "parameters": device_bytes(state.params),
        "frozen parameters": device_bytes(frozen),
        "optimizer state": device_bytes((state.opt_state, state.step)),
        "batch": device_bytes(batch),
    }
    params = join(state.params, frozen)
    step = make_train_step(network, optimizer, seed=0, num_microbatches=num_microbatches)
    effort = {"exec_time_optimization_effort": -1.0} if quick else {}
    started = time.monotonic()
    try:
        with jax.set_mesh(mesh):
            compiled = step.lower(state, frozen, batch).compile(compiler_options=effort)
    except jax.errors.JaxRuntimeError as error:
        found = _refused(error, arguments)
    else:
        found = _measured(compiled, arguments)
    return Plan(
        device_kind=mesh.devices.flat[0].device_kind,
        mesh=dict(mesh.shape),
        num_parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        gradient_bytes=arguments["parameters"],
        flops=step_flops(network.config, params, batch_size, inputs, targets),
        compile_seconds=time.monotonic() - started,
        **found,
    )


def _measured(compiled: jax.stages.Compiled, arguments: dict[str, int]) -> dict[str, Any]:
    found = compiled.memory_analysis()
    collectives, unknown = collective_bytes(compiled.as_text())
    return {
        "memory": {
            **arguments,
            "layout padding": found.argument_size_in_bytes - sum(arguments.values()),
            "temporaries": found.temp_size_in_bytes,
            "outputs": found.output_size_in_bytes - found.alias_size_in_bytes,
            "program": found.generated_code_size_in_bytes,
        },
        "xla_flops": compiled.cost_analysis().get("flops"),
        "collectives": collectives,
        "unknown_loops": unknown,
        "available": None,
    }


def _refused(error: jax.errors.JaxRuntimeError, arguments: dict[str, int]) -> dict[str, Any]:
    """What the compiler's message tells where a program is too large; other errors are raised."""
    message = str(error)
    found = re.search(r"\(([\d.]+[KMG])\) exceeds available HBM \(([\d.]+[KMG])\)", message)
    found = found or re.search(r"Used ([\d.]+[KMG]) of ([\d.]+[KMG]) hbm", message)
    if not found:
        raise error
    needed, available = (
        round(float(size[:-1]) * {"K": 2**10, "M": 2**20, "G": GIB}[size[-1]])
        for size in found.groups()
    )
    return {
        "memory": {**arguments, "temporaries": max(needed - sum(arguments.values()), 0)},
        "xla_flops": None,
        "collectives": {},
        "unknown_loops": 0,
        "available": available,
    }
