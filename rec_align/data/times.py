"""Times as a table writes them: Unix times in four units, or dates; and numbers written as text.

Sits between `tables` and `interactions`. How a column is written is a matter of all its rows, so it
is read once on its own before the log is.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rec_align.data import tables

_MISSING_NUMBERS = pa.array(["nan", "NaN", "NA", "N/A", "null", "NULL", "None", "\\N"])
_NUMBER = r"^$|^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
_TICKS_PER_SECOND = (1, 10**3, 10**6, 10**9)
UNIT_NAMES = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
_NOT_READ = (pa.ArrowInvalid, pa.ArrowNotImplementedError)

# Times [num_rows] -> int64 ticks, 0 where there is none; and where there is one, bool.
Read = Callable[[pa.Array], tuple[np.ndarray, np.ndarray]]


def reading(table: tables.Table) -> tuple[Read, int]:
    """Returns what reads each batch of a table's times, and its ticks a second.

    Raises:
      ValueError: a time is neither a number nor a date, or not in the unit of the others.
    """
    for read in (_whole_numbers, _numbers):
        try:
            return read, _unit(table, read)
        except _NOT_READ:
            pass
    for columns in table.batches(["time"]):
        _, has_time = _dates(columns["time"])
        if (pc.is_valid(columns["time"]).to_numpy(zero_copy_only=False) & ~has_time).any():
            raise _refuse_date(table)
    return _dates, 10**6


def _whole_numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_temporal(column.type):
        raise pa.ArrowInvalid("dates")
    # Nanoseconds do not fit in a double: whole numbers are cast straight to int64.
    whole = pc.cast(column, pa.int64())
    has_time = pc.is_valid(whole).to_numpy(zero_copy_only=False)
    return pc.fill_null(whole, 0).to_numpy(), has_time


def _numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_temporal(column.type):
        raise pa.ArrowInvalid("dates")
    numbers = as_numbers(column)
    has_time = np.isfinite(numbers) & (np.abs(numbers) < 2**63)
    return np.where(has_time, numbers, 0).astype(np.int64), has_time


def _dates(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    dates = column.to_pandas()
    if not pa.types.is_temporal(column.type):
        dates = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
    dates = pd.to_datetime(dates, utc=True).dt.as_unit("us")
    has_time = dates.notna().to_numpy()
    return np.where(has_time, dates.astype("int64").to_numpy(), 0), has_time


def _unit(table: tables.Table, read: Read) -> int:
    """Tells the unit from the size: 10^11 s is the year 5138, 10^11 ms is 1973."""
    first: dict[int, tuple[int, int]] = {}  # size -> the first row that has it, and its ticks
    num_rows = 0
    for columns in table.batches(["time"]):
        ticks, has_time = read(columns["time"])
        size = np.searchsorted([10**11, 10**14, 10**17], np.abs(ticks), side="right")
        for unit in np.unique(size[has_time]).tolist():
            if unit not in first:
                row = int(np.argmax(has_time & (size == unit)))
                first[unit] = num_rows + row, ticks[row]
        num_rows += len(ticks)
    if len(first) > 1:
        found = sorted(first)[:2]
        units = [UNIT_NAMES[_TICKS_PER_SECOND[unit]] for unit in found]
        rows, ticks = zip(*(first[unit] for unit in found), strict=True)
        raise ValueError(
            f"{table.where(rows)}: times in {units[0]} and in {units[1]} in one file "
            f"({ticks[0]} and {ticks[1]}): write all in one unit"
        )
    return _TICKS_PER_SECOND[next(iter(first))] if first else 1


def as_numbers(column: pa.Array) -> np.ndarray:
    """Returns float64 [num_rows], NaN where missing. Raises `pa.ArrowInvalid` on other text."""
    try:
        return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        if not pa.types.is_string(column.type):
            raise
    column = pc.utf8_trim_whitespace(column)
    missing = pc.or_(pc.is_in(column, _MISSING_NUMBERS), pc.equal(column, ""))
    column = pc.if_else(missing, None, column)
    return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)


def refuse_text(table: tables.Table, field: str, wanted: str) -> ValueError:
    """Returns the error for the first value of a column that is not a number."""
    column = table.columns([field])[field].combine_chunks()
    text = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    fine = pc.or_(pc.match_substring_regex(text, _NUMBER), pc.is_in(text, _MISSING_NUMBERS))
    bad = ~pc.fill_null(fine, True).to_numpy(zero_copy_only=False)
    row = int(np.argmax(bad))
    value = column[row].as_py()
    return ValueError(f"{table.where([row])}: {field} {value!r} is not {wanted}: mend the row")


def _refuse_date(table: tables.Table) -> ValueError:
    """Returns the error for the first value of a column that is not a date, though others are."""
    column = table.columns(["time"])["time"].combine_chunks()
    _, has_time = _dates(column)
    wanted = "a Unix time or an ISO date"
    if not has_time.any():
        return refuse_text(table, "time", wanted)
    row = int(np.argmax(pc.is_valid(column).to_numpy(zero_copy_only=False) & ~has_time))
    return ValueError(
        f"{table.where([row])}: time {column[row].as_py()!r} is not {wanted}, as other rows have: "
        "mend the row"
    )
