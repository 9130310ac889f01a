"""What a step frees the next one finds: page faults of the same program with and without."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import jax
import jax.numpy as jnp
from rec_align.host_memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
# The temporary array, 64 MB, is of no use after the call.
step = jax.jit(lambda x: (jnp.sin(x[:, None] * x) @ x).sum())
x = jnp.arange(4000.0)
for _ in range(25):  # until the allocator has found its places
    jax.block_until_ready(step(x))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    jax.block_until_ready(step(x))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


def page_faults(memory: str) -> int:
    command = [sys.executable, "-c", PROGRAM, memory]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is of Linux")
def test_a_step_finds_the_memory_that_the_last_one_freed():
    given_back, kept = page_faults("given_back"), page_faults("kept")
    assert given_back > 10_000  # 64 MB are 15,625 pages
    assert kept < given_back / 2
