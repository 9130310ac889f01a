"""Memory of a CPU backend: freed arrays stay with the process, so that the next step finds them.

By default glibc gives each large freed block back to the system, and a training step then waits
for thousands of zeroed pages (bench/cpu_step.py).
"""

import ctypes
import pathlib
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
_MOST = 2**31 - 1
# In /dev: TPUs, CUDA, ROCm, and any GPU of Windows' Linux.
_ACCELERATORS = ("accel[0-9]*", "vfio/[0-9]*", "nvidia[0-9]*", "kfd", "dxg")


def keep_freed_memory() -> None:
    """From now on the process keeps what it frees, where it runs on the CPUs of a Linux machine.

    To be called before the backend starts, for a thread keeps the heap that it began with, and the
    heaps of threads are trimmed whatever these settings. With an accelerator at hand nothing is
    changed, for there the host prepares batches in many threads, which one heap would hold up.
    """
    mallopt = _mallopt()
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _MOST)
        mallopt(_M_ARENA_MAX, 1)


def _mallopt(devices: pathlib.Path = pathlib.Path("/dev")):
    """The function of glibc, None on other systems and where there is an accelerator."""
    if not sys.platform.startswith("linux"):
        return None
    if any(any(devices.glob(name)) for name in _ACCELERATORS):
        return None
    return getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
