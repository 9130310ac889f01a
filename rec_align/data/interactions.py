"""Interactions: who met which item, when, and how it was rated, as arrays.

Sits between `tables` (columns) and `kcore`/`splits`. Here the columns get meaning: ids become
codes, times become integers of one unit, and rows that cannot be used are skipped, counted and
located.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from rec_align.data import tables

FIELDS = ("user", "item", "time", "rating")
_MISSING_NUMBERS = pa.array(["nan", "NaN", "NA", "N/A", "null", "NULL", "None", "\\N"])
_NUMBER = r"^$|^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
_TICKS_PER_SECOND = (1, 10**3, 10**6, 10**9)
_UNIT_NAMES = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
_NAMED_LINES = 5  # how many skipped lines a message names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skipped:
    """Rows left out for one reason; `where` names the first few."""

    reason: str
    count: int
    where: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interactions:
    """A log of interactions, in the order of the file.

    Attributes:
      user_ids: raw id of each user code.
      item_ids: raw id of each item code.
      users: int32 [num_interactions], codes into `user_ids`.
      items: int32 [num_interactions], codes into `item_ids`.
      ticks: int64 [num_interactions], time since 1970 in 1 / `ticks_per_second` seconds.
      ratings: float32 [num_interactions], on the source's own scale; NaN where there is none.
      rows: int64 [num_interactions], 0-based row in the file.
      ticks_per_second: 1, 10^3, 10^6 or 10^9.
      skipped: what has been left out so far.
      where: rows -> 'ratings.csv, lines 7 and 9'.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
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
        return _UNIT_NAMES[self.ticks_per_second]

    def keep(self, mask: np.ndarray, reason: str | None = None) -> "Interactions":
        """Keeps the rows where `mask` (bool [num_interactions]) is True, and notes the rest as
        skipped.

        With no `reason` nothing is noted: the rows were not bad, only not wanted.
        """
        skipped = self.skipped
        if reason and not mask.all():
            skipped = (*skipped, skipped_rows(reason, self.rows[~mask], self.where))
        arrays = {
            name: getattr(self, name)[mask]
            for name in ("users", "items", "ticks", "ratings", "rows")
        }
        return dataclasses.replace(self, skipped=skipped, **arrays)

    def without_duplicates(self) -> "Interactions":
        """Drops repeats of the same user, item and time, keeping the first.

        The same user and item at another time is no duplicate: people do come back.
        """
        frame = pd.DataFrame({"user": self.users, "item": self.items, "time": self.ticks})
        return self.keep(
            ~frame.duplicated().to_numpy(), "duplicate rows (same user, item and time)"
        )


def skipped_rows(
    reason: str, rows: Sequence[int], where: Callable[[Sequence[int]], str]
) -> Skipped:
    """Notes the rows (0-based, at least one) of a file that are left out for one reason."""
    named = where(rows[:_NAMED_LINES]) + (" ..." if len(rows) > _NAMED_LINES else "")
    return Skipped(reason=reason, count=len(rows), where=named)


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
    fields = {field: (columns or {}).get(field) for field in FIELDS}
    table = tables.read_table(path, fields, required=("user", "item", "time"), encoding=encoding)
    return from_table(table)


def from_table(table: tables.Table) -> Interactions:
    """Gives the columns of a table their meaning; see `read_interactions`."""
    users, user_ids = _codes(table.columns["user"])
    items, item_ids = _codes(table.columns["item"])
    ticks, has_time, ticks_per_second = _ticks(table)
    interactions = Interactions(
        user_ids=user_ids,
        item_ids=item_ids,
        users=users,
        items=items,
        ticks=ticks,
        ratings=_ratings(table),
        rows=np.arange(table.num_rows, dtype=np.int64),
        ticks_per_second=ticks_per_second,
        where=table.where,
    )
    usable = (users >= 0) & (items >= 0) & has_time
    return interactions.keep(usable, "rows without a user, an item or a time")


def to_strings(column: pa.ChunkedArray) -> pa.Array:
    """Returns ids as trimmed strings [num_rows], null where empty; 7.0 of a float column is '7'."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_floating(array.type):
        array = pc.cast(array, pa.int64(), safe=False)
    array = pc.utf8_trim_whitespace(pc.cast(array, pa.string()))
    return pc.if_else(pc.equal(array, ""), None, array)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Returns int32 codes [num_rows], -1 where null, and the distinct ids."""
    encoded = to_strings(column).dictionary_encode()
    return pc.fill_null(encoded.indices, -1).to_numpy(), encoded.dictionary.to_pylist()


def _as_numbers(column: pa.Array) -> np.ndarray:
    """Returns float64 [num_rows], NaN where missing. Raises `pa.ArrowInvalid` on other text."""
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        missing = pc.or_(pc.is_in(column, _MISSING_NUMBERS), pc.equal(column, ""))
        column = pc.if_else(missing, None, column)
    return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)


def _refuse_text(table: tables.Table, field: str, wanted: str) -> ValueError:
    """Returns the error for the first value of a column that is not a number."""
    column = table.columns[field].combine_chunks()
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    fine = pc.or_(pc.match_substring_regex(text, _NUMBER), pc.is_in(text, _MISSING_NUMBERS))
    bad = ~pc.fill_null(fine, True).to_numpy(zero_copy_only=False)
    row = int(np.argmax(bad))
    value = column[row].as_py()
    return ValueError(f"{table.where([row])}: {field} {value!r} is not {wanted}: mend the row")


def _ratings(table: tables.Table) -> np.ndarray:
    """Returns float32 [num_rows] on the 1-5 scale, NaN where there is no rating."""
    if "rating" not in table.columns:
        return np.full(table.num_rows, np.nan, np.float32)
    try:
        ratings = _as_numbers(table.columns["rating"].combine_chunks())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _refuse_text(table, "rating", "a number") from error
    if np.isinf(ratings).any():
        row = int(np.argmax(np.isinf(ratings)))
        raise ValueError(f"{table.where([row])}: rating {ratings[row]} is not finite: mend the row")
    off_scale = (ratings < 1) | (ratings > 5)  # prompts and metrics speak of 1 to 5
    if off_scale.any():
        row = int(np.argmax(off_scale))
        raise ValueError(
            f"{table.where([row])}: rating {ratings[row]:g} is not on the 1-5 scale: rescale the "
            "column, or leave it out of the table"
        )
    return ratings.astype(np.float32)


def _ticks(table: tables.Table) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns int64 times [num_rows], where there is one (bool [num_rows]), and ticks a second."""
    column = table.columns["time"].combine_chunks()
    if pa.types.is_temporal(column.type):
        return *_from_datetimes(column.to_pandas()), 10**6
    try:
        # Nanoseconds do not fit in a double: whole numbers are cast straight to int64.
        whole = pc.cast(column, pa.int64())
        has_time = pc.is_valid(whole).to_numpy(zero_copy_only=False)
        ticks = pc.fill_null(whole, 0).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        try:
            numbers = _as_numbers(column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            dates = pd.to_datetime(column.to_pandas(), format="ISO8601", utc=True, errors="coerce")
            bad = dates.isna().to_numpy() & pc.is_valid(column).to_numpy(zero_copy_only=False)
            if bad.any():
                wanted = "a Unix time or an ISO date"
                if dates.isna().all():
                    raise _refuse_text(table, "time", wanted) from error
                row = int(np.argmax(bad))
                raise ValueError(
                    f"{table.where([row])}: time {column[row].as_py()!r} is not {wanted}, "
                    "as other rows have: mend the row"
                ) from error
            return *_from_datetimes(dates), 10**6
        has_time = np.isfinite(numbers) & (np.abs(numbers) < 2**63)
        ticks = np.where(has_time, numbers, 0).astype(np.int64)
    return ticks, has_time, _unit(ticks, has_time, table)


def _from_datetimes(dates: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    dates = pd.to_datetime(dates, utc=True).dt.as_unit("us")
    has_time = dates.notna().to_numpy()
    return np.where(has_time, dates.astype("int64").to_numpy(), 0), has_time


def _unit(ticks: np.ndarray, has_time: np.ndarray, table: tables.Table) -> int:
    """Tells the unit from the size: 10^11 s is the year 5138, 10^11 ms is 1973."""
    size = np.searchsorted([10**11, 10**14, 10**17], np.abs(ticks), side="right")
    present = np.unique(size[has_time])
    if len(present) > 1:
        rows = [int(np.argmax(has_time & (size == unit))) for unit in present[:2]]
        units = [_UNIT_NAMES[_TICKS_PER_SECOND[unit]] for unit in present[:2]]
        raise ValueError(
            f"{table.where(rows)}: times in {units[0]} and in {units[1]} in one file "
            f"({ticks[rows[0]]} and {ticks[rows[1]]}): write all in one unit"
        )
    return _TICKS_PER_SECOND[present[0]] if len(present) else 1
