"""A log on disk in parts by user, so that only one part is held: all rows of some of the users.

Sits between `interactions` and `kcore`/`splits`. A user's part is told by the first bits of the
SHA-256 of his id, so that parts one after the other have the users in the order in which a corpus
has them.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from rec_align.data import interactions as interactions_lib
from rec_align.data.interactions import Interactions

NUM_PARTS = 64
_BITS = 6  # of a hash's first byte that tell the part
_ROW = np.dtype(
    [("users", "<i4"), ("items", "<i4"), ("ticks", "<i8"), ("ratings", "<f4"), ("rows", "<i8")]
)
_HASH_BYTES = 32


class UserParts:
    """The parts of a log, in files of 28 bytes an interaction.

    Args:
      folder: an existing directory for the files.
      batches: the log, in the order of its file; all rows of a batch are used.

    Attributes:
      skipped: what was left out of the batches.
    """

    def __init__(self, folder: pathlib.Path, batches: Iterable[Interactions]):
        self._folder = folder
        hashes = np.array([], f"S{_HASH_BYTES}")
        notes = []
        files = [self._path(part).open("wb") for part in range(NUM_PARTS)]
        try:
            for batch in batches:
                notes += batch.skipped
                hashes = np.concatenate([hashes, _hashes(batch.user_ids[len(hashes) :])])
                _add(batch, _parts_of(hashes), files)
        finally:
            for file in files:
                file.close()
        pa.default_memory_pool().release_unused()
        # What all rows have in common.
        self._empty = dataclasses.replace(batch.keep(np.zeros(len(batch), bool)), skipped=())
        self.skipped = interactions_lib.merge_skipped(notes)
        order = np.argsort(hashes)
        first = np.searchsorted(_parts_of(hashes)[order], np.arange(NUM_PARTS))
        ranks = np.empty(len(hashes), np.int32)
        ranks[order] = np.arange(len(hashes))
        for part, start in enumerate(first):
            users = ranks[(log := self.read(part)).users] - start
            self.write(part, dataclasses.replace(log, users=users))

    @property
    def item_ids(self) -> pa.Array:
        """Raw id of each item code."""
        return pa.array(self._empty.item_ids[:], pa.string())

    @property
    def num_items(self) -> int:
        return len(self._empty.item_ids)

    def __iter__(self) -> Iterator[Interactions]:
        return (self.read(part) for part in range(NUM_PARTS))

    def read(self, part: int) -> Interactions:
        """Returns a part, in the order of the log; users are 0-based in the order of the hash."""
        rows = np.fromfile(self._path(part), _ROW)
        arrays = {name: np.ascontiguousarray(rows[name]) for name in interactions_lib.ARRAYS}
        return dataclasses.replace(self._empty, **arrays)

    def write(self, part: int, log: Interactions) -> None:
        """Puts a log in the place of a part."""
        _table(log).tofile(self._path(part))

    def _path(self, part: int) -> pathlib.Path:
        return self._folder / f"{part}.rows"


def _hashes(ids: Iterable[str]) -> np.ndarray:
    """Returns the SHA-256 of each id, [n] of 32 bytes."""
    digests = b"".join(hashlib.sha256(raw_id.encode()).digest() for raw_id in ids)
    return np.frombuffer(digests, f"S{_HASH_BYTES}")


def _parts_of(hashes: np.ndarray) -> np.ndarray:
    """Returns the part of each hash, uint8 [n]."""
    first_bytes = hashes.view(np.uint8).reshape(-1, _HASH_BYTES)[:, 0]
    return first_bytes >> 8 - _BITS


def _table(log: Interactions, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    columns = {name: getattr(log, name)[chosen] for name in interactions_lib.ARRAYS}
    rows = np.empty(len(columns["rows"]), _ROW)
    for name, column in columns.items():
        rows[name] = column
    return rows


def _add(batch: Interactions, part_of_user: np.ndarray, files: list) -> None:
    parts = part_of_user[batch.users]
    order = np.argsort(parts, kind="stable")
    ends = np.cumsum(np.bincount(parts, minlength=NUM_PARTS))
    for file, begin, end in zip(files, [0, *ends[:-1]], ends, strict=True):
        file.write(_table(batch, order[begin:end]).view(np.uint8))
