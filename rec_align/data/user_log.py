"""From a source to what a corpus holds: which interactions stay, the catalogue, the histories.

The log goes through files by user (see `user_parts`), so that a build holds the ids, the items and
one part of the log, however long it is. The files need 52 bytes an interaction where Python keeps
temporary files ($TMPDIR). What is done with a part is a function of its own here, and the sums of
what they say decide: so Beam's machines can do the same (see `beam_build`).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from rec_align.data import by_part, kcore, splits, user_parts
from rec_align.data import catalogue as catalogue_lib
from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib
from rec_align.data import sources as sources_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserLog:
    """A log as a corpus has it.

    Attributes:
      histories: every user's, in files.
      history_rows: a file for each part of `histories`: int64 [num_interactions], the row of the
        source that each interaction is from. Sources without reviews have none.
      catalogue: the items.
      title_fallbacks: how many items had no title, by what names them instead.
      num_rows_read: rows of the source.
      before: users, items and interactions before the k-core.
      after: the same after it.
      num_rated: interactions with a rating.
      skipped: what was left out.
    """

    histories: splits.HistoryParts
    history_rows: Sequence[epath.Path]
    catalogue: catalogue_lib.Catalogue
    title_fallbacks: Mapping[str, int]
    num_rows_read: int
    before: Mapping[str, int]
    after: Mapping[str, int]
    num_rated: int
    skipped: tuple[interactions_lib.Skipped, ...]


class Reader(Protocol):
    """How a log gets into its parts, and who works on them."""

    total: by_part.Total

    def read(
        self, source: sources_lib.Source, folder: epath.Path, report: Callable[[str], None]
    ) -> tuple[user_parts.PartedLog, items_lib.Items | None, by_part.Tally]:
        """Returns the parts in `folder`, the items, and the sum of `tidy` over the parts."""


class Streamed:
    """The `Reader` of this process: one part after the other."""

    total = staticmethod(by_part.total_here)

    def read(self, source, folder, report):
        batches, items = source.read(report)
        parts = user_parts.UserParts(folder, _of_known_items(batches, items, report))
        logs = enumerate(parts)
        before = by_part.sum_up(tidy(parts.files, parts.num_items, *log) for log in logs)
        return parts, items, before


def read(
    source: sources_lib.Source,
    folder: epath.Path,
    *,
    k_core: int,
    report: Callable[[str], None],
    reader: Reader,
) -> UserLog:
    """Reads a source, drops what has no place, and sorts the rest into histories.

    Args:
      source: what to read.
      folder: an existing directory for files, which the histories are then read from.
      k_core: least interactions of a user and of an item.
      report: takes each line of progress.
      reader: who does it.

    Raises:
      ValueError: the data cannot be used, or nothing is left of it.
    """
    parts, items, before = reader.read(source, folder, report)
    notes = interactions_lib.with_where(before["skipped"], parts.where)
    skipped = interactions_lib.merge_skipped([*parts.skipped, *notes])
    is_kept = kcore.shrink(
        lambda kept: reader.total(
            functools.partial(_count_kept, parts.files, k_core),
            range(user_parts.NUM_PARTS),
            is_kept=kept,
        )["of_items"],
        parts.num_items,
        k_core,
    )
    is_kept &= before["of_items"] > 0
    if not is_kept.any():
        raise ValueError(
            f"nothing is left of {before['of_items'].sum():,} interactions after the "
            f"{k_core}-core: lower --k-core"
        )
    kept = np.flatnonzero(is_kept)
    kept_ids = parts.item_ids.take(pa.array(kept)).to_pylist()
    items = items or source.describe(kept_ids, report)
    catalogue, fallbacks = catalogue_lib.build_catalogue(kept_ids, items)
    item_index = np.full(parts.num_items, -1, np.int32)
    item_index[kept] = [catalogue.index_of(item_id) for item_id in kept_ids]
    has_reviews = source.reviews() is not None
    after = reader.total(
        functools.partial(_cut, parts.files, k_core, len(catalogue), has_reviews),
        range(user_parts.NUM_PARTS),
        is_kept=is_kept,
        item_index=item_index,
    )
    return UserLog(
        histories=splits.HistoryParts(
            files=[_histories_path(parts.files, part) for part in range(user_parts.NUM_PARTS)],
            user_counts=after["user_counts"],
            train_item_counts=after["train_item_counts"],
        ),
        history_rows=[
            _rows_path(parts.files, part) for part in range(user_parts.NUM_PARTS) if has_reviews
        ],
        catalogue=catalogue,
        title_fallbacks=fallbacks,
        num_rows_read=int(before["of_items"].sum()) + sum(note.count for note in skipped),
        before=_summary(before),
        after=_summary(after),
        num_rated=after["rated"],
        skipped=skipped + (items.skipped if items else ()),
    )


def tidy(
    files: user_parts.PartFiles, num_items: int, part: int, log: interactions_lib.Interactions
) -> by_part.Tally:
    """Puts a part without duplicates into its file; returns its counts and what was skipped."""
    log = log.without_duplicates()
    files.write(part, log)
    return {**_count(log, num_items), "skipped": log.skipped}


def _count_kept(
    files: user_parts.PartFiles, k_core: int, part: int, *, is_kept: np.ndarray
) -> by_part.Tally:
    log = files.read(part)
    return {"of_items": kcore.item_counts(log.users, log.items, is_kept, k_core)}


def _cut(
    files: user_parts.PartFiles,
    k_core: int,
    num_kept: int,
    has_reviews: bool,
    part: int,
    *,
    is_kept: np.ndarray,
    item_index: np.ndarray,
) -> by_part.Tally:
    """Puts the histories of a part into a file; returns their counts."""
    log = files.read(part)
    core = log.keep(kcore.kept_rows(log.users, log.items, is_kept, k_core))
    users, user_indices = np.unique(core.users, return_inverse=True)
    order = splits.history_order(user_indices, core.ticks)
    histories = splits.to_histories(
        user_indices,
        item_index[core.items],
        core.ticks,
        core.ratings,
        num_users=len(users),
        ticks_per_second=core.ticks_per_second,
        order=order,
    )
    splits.save(histories, _histories_path(files, part))
    if has_reviews:
        with by_part.open_whole(_rows_path(files, part)) as file:
            np.save(file, core.rows[order])
    user_counts = np.zeros((user_parts.NUM_PARTS, 1 + len(splits.SPLITS)), np.int64)
    user_counts[part] = [len(users), *map(histories.num_users_in, splits.SPLITS)]
    return {
        **_count(core, len(is_kept)),
        "user_counts": user_counts,
        "train_item_counts": histories.train_item_counts(num_kept),
    }


def _histories_path(files: user_parts.PartFiles, part: int) -> epath.Path:
    return files.path(part, "histories")


def _rows_path(files: user_parts.PartFiles, part: int) -> epath.Path:
    return files.path(part, "history_rows")


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


def _count(log: interactions_lib.Interactions, num_items: int) -> by_part.Tally:
    """Users, interactions of each item (int64 [num_items]), and how many have a rating."""
    return {
        "users": int(np.count_nonzero(np.bincount(log.users))),
        "of_items": np.bincount(log.items, minlength=num_items),
        "rated": int(np.isfinite(log.ratings).sum()),
    }


def _summary(count: by_part.Tally) -> Mapping[str, int]:
    return {
        "users": count["users"],
        "items": int(np.count_nonzero(count["of_items"])),
        "interactions": int(count["of_items"].sum()),
    }
