"""Memory of a CPU backend: freed arrays stay with the process, so that the next step finds them.

By default glibc gives each large freed block back to the system, and a training step then waits
for thousands of zeroed pages (bench/cpu_step.py).
"""

import ctypes
import pathlib
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
_MOST = 2**31 - 1
_ACCELERATORS = ("accel*", "vfio/[0-9]*", "nvidia[0-9]*", "kfd")  # in /dev: TPU, TPU, CUDA, ROCm


def keep_freed_memory() -> None:
    """From now on the process keeps what it frees, where it runs on the CPUs of a Linux machine.

    To be called before the backend starts: threads that have a heap of their own keep it, and those
    heaps give back whatever is asked for. With an accelerator at hand nothing is changed, for there
    the host prepares batches in many threads, which one heap would hold up.
    """
    if not sys.platform.startswith("linux"):
        return
    if any(next(pathlib.Path("/dev").glob(name), None) for name in _ACCELERATORS):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _MOST)
        mallopt(_M_ARENA_MAX, 1)
