"""What a step frees the next one finds: page faults of the same program with and without."""

import os
import subprocess
import sys

import pytest

from rec_align import host_memory

PROGRAM = """
import resource, sys
import jax
import jax.numpy as jnp
from rec_align.host_memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
# The temporary array, 64 MB, is of no use after the call.
step = jax.jit(lambda x: (x[:, None] * x) @ x)
x = jnp.arange(4000.0)
for _ in range(25):  # until the allocator has found its places
    jax.block_until_ready(step(x))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    jax.block_until_ready(step(x))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


@pytest.mark.skipif(host_memory._mallopt() is None, reason="no glibc, or an accelerator")
def test_a_step_finds_the_memory_that_the_last_one_freed():
    given_back, kept = page_faults("given_back"), page_faults("kept")
    if given_back < 10_000:  # 64 MB are 15,625 pages
        pytest.skip("the system gives memory in large pages here")
    assert kept < given_back / 2


def page_faults(memory: str) -> int:
    command = [sys.executable, "-c", PROGRAM, memory]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(found.stdout)


@pytest.mark.parametrize("device", ["nvidia0", "accel3", "vfio/12", "kfd"])
def test_with_an_accelerator_nothing_is_changed(tmp_path, device):
    (tmp_path / device).parent.mkdir(exist_ok=True)
    (tmp_path / device).touch()
    assert host_memory._mallopt(tmp_path) is None


def test_the_drivers_folder_alone_is_no_accelerator(tmp_path):
    for folder in ("accel", "vfio"):
        (tmp_path / folder).mkdir()
    assert (host_memory._mallopt(tmp_path) is None) == (host_memory._mallopt() is None)
