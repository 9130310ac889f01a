"""The forms a table comes in: CSV, JSON lines, Parquet. Each can tell names, read columns, find
rows.

Sits between `table_bytes` and `tables`. Arrow does the reading; what it refuses is read again,
slowly, only to name the line. `opened` opens the unpacked bytes, UTF-8 unless they are Parquet;
`label` is the file's name. CSV and Parquet are read in batches, JSON lines are held in memory.
"""

import ast
import collections
import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from rec_align.data.table_bytes import PARQUET, Opener

_BLOCK_BYTES = 1 << 24  # Arrow refuses a row longer than a block; reviews are long.
_BATCH_ROWS = 1 << 18  # of Parquet
# The last three come of literals: `{[]: 1}`, and brackets within brackets within brackets.
_NO_OBJECT = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
_NUM_SAMPLED = 100  # JSON objects looked at for column names: the first may lack an optional one


def detect(opened: Opener, label: str) -> str:
    """Returns 'csv', 'jsonl' or 'parquet', told from the content."""
    with opened() as file:
        head = file.read(1024)
    if head.startswith(PARQUET):
        return "parquet"
    start = head.lstrip()[:1]
    if start == b"[":
        raise ValueError(
            f"{label} holds one JSON array: write one object per line (`jq -c '.[]' {label}`)"
        )
    return "jsonl" if start == b"{" else "csv"


def column_names(form: str, opened: Opener, label: str, wanted: Sequence[str] = ()) -> list[str]:
    """Returns a table's column names; of JSON those of the first lines, and the `wanted`."""
    if form == "parquet":
        return _parquet(opened, label).schema_arrow.names
    if form == "csv":
        return next(row for row in _csv_reader(opened) if row)
    names = {}
    data = _whole(opened)
    for line, number in _json_lines(data, most=_NUM_SAMPLED):
        names.update(dict.fromkeys(json_object(line, label, number)))
    # An optional key may come late (a title only some items lack): look where its name occurs.
    for name in wanted:
        places = re.finditer(rb'"%s"\s*:' % re.escape(name.encode()), data)
        for place in itertools.islice(places, 0 if name in names else _NUM_SAMPLED):
            start = data.rfind(b"\n", 0, place.start()) + 1
            end = data.find(b"\n", start)
            line = data[start : end if end >= 0 else len(data)]
            names.update(dict.fromkeys(json_object(line, label, data.count(b"\n", 0, start) + 1)))
            if name in names:
                break
    return list(names)


def read_batches(
    form: str, opened: Opener, label: str, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yields the named columns of some rows after others, in the order of the file.

    CSV gives strings, JSON strings or numbers, Parquet its own types.

    Raises:
      ValueError: the table is broken; the message names the line and the mend.
    """
    if form == "parquet":
        yield from _parquet(opened, label).iter_batches(_BATCH_ROWS, columns=list(names))
    elif form == "csv":
        yield from _read_csv(opened, label, names)
    else:
        yield from _read_jsonl(_whole(opened), label, names).to_batches()


def records(form: str, opened: Opener) -> Iterator[tuple]:
    """Yields each row of a text table with the 1-based line it starts on; slow, for messages."""
    if form == "jsonl":
        yield from _json_lines(_whole(opened))
        return
    reader = _csv_reader(opened)
    header, start = None, 1
    for row in reader:
        if row and header is not None:
            yield row, start
        header, start = header or row or None, reader.line_num + 1


def _whole(opened: Opener) -> bytes:
    with opened() as file:
        return file.read()


def _json_lines(data: bytes, most: int | None = None) -> Iterator[tuple[bytes, int]]:
    lines = data.split(b"\n") if most is None else data.split(b"\n", most)[:most]
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield line, number


def _delimiter(opened: Opener) -> str:
    with opened() as file:
        header = next(line for line in file if line.strip(b"\r\n")).decode()
    return max("\t,;|", key=header.count)


def _csv_reader(opened: Opener):
    csv.field_size_limit(_BLOCK_BYTES)
    text = io.TextIOWrapper(opened(), encoding="utf-8", newline="")
    return csv.reader(text, delimiter=_delimiter(opened))


def _read_csv(opened: Opener, label: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    num_read = 0
    try:
        for batch in _csv_batches(opened, names, _BLOCK_BYTES >> 2):
            num_read += batch.num_rows
            yield batch
        return
    except pa.ArrowInvalid:
        pass  # a row longer than a small block, or a broken one: the reading below tells
    try:
        for batch in _csv_batches(opened, names, _BLOCK_BYTES):
            known = min(num_read, batch.num_rows)
            num_read -= known
            yield batch.slice(known)
    except pa.ArrowInvalid as error:
        width = len(column_names("csv", opened, label))
        for row, line in records("csv", opened):
            if len(row) != width:
                raise ValueError(
                    f"{label}, line {line}: {len(row)} fields where the header has {width}: "
                    "quote values that hold the delimiter, or mend the row"
                ) from error
        raise ValueError(f"{label} is not readable as CSV: {error}") from error


def _csv_batches(
    opened: Opener, names: Sequence[str], block_bytes: int
) -> pa.csv.CSVStreamingReader:
    return pa.csv.open_csv(
        opened(),
        # Threads read many blocks ahead: 100 MB more, and no less time.
        read_options=pa.csv.ReadOptions(block_size=block_bytes, use_threads=False),
        parse_options=pa.csv.ParseOptions(delimiter=_delimiter(opened), newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            include_columns=names,
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _read_jsonl(data: bytes, label: str, names: Sequence[str]) -> pa.Table:
    """Reads by Arrow where values are plain, else line by line (nested, mixed or broken)."""
    line, number = next(_json_lines(data))
    first = json_object(line, label, number)
    plain = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    types = {name: plain.get(type(first.get(name))) for name in names}
    if all(types.values()):
        try:
            return pa.json.read_json(
                pa.BufferReader(data),
                read_options=pa.json.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pa.json.ParseOptions(
                    explicit_schema=pa.schema(list(types.items())),
                    unexpected_field_behavior="ignore",
                ),
            )
        except pa.ArrowInvalid:
            pass  # the reading below copes, or names the line
    values = collections.defaultdict(list)
    for line, number in _json_lines(data):
        record = json_object(line, label, number)
        for name in names:
            value = record.get(name)
            if value is not None and not isinstance(value, str):
                value = json.dumps(value)
            values[name].append(value)
    return pa.table({name: pa.array(values[name], pa.string()) for name in names})


def json_object(line: bytes, label: str, number: int) -> dict:
    """Returns what is on a line: JSON, or a Python literal, which is never run.

    Raises:
      ValueError: it is no object; the message names the line, 1-based.
    """
    try:
        # McAuley's older metadata files hold Python dictionaries, not JSON.
        value = ast.literal_eval(line.decode()) if line[:2] == b"{'" else json.loads(line)
    except _NO_OBJECT as error:
        raise ValueError(
            f"{label}, line {number} is not a JSON object ({error}): mend or delete the line"
        ) from error
    if not isinstance(value, dict):
        raise ValueError(f"{label}, line {number} is not a JSON object: mend or delete the line")
    return value


def _parquet(opened: Opener, label: str) -> pa.parquet.ParquetFile:
    try:
        return pa.parquet.ParquetFile(opened())
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{label} is a damaged Parquet file ({error}): write it again") from error
