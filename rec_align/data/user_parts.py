"""A log on disk in parts by user, so that only one part is held: all rows of some of the users.

Sits between `interactions` and `kcore`/`splits`. A user's part is told by the first bits of the
SHA-256 of his id, so that parts one after the other have the users in the order in which a corpus
has them.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from etils import epath

from rec_align.data import by_part
from rec_align.data import interactions as interactions_lib
from rec_align.data.interactions import Interactions

NUM_PARTS = 64
_BITS = 6  # of a hash's first byte that tell the part
_ROW = np.dtype(
    [("users", "<i4"), ("items", "<i4"), ("ticks", "<i8"), ("ratings", "<f4"), ("rows", "<i8")]
)
_HASH_BYTES = 32


@dataclasses.dataclass(frozen=True)
class PartFiles:
    """The parts' files, of 52 bytes an interaction.

    Attributes:
      folder: an existing directory.
      ticks_per_second: of all parts.
    """

    folder: epath.Path
    ticks_per_second: int

    def read(self, part: int) -> Interactions:
        """Returns a part, in the order of the log; users are 0-based in the order of the hash.

        It has no ids and tells no lines: they are those of the whole log.
        """
        rows = np.frombuffer(self.path(part).read_bytes(), _ROW)
        arrays = {name: np.ascontiguousarray(rows[name]) for name in interactions_lib.ARRAYS}
        return interactions_lib.without_ids(self.ticks_per_second, **arrays)

    def write(self, part: int, log: Interactions) -> None:
        """Puts a log in the place of a part."""
        with by_part.open_whole(self.path(part)) as file:
            file.write(_table(log).tobytes())

    def path(self, part: int, kind: str = "rows") -> epath.Path:
        """Returns the path of a part's file."""
        return self.folder / f"{part}.{kind}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartedLog:
    """A log in parts.

    Attributes:
      files: the parts.
      item_ids: string [num_items], raw id of each item code.
      skipped: what has been left out.
      where: rows -> 'ratings.csv, lines 7 and 9'.
    """

    files: PartFiles
    item_ids: pa.Array
    skipped: tuple[interactions_lib.Skipped, ...]
    where: Callable[[Sequence[int]], str] = dataclasses.field(repr=False)

    @property
    def num_items(self) -> int:
        return len(self.item_ids)

    def __iter__(self) -> Iterator[Interactions]:
        return (self.files.read(part) for part in range(NUM_PARTS))


class UserParts(PartedLog):
    """The parts of a log that comes in batches.

    Args:
      folder: an existing directory for the files.
      batches: the log, in the order of its file; all rows of a batch are used.
    """

    def __init__(self, folder: pathlib.Path, batches: Iterable[Interactions]):
        hashes = np.array([], f"S{_HASH_BYTES}")
        notes = []
        paths = PartFiles(epath.Path(folder), 1)
        files = [paths.path(part).open("wb") for part in range(NUM_PARTS)]
        try:
            for batch in batches:
                notes += batch.skipped
                hashes = np.concatenate([hashes, hashes_of(batch.user_ids[len(hashes) :])])
                _add(batch, parts_of(hashes), files)
        finally:
            for file in files:
                file.close()
        pa.default_memory_pool().release_unused()
        super().__init__(
            files=dataclasses.replace(paths, ticks_per_second=batch.ticks_per_second),
            item_ids=pa.array(batch.item_ids[:], pa.string()),
            skipped=interactions_lib.merge_skipped(notes),
            where=batch.where,
        )
        ranks = ranks_of(hashes)
        num_before = np.searchsorted(np.sort(parts_of(hashes)), np.arange(NUM_PARTS))
        for part, start in enumerate(num_before):
            users = ranks[(log := self.files.read(part)).users] - start
            self.files.write(part, dataclasses.replace(log, users=users))


def hashes_of(ids: Iterable[str]) -> np.ndarray:
    """Returns the SHA-256 of each id, [n] of 32 bytes."""
    digests = b"".join(hashlib.sha256(raw_id.encode()).digest() for raw_id in ids)
    return np.frombuffer(digests, f"S{_HASH_BYTES}")


def parts_of(hashes: np.ndarray) -> np.ndarray:
    """Returns the part of each hash, uint8 [n]."""
    first_bytes = hashes.view(np.uint8).reshape(-1, _HASH_BYTES)[:, 0]
    return first_bytes >> 8 - _BITS


def ranks_of(hashes: np.ndarray) -> np.ndarray:
    """Returns the place of each hash in their order, int32 [n]."""
    ranks = np.empty(len(hashes), np.int32)
    ranks[np.argsort(hashes)] = np.arange(len(hashes))
    return ranks


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
