"""Ctrl-C and SIGTERM ask a run to stop after its current step, instead of killing it."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """A context in which SIGINT and SIGTERM set `requested`; a second one kills as usual.

    With several hosts a SIGTERM to any of them (a pre-emption) stops all after the same step: the
    service of `jax.distributed` takes the signal and agrees on the step.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if jax.process_count() == 1:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def requested_at(self, step: int) -> bool:
        """Whether to stop before `step`; every host asks at every step, and all hear the same."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.requested = "SIGTERM"
        return self.requested is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
