"""Ctrl-C and SIGTERM ask a run to stop after its current step, instead of killing it."""

import collections
import functools
import signal
from collections.abc import Callable
from types import FrameType

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# Steps between asking the other hosts and reading their answer, so that nobody waits for it.
LAG = 2


class StopRequest:
    """A context in which SIGINT and SIGTERM set `requested`; a second one kills as usual.

    With several hosts a signal to any of them stops all after the same step: each tells the others
    at every step, in a sum over all devices that runs behind the training step. (The pre-emption
    service of `jax.distributed` counts steps from 0 and misses a signal to a run that resumed.)
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._signalled: int = 0
        self._answers: collections.deque[jax.Array] = collections.deque()
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def requested_now(self) -> bool:
        """Whether to stop before the next step; every host asks once a step, all hear the same."""
        found = self._signalled
        if jax.process_count() > 1:
            self._answers.append(_greatest(self._signalled))
            found = int(self._answers.popleft()) if len(self._answers) > LAG else 0
        if found:
            self.requested = signal.Signals(found).name
        return bool(found)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._signalled = number
        signal.signal(number, signal.SIG_DFL)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def _greatest(number: int) -> jax.Array:
    """The greatest of the hosts' numbers; computed in the background."""
    each, find = _search()
    return find(
        jax.make_array_from_callback(
            each.mesh.devices.shape, each, lambda _: np.array([number], np.int32)
        )
    )


@functools.cache
def _search() -> tuple[NamedSharding, Callable[[jax.Array], jax.Array]]:
    """One number a device, and their greatest on all devices."""
    mesh = Mesh(np.array(jax.devices()), ("all",))
    each = NamedSharding(mesh, PartitionSpec("all"))
    return each, jax.jit(jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec()))
