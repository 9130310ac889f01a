"""Work on a log that lies in parts: a question to each part, the answers summed; files put whole.

Sits below `user_parts`, `splits` and `histories_tfds`. The parts are asked one after the other,
or on many machines at once (see `beam_build`); what is asked is the same.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Protocol

from etils import epath

Tally = dict[str, Any]  # of arrays, numbers or tuples: what `+` puts together


class Total(Protocol):
    """Sums what a function says of each value; `shared` goes to it by name, and may be large."""

    def __call__(
        self, function: Callable[..., Tally], values: Iterable[Any], **shared: Any
    ) -> Tally: ...


def total_here(function: Callable[..., Tally], values: Iterable[Any], **shared: Any) -> Tally:
    """The `Total` of this process."""
    return sum_up(function(value, **shared) for value in values)


def sum_up(tallies: Iterable[Tally]) -> Tally:
    """Adds tallies, name by name.

    Example: [{'rows': 2, 'notes': ('a',)}, {'rows': 3, 'notes': ()}] -> {'rows': 5, 'notes':
    ('a',)}.
    """
    total: Tally = {}
    for tally in tallies:
        for name, value in tally.items():
            total[name] = total[name] + value if name in total else value
    return total


@contextlib.contextmanager
def whole(path: epath.Path) -> Iterator[epath.Path]:
    """Gives a place to write a file at; it is moved to `path` when it is whole.

    Beam may run a step again, or twice at once: the last to end wins, and all write the same.
    """
    writing = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield writing
        writing.replace(path)
    finally:
        writing.unlink(missing_ok=True)


@contextlib.contextmanager
def open_whole(path: epath.Path) -> Iterator[IO[bytes]]:
    """Opens a file for writing; it is there when it is whole."""
    with whole(path) as writing, writing.open("wb") as file:
        yield file
