"""TPU pods that are not here: their devices to compile for, and the memory that each has.

libtpu, the TPU compiler, runs on any x86 Linux machine; `pip install 'rec_align[tpu]'` brings it.
"""

import importlib.util
import os

import jax
from jax.experimental import topologies

# GiB of HBM that a program may use on one device, JAX's device being a chip or, where a chip shows
# two, half of it. Source: what libtpu 0.0.42's compiler says when it refuses a program; the round
# numbers of a data sheet (16, 32, 95 GB) are a little more.
HBM_GIB = {
    "v2": 7.48,
    "v3": 15.48,
    "v4": 30.75,
    "v5e": 15.75,
    "v5p": 95.74,
    "v6e": 31.25,
    "tpu7x": 94.75,
}

# Nothing is asked of the machine, which may be no TPU host or have a run on its TPU.
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # libtpu 0.0.42 overflows its compiler threads' stacks on some meshes of XL.
    "LIBTPU_INIT_ARGS": "--fibers_default_thread_stack_size=4194304",
    "TPU_ACCELERATOR_TYPE": "v4-8",
    "TPU_LOG_DIR": "disabled",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def hbm_gib(topology: str) -> float | None:
    """What a program may use of a device of `topology`; None where that is not known."""
    return HBM_GIB.get(topology.split(":")[0])


def topology_devices(topology: str) -> list[jax.Device]:
    """The devices of a TPU topology, GENERATION:AxB or GENERATION:AxBxC, by its numbers of chips.

    v4-32 is "v4:2x2x4" (the name counts cores, two a chip), v5e-64 is "v5e:8x8".

    Raises:
      ValueError: libtpu is not installed, or does not know the topology.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            "--topology needs the TPU compiler: pip install 'rec_align[tpu]' (libtpu; no TPU is "
            "needed). Without --topology the plan is made with simulated CPU devices."
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    generation, _, shape = topology.partition(":")
    # v4's two cores work as one device, as they do for a program that runs on it.
    options = {"chip_config_name": "megacore"} if generation == "v4" else {}
    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=f"{generation}:{shape}", **options
        ).devices
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"--topology {topology}: {str(error).splitlines()[0]}. Write GENERATION:CHIPS, such as "
            f"v4:2x2x4 (v4-32) or v5e:8x8 (v5e-64); generations: {', '.join(HBM_GIB)}."
        ) from error
