"""Plans and compiled programs as JSON, made in a process of its own by plan_test.py.

python -m tests.training.plan_run NAME [ARGUMENT ...]   with one of the functions below; without a
TPU topology it simulates eight CPU devices.
"""

import dataclasses
import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rec_align.models.t5 import T5Config, Transformer
from rec_align.training import optimizers, sharding, topology
from rec_align.training.collectives import collective_bytes
from rec_align.training.plan import abstract_batch, make_plan
from rec_align.training.state import init_state, make_train_step

CONFIG = T5Config(
    vocab_size=512,
    emb_dim=64,
    num_heads=4,
    head_dim=16,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_dim=128,
)
SIZES = {"batch_size": 16, "inputs": 32, "targets": 16}


def make(mesh, optimizer: str = "adamw", batch_size: int = 16, **changes):
    network = Transformer(dataclasses.replace(CONFIG, **changes))
    built = getattr(optimizers, optimizer)(optax.constant_schedule(1e-3))
    plan = make_plan(network, built, mesh, **SIZES | {"batch_size": batch_size})
    return network, built, plan


def on_cpu(mesh_shape: str, optimizer: str) -> dict:
    """The plan, and beside it the real state's shards and XLA's words on the real step."""
    mesh = sharding.make_mesh(mesh_shape)
    network, built, plan = make(mesh, optimizer)
    state, frozen = init_state(network, built, mesh, seed=0)
    shapes = abstract_batch(mesh, *SIZES.values())
    batch = sharding.shard_batch({k: np.ones(s.shape, s.dtype) for k, s in shapes.items()}, mesh)
    step = make_train_step(network, built, seed=0)

    def on_one_device(tree) -> int:
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))

    with jax.set_mesh(mesh):
        found = step.lower(state, frozen, batch).compile().memory_analysis()
    return {
        "plan": dataclasses.asdict(plan),
        "total": plan.total_bytes,
        "fits": [plan.fits(plan.total_bytes + more) for more in (-1, 0, 1)],
        "real": {
            "parameters": on_one_device(state.params),
            "optimizer state": on_one_device((state.opt_state, state.step)),
            "batch": on_one_device(batch),
        },
        "xla": {
            "arguments": found.argument_size_in_bytes,
            "temporaries": found.temp_size_in_bytes,
            "outputs": found.output_size_in_bytes,
            "aliased": found.alias_size_in_bytes,
        },
    }


def planned(mesh_shape: str, optimizer: str) -> dict:
    return dataclasses.asdict(make(sharding.make_mesh(mesh_shape), optimizer)[2])


def collectives(tpu: str = "") -> list[dict]:
    """Programs whose collectives are known: x is [8, 16, 24] float32 split eight ways."""
    devices = topology.topology_devices(tpu) if tpu else jax.devices()
    mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,), devices=devices)
    x = jax.ShapeDtypeStruct((8, 16, 24), jnp.float32, sharding=NamedSharding(mesh, P("x")))

    def repeated(x):
        return jax.lax.fori_loop(0, 5, lambda _, y: jax.lax.psum(y, "x") / 8, x)

    def nested(x):
        return jax.lax.scan(lambda y, _: (repeated(y), None), x, length=3)[0]

    def stepped(x):
        body = lambda state: (state[0] + 2, jax.lax.psum(state[1], "x") / 8)  # noqa: E731
        return jax.lax.while_loop(lambda state: state[0] < 9, body, (0, x))[1]

    def until_small(x):
        return jax.lax.while_loop(lambda y: y[0, 0, 0] > 1, lambda y: jax.lax.psum(y, "x"), x)

    ring = [(i, (i + 1) % 8) for i in range(8)]
    programs = {
        "psum": lambda x: jax.lax.psum(x, "x"),
        "repeated": repeated,
        "nested": nested,
        "stepped": stepped,
        "until_small": until_small,
        "all_gather": lambda x: jax.lax.all_gather(x, "x"),
        "psum_scatter": lambda x: jax.lax.psum_scatter(x, "x", scatter_dimension=1, tiled=True),
        "all_to_all": lambda x: jax.lax.all_to_all(x, "x", 1, 2, tiled=True),
        "ppermute": lambda x: jax.lax.ppermute(x, "x", ring),
        "nothing": lambda x: 2 * x,
    }

    def compiled(program) -> str:
        placed = functools.partial(jax.shard_map, mesh=mesh, in_specs=P("x"), out_specs=P("x"))
        return jax.jit(placed(program, check_vma=False)).lower(x).compile().as_text()

    texts = {name: compiled(program) for name, program in programs.items()}
    # XLA notes the length of most loops; without its notes they are followed.
    unnoted = {name: text.replace("known_trip_count", "") for name, text in texts.items()}
    return [
        {name: collective_bytes(text) for name, text in each.items()} for each in (texts, unnoted)
    ]


def on_tpu() -> dict:
    """Two plans for four v5e chips, the second far too large."""
    mesh = sharding.make_mesh("1x2x2", topology.topology_devices("v5e:2x2"))
    fitting = make(mesh, "adafactor", dtype="bfloat16", scan_layers=True)[2]
    refused = too_large(mesh)
    return {
        "plan": dataclasses.asdict(fitting),
        "total": fitting.total_bytes,
        "refused": dataclasses.asdict(refused),
        "refused_total": refused.total_bytes,
        "refused_fits": refused.fits(1e18),
    }


def tpu_limits() -> dict:
    """What the compiler lets a program use, for the other generations of TPU."""
    return {
        name.split(":")[0]: too_large(
            sharding.make_mesh(None, topology.topology_devices(name))
        ).available
        for name in ("v4:2x2x1", "v5p:2x2x1", "v6e:2x2")
    }


def too_large(mesh):
    """The plan of a step whose logits alone are 128 GiB a device."""
    sizes = {"vocab_size": 2**15, "num_encoder_layers": 1, "num_decoder_layers": 1}
    return make(mesh, "adafactor", 2**18, **sizes)[2]


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
