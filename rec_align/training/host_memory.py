"""Memory of a CPU backend: freed arrays stay with the process, so that the next step finds them.

By default glibc gives each large freed block back to the system, and a step then waits for
thousands of zeroed pages: a step of `tiny` takes 1.4 times as long (bench/host_memory.py).
"""

import ctypes
import sys

from jax.sharding import Mesh

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
_MOST = 2**31 - 1


def keep_freed_memory(mesh: Mesh) -> None:
    """From now on the process keeps what it frees, where the mesh is of CPU devices on glibc."""
    if mesh.devices.flat[0].platform != "cpu" or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _MOST)
        mallopt(_M_ARENA_MAX, 1)  # the arenas of threads give back whatever the threshold
