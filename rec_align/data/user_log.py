"""From a source to what a corpus holds: which interactions stay, the catalogue, the histories.

The log goes through files by user (see `user_parts`), so that a build holds the ids, the items and
one part of the log, however long it is. The files need 28 bytes an interaction where Python keeps
temporary files ($TMPDIR).
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rec_align.data import catalogue as catalogue_lib
from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib
from rec_align.data import kcore, splits, user_parts
from rec_align.data import sources as sources_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserLog:
    """A log as a corpus has it.

    Attributes:
      histories: every user's, in files.
      catalogue: the items.
      title_fallbacks: how many items had no title, by what names them instead.
      num_rows_read: rows of the source.
      before: users, items and interactions before the k-core.
      after: the same after it.
      num_rated: interactions with a rating.
      skipped: what was left out.
    """

    histories: splits.HistoryParts
    catalogue: catalogue_lib.Catalogue
    title_fallbacks: Mapping[str, int]
    num_rows_read: int
    before: Mapping[str, int]
    after: Mapping[str, int]
    num_rated: int
    skipped: tuple[interactions_lib.Skipped, ...]


def read(
    source: sources_lib.Source,
    folder: pathlib.Path,
    *,
    k_core: int,
    report: Callable[[str], None],
) -> UserLog:
    """Reads a source, drops what has no place, and sorts the rest into histories.

    Args:
      source: what to read.
      folder: an existing directory for files, which the histories are then read from.
      k_core: least interactions of a user and of an item.
      report: takes each line of progress.

    Raises:
      ValueError: the data cannot be used, or nothing is left of it.
    """
    batches, items = source.read(report)
    parts = user_parts.UserParts(folder, _of_known_items(batches, items, report))
    before = _Counts(parts.num_items)
    notes = list(parts.skipped)
    for part, log in enumerate(parts):
        log = log.without_duplicates()
        notes += log.skipped
        before.add(log)
        parts.write(part, log)
    skipped = interactions_lib.merge_skipped(notes)
    is_kept = kcore.kept_items(
        lambda: ((log.users, log.items) for log in parts), parts.num_items, k_core
    )
    is_kept &= before.of_items > 0
    if not is_kept.any():
        raise ValueError(
            f"nothing is left of {before.num_interactions:,} interactions after the "
            f"{k_core}-core: lower --k-core"
        )
    kept = np.flatnonzero(is_kept)
    kept_ids = parts.item_ids.take(pa.array(kept)).to_pylist()
    catalogue, fallbacks = catalogue_lib.build_catalogue(kept_ids, items)
    item_index = np.full(parts.num_items, -1, np.int32)
    item_index[kept] = [catalogue.index_of(item_id) for item_id in kept_ids]
    after = _Counts(parts.num_items)

    def histories() -> Iterator[splits.Histories]:
        for log in parts:
            core = log.keep(kcore.kept_rows(log.users, log.items, is_kept, k_core))
            after.add(core)
            users, user_indices = np.unique(core.users, return_inverse=True)
            yield splits.to_histories(
                user_indices,
                item_index[core.items],
                core.ticks,
                core.ratings,
                num_users=len(users),
                ticks_per_second=core.ticks_per_second,
            )

    return UserLog(
        histories=splits.to_parts(histories(), folder, len(catalogue)),
        catalogue=catalogue,
        title_fallbacks=fallbacks,
        num_rows_read=before.num_interactions + sum(note.count for note in skipped),
        before=before.summary(),
        after=after.summary(),
        num_rated=after.num_rated,
        skipped=skipped + (items.skipped if items else ()),
    )


def _of_known_items(
    batches, items: items_lib.Items | None, report: Callable[[str], None]
) -> Iterator[interactions_lib.Interactions]:
    """Yields the batches without interactions with items that have no row."""
    known_ids = pa.array(items.item_ids, pa.string()) if items else None
    for number, batch in enumerate(batches):
        if not number and batch.ticks_per_second != 1:
            report(f"times are in {batch.time_unit}: stored in seconds")
        if items:
            known = pc.is_in(pa.array(batch.item_ids[:], pa.string()), known_ids).to_numpy(
                zero_copy_only=False
            )
            batch = batch.keep(known[batch.items], interactions_lib.UNKNOWN_ITEM)
        yield batch


class _Counts:
    """Users, items and interactions of a log, part by part."""

    def __init__(self, num_items: int):
        self.of_items = np.zeros(num_items, np.int64)
        self._num_users = 0
        self.num_rated = 0

    @property
    def num_interactions(self) -> int:
        return int(self.of_items.sum())

    def add(self, log: interactions_lib.Interactions) -> None:
        self.of_items += np.bincount(log.items, minlength=len(self.of_items))
        self._num_users += int(np.count_nonzero(np.bincount(log.users)))
        self.num_rated += int(np.isfinite(log.ratings).sum())

    def summary(self) -> Mapping[str, int]:
        return {
            "users": self._num_users,
            "items": int(np.count_nonzero(self.of_items)),
            "interactions": self.num_interactions,
        }
