"""Interactions: who met which item, when, and how it was rated, as arrays.

Sits between `tables` (columns) and `user_parts`. Here the columns get meaning: ids become codes,
times (see `times`) become integers of one unit, and rows that cannot be used are skipped, counted
and located. A log comes in batches, so that no more than one of them is held.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from rec_align.data import tables, times

FIELDS = ("user", "item", "time", "rating")
ARRAYS = ("users", "items", "ticks", "ratings", "rows")
# Why rows are left out, in the order of a manifest.
NO_OBJECT = "lines that hold no JSON object"
NOT_WHOLE = "rows without a user, an item or a time"
OFF_SCALE = "rows whose rating is no number from 1 to 5"
UNKNOWN_ITEM = "interactions with an item that has no item row"
REPEATED = "duplicate rows (same user, item and time)"
_REASONS = (NO_OBJECT, NOT_WHOLE, OFF_SCALE, UNKNOWN_ITEM, REPEATED)
ROWS_A_FILE = 1 << 40  # of several files the second's rows are counted from here, and so on
NAMED_LINES = 5  # how many skipped lines a message names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skipped:
    """Rows left out for one reason.

    Attributes:
      reason: why, for a message.
      count: how many.
      rows: the first `NAMED_LINES` of them, 0-based, in order.
      where_is: rows -> 'ratings.csv, lines 7 and 9'.
    """

    reason: str
    count: int
    rows: Sequence[int]
    where_is: Callable[[Sequence[int]], str] = dataclasses.field(repr=False)

    @property
    def where(self) -> str:
        """The first few, for a message."""
        return self.where_is(self.rows) + (" ..." if self.count > len(self.rows) else "")


def merge_skipped(notes: Iterable[Skipped]) -> tuple[Skipped, ...]:
    """Makes one note of those with the same reason, in the order of `_REASONS`."""
    merged: dict[str, Skipped] = {}
    for note in notes:
        before = merged.get(note.reason)
        if before:
            rows = sorted([*before.rows, *note.rows])[:NAMED_LINES]
            note = dataclasses.replace(note, count=before.count + note.count, rows=rows)
        merged[note.reason] = note
    return tuple(merged[reason] for reason in _REASONS if reason in merged)


class Ids:
    """The raw ids of users or items met so far; an id's code is its place among them."""

    def __init__(self):
        self.values = pa.array([], pa.string())

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, places: slice) -> list[str]:
        return self.values[places].to_pylist()

    def codes(self, column: pa.Array) -> np.ndarray:
        """Returns int32 codes [num_rows], -1 where there is no id; new ids are added."""
        encoded = column.dictionary_encode()
        distinct = to_strings(encoded.dictionary)  # may name an id twice: '7' and ' 7'
        known = pc.index_in(distinct, self.values, skip_nulls=True)
        new = distinct.filter(pc.and_(pc.is_null(known), pc.is_valid(distinct))).unique()
        added = pc.add(
            pc.index_in(distinct, new, skip_nulls=True), pa.scalar(len(self), pa.int32())
        )
        codes = pc.fill_null(pc.coalesce(known, added), -1).to_numpy()
        self.values = pa.concat_arrays([self.values, new])
        # The last place is for the index -1.
        return np.append(codes, np.int32(-1))[pc.fill_null(encoded.indices, -1).to_numpy()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interactions:
    """A log of interactions, or a part of it, in the order of the file.

    Attributes:
      user_ids: raw id of each user code; of all users met so far, where this is a part.
      item_ids: raw id of each item code, in the same way.
      users: int32 [num_interactions], codes into `user_ids`.
      items: int32 [num_interactions], codes into `item_ids`.
      ticks: int64 [num_interactions], time since 1970 in 1 / `ticks_per_second` seconds.
      ratings: float32 [num_interactions], on the source's own scale; NaN where there is none.
      rows: int64 [num_interactions], 0-based row in the file; see `ROWS_A_FILE`.
      ticks_per_second: 1, 10^3, 10^6 or 10^9.
      skipped: what has been left out of this part so far.
      where: rows -> 'ratings.csv, lines 7 and 9'.
    """

    user_ids: Sequence[str] | Ids
    item_ids: Sequence[str] | Ids
    users: np.ndarray
    items: np.ndarray
    ticks: np.ndarray
    ratings: np.ndarray
    rows: np.ndarray
    ticks_per_second: int = 1
    skipped: tuple[Skipped, ...] = ()
    where: Callable[[Sequence[int]], str] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def time_unit(self) -> str:
        return times.UNIT_NAMES[self.ticks_per_second]

    def keep(self, mask: np.ndarray, reason: str | None = None) -> "Interactions":
        """Keeps the rows where `mask` (bool [num_interactions]) is True, and notes the rest as
        skipped.

        With no `reason` nothing is noted: the rows were not bad, only not wanted.
        """
        skipped = self.skipped
        if reason and not mask.all():
            rows = self.rows[~mask]
            note = Skipped(
                reason=reason,
                count=len(rows),
                rows=np.sort(rows)[:NAMED_LINES].tolist(),
                where_is=self.where,
            )
            skipped = (*skipped, note)
        arrays = {name: getattr(self, name)[mask] for name in ARRAYS}
        return dataclasses.replace(self, skipped=skipped, **arrays)

    def of_file(self, number: int) -> "Interactions":
        """Says of which file the rows are, of several; 0-based."""
        first = number * ROWS_A_FILE
        notes = (
            dataclasses.replace(note, rows=[row + first for row in note.rows], where_is=self.where)
            for note in self.skipped
        )
        return dataclasses.replace(self, rows=self.rows + first, skipped=tuple(notes))

    def without_duplicates(self) -> "Interactions":
        """Drops repeats of the same user, item and time, keeping the first.

        The same user and item at another time is no duplicate: people do come back.
        """
        return self.keep(~_is_repeat(self.users, self.items, self.ticks), REPEATED)


def without_ids(ticks_per_second: int, **arrays: np.ndarray) -> Interactions:
    """Returns interactions of codes alone, which cannot tell ids or lines."""
    return Interactions(
        user_ids=(), item_ids=(), ticks_per_second=ticks_per_second, where=unknown, **arrays
    )


def unknown(rows: Sequence[int]) -> str:
    """The `where` of rows that have left their file; `with_where` gives notes the right one."""
    raise AssertionError("these rows do not know their file")


def with_where(
    notes: Iterable[Skipped], where_is: Callable[[Sequence[int]], str]
) -> tuple[Skipped, ...]:
    """Says of what the rows of notes are rows."""
    return tuple(dataclasses.replace(note, where_is=where_is) for note in notes)


def _is_repeat(*columns: np.ndarray) -> np.ndarray:
    """Returns bool [num_rows]: whether an earlier row has the same values in all columns."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        hashes = (hashes ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    ordered = np.sort(hashes)
    # Equal rows have equal hashes; few others do, and only those are compared.
    shared = ordered[1:][ordered[1:] == ordered[:-1]]
    repeats = np.zeros(len(hashes), bool)
    rows = np.flatnonzero(np.isin(hashes, shared)) if len(shared) else []
    met = set()
    for row in rows:
        values = tuple(column[row] for column in columns)
        repeats[row] = values in met
        met.add(values)
    return repeats


def read_interactions(
    path: epath.PathLike,
    columns: Mapping[str, str | None] | None = None,
    *,
    encoding: str = "utf-8",
) -> Interactions:
    """Reads a file of interactions.

    Args:
      path: CSV, JSON lines or Parquet; see `tables`.
      columns: names of the user, item, time and rating columns where they are not the usual ones.
      encoding: of the text.

    Returns:
      Interactions with rows lacking a user, item or time left out, and noted.

    Raises:
      ValueError: the file is unreadable, or a value is no number or date.
    """
    return from_table(open_log(path, columns, encoding=encoding))


def open_log(
    path: epath.PathLike,
    columns: Mapping[str, str | None] | None = None,
    *,
    encoding: str = "utf-8",
) -> tables.Table:
    """Finds the columns that `batches` reads; arguments and errors as of `read_interactions`."""
    fields = {field: (columns or {}).get(field) for field in FIELDS}
    return tables.read_table(path, fields, required=("user", "item", "time"), encoding=encoding)


def from_table(table: tables.Table) -> Interactions:
    """Gives all of a table its meaning; see `read_interactions`."""
    parts = list(batches(table))
    return dataclasses.replace(
        parts[0],
        user_ids=parts[0].user_ids[:],
        item_ids=parts[0].item_ids[:],
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS},
        skipped=merge_skipped(note for part in parts for note in part.skipped),
    )


def batches(*logs: tables.Table) -> Iterator[Interactions]:
    """Yields the interactions of tables in parts, which share two growing `Ids`."""
    user_ids, item_ids = Ids(), Ids()
    units = []
    for number, table in enumerate(logs):
        read_times, ticks_per_second = times.reading(table)
        units.append((table.label, ticks_per_second))
        one_unit(units)
        for part in _batches(table, user_ids, item_ids, read_times, ticks_per_second):
            yield dataclasses.replace(
                part, where=functools.partial(where, logs.__getitem__)
            ).of_file(number)


def one_unit(units: Sequence[tuple[str, int]]) -> int:
    """Returns the ticks a second of all files; each of `units` is a file's name and its own.

    Raises:
      ValueError: they differ.
    """
    for name, unit in units:
        if unit != units[0][1]:
            raise ValueError(
                f"times are in {times.UNIT_NAMES[units[0][1]]} in {units[0][0]} and in "
                f"{times.UNIT_NAMES[unit]} in {name}: write all in one unit"
            )
    return units[0][1]


def where(log_of: Callable[[int], tables.Table], rows: Sequence[int]) -> str:
    """Returns 'a.csv, line 7; b.csv, lines 3 and 9' for a message; opens only those files."""
    of_file: dict[int, list[int]] = {}
    for row in sorted(rows):
        of_file.setdefault(row // ROWS_A_FILE, []).append(row % ROWS_A_FILE)
    return "; ".join(log_of(number).where(rows) for number, rows in of_file.items())


def _batches(
    table: tables.Table,
    user_ids: Ids,
    item_ids: Ids,
    read_times: times.Read,
    ticks_per_second: int,
) -> Iterator[Interactions]:
    num_rows = 0
    for columns in table.batches():
        users, items = user_ids.codes(columns["user"]), item_ids.codes(columns["item"])
        ticks, has_time = read_times(columns["time"])
        rows = np.arange(num_rows, num_rows + len(users), dtype=np.int64)
        num_rows += len(users)
        part = Interactions(
            user_ids=user_ids,
            item_ids=item_ids,
            users=users,
            items=items,
            ticks=ticks,
            ratings=_ratings(table, columns.get("rating"), rows),
            rows=rows,
            ticks_per_second=ticks_per_second,
            where=table.where,
        )
        usable = (users >= 0) & (items >= 0) & has_time
        yield part.keep(usable, NOT_WHOLE)


def to_strings(column: pa.ChunkedArray) -> pa.Array:
    """Returns ids as trimmed strings [num_rows], null where empty; 7.0 of a float column is '7'."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_floating(array.type):
        array = pc.cast(array, pa.int64(), safe=False)
    array = pc.utf8_trim_whitespace(pc.cast(array, pa.string()))
    return pc.if_else(pc.equal(array, ""), None, array)


def _ratings(table: tables.Table, column: pa.Array | None, rows: np.ndarray) -> np.ndarray:
    """Returns float32 [num_rows] on the 1-5 scale, NaN where there is no rating."""
    if column is None:
        return np.full(len(rows), np.nan, np.float32)
    try:
        ratings = times.as_numbers(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise times.refuse_text(table, "rating", "a number") from error
    off_scale = (ratings < 1) | (ratings > 5)  # prompts and metrics speak of 1 to 5
    if off_scale.any():
        infinite = np.isinf(ratings)
        at = int(np.argmax(infinite if infinite.any() else off_scale))
        problem, mend = (
            ("finite", "mend the row")
            if infinite[at]
            else ("on the 1-5 scale", "rescale the column, or leave it out of the table")
        )
        raise ValueError(
            f"{table.where([rows[at]])}: rating {ratings[at]:g} is not {problem}: {mend}"
        )
    return ratings.astype(np.float32)
