"""Reads a user's table, in whatever form it comes, into named Arrow columns.

CSV (comma, tab, semicolon or pipe), JSON lines and Parquet, gzipped or not: the form is told from
the content, never from the name. Columns are found by name, by well-known aliases (`ALIASES`), or
by the name the caller gives. Bad bytes, ragged rows and broken JSON raise a `ValueError` that names
the file and line. A file is held in memory while it is read.
"""

import dataclasses
import gzip
import zlib
from collections.abc import Mapping, Sequence

import pyarrow as pa
from etils import epath

from rec_align.data import table_forms

# Compared without case, underscores and RecBole's ":type" ending; the first wins over the others.
ALIASES = {
    "user": ("user_id", "user", "uid", "reviewerID", "customer_id", "session_id"),
    "item": ("item_id", "item", "iid", "movieId", "asin", "parent_asin", "product_id"),
    "time": ("timestamp", "time", "unixReviewTime", "datetime", "event_time"),
    "rating": ("rating", "overall", "stars", "score"),
    "title": ("title", "name", "movie_title", "product_title"),
    "brand": ("brand", "manufacturer"),
    "categories": ("categories", "category", "genres", "genre", "class"),
    "year": ("year", "release_year"),
    "key_phrase": ("key_phrase",),
}
_PACKED = {b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of one file.

    Attributes:
      label: the file's name, for messages.
      form: 'csv', 'jsonl' or 'parquet'.
      columns: field (a key of `ALIASES`) -> column [num_rows]; a missing optional field has no key.
      data: the unpacked bytes, kept so that a message can name a line.
    """

    label: str
    form: str
    columns: Mapping[str, pa.ChunkedArray]
    data: bytes = dataclasses.field(repr=False)

    @property
    def num_rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Returns the 1-based line of each 0-based row (Parquet: the 1-based row), in order."""
        wanted = sorted(int(row) for row in rows)
        if self.form == "parquet":
            return [row + 1 for row in wanted]
        lines = (line for _, line in table_forms.records(self.form, self.data))
        found, position = [], -1
        for row in wanted:
            while position < row:
                line, position = next(lines), position + 1
            found.append(line)
        return found

    def where(self, rows: Sequence[int]) -> str:
        """Returns 'ratings.csv, line 7' or 'ratings.csv, lines 7 and 9' for a message."""
        unit = "row" if self.form == "parquet" else "line"
        lines = [str(line) for line in self.lines(rows)]
        tail = lines[0] if len(lines) == 1 else f"{', '.join(lines[:-1])} and {lines[-1]}"
        return f"{self.label}, {unit}{'s' * (len(lines) > 1)} {tail}"


def read_table(
    path: epath.PathLike,
    fields: Mapping[str, str | None],
    *,
    required: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Table:
    """Reads the wanted columns of a CSV, JSON-lines or Parquet file.

    Args:
      path: the file, local or in a bucket.
      fields: the wanted fields (keys of `ALIASES`), each with its column's name, or None to look
        for the well-known names.
      required: the fields that must be there.
      encoding: of the text; UTF-8 with or without a byte order mark, or what the user says.

    Returns:
      A `Table`; text fields are Arrow strings, others have the type that the file gives them.

    Raises:
      ValueError: the file is empty, broken, or lacks a column; the message says where and what to
        do.
    """
    path = epath.Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory: give one file")
    return parse_table(
        path.read_bytes(), fields, label=path.name, required=required, encoding=encoding
    )


def parse_table(
    data: bytes,
    fields: Mapping[str, str | None],
    *,
    label: str,
    required: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Table:
    """Does what `read_table` does, for bytes already in memory; `label` names them in messages."""
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, label)
    for magic, kind in _PACKED.items():
        if data.startswith(magic):
            raise ValueError(
                f"{label} is packed with {kind}: unpack it first (gzip is read as it is)"
            )
    if not data.strip():
        raise ValueError(f"{label} is empty")
    if data[:4] != b"PAR1":
        data = _to_utf8(data, label, encoding)
    form = table_forms.detect(data, label)
    wanted = [name for field, given in fields.items() for name in (*ALIASES[field], given) if name]
    names = table_forms.column_names(form, data, label, wanted)
    chosen = _choose_columns(names, fields, required, label)
    arrow = table_forms.read_columns(form, data, label, list(dict.fromkeys(chosen.values())))
    if not arrow.num_rows:
        raise ValueError(f"{label} has column names but no rows")
    columns = {field: _plain(arrow.column(name)) for field, name in chosen.items()}
    for field, column in columns.items():
        if pa.types.is_nested(column.type) and field != "categories":
            raise ValueError(
                f"{label}: the column {chosen[field]!r} for the {field} holds lists or records: "
                "write plain values"
            )
    return Table(label=label, form=form, columns=columns, data=data)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undoes Parquet's dictionaries and 64-bit strings, so that there is one type of text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _gunzip(data: bytes, label: str) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{label}: the gzip file is cut off or damaged ({error}): copy or download it again"
        ) from error


def _to_utf8(data: bytes, label: str, encoding: str) -> bytes:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{label}, line {line}: byte 0x{data[error.start]:02x} at offset {error.start} is not "
            f"{encoding}: name the file's encoding, e.g. `--encoding latin-1`"
        ) from error
    except LookupError as error:
        raise ValueError(f"unknown encoding {encoding!r}: try utf-8 or latin-1") from error
    if encoding.lower().replace("-", "") not in ("utf8", "ascii"):
        data = text.encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def _choose_columns(
    names: Sequence[str], fields: Mapping[str, str | None], required: Sequence[str], label: str
) -> dict[str, str]:
    """Returns field -> the name of its column, for the fields that the file has."""

    def key(name: str) -> str:
        return name.split(":")[0].strip().lower().replace("_", "").replace(" ", "")

    chosen = {}
    for field, wanted in fields.items():
        option = f"--{field.replace('_', '-')}-column"
        if wanted is not None:
            found = [name for name in names if name == wanted]
            if not found:
                raise ValueError(
                    f"{label} has no column {wanted!r} ({option}); it has: {', '.join(names)}"
                )
        else:
            aliases = [key(alias) for alias in ALIASES[field]]
            found = [name for name in names if key(name) in aliases]
            found = [name for name in found if key(name) == aliases[0]] or found
        if len(found) > 1:
            raise ValueError(
                f"{label}: the {field} could be in any of the columns {', '.join(found)}: "
                f"choose one with {option} (and give each column a name of its own)"
            )
        if found:
            chosen[field] = found[0]
        elif field in required:
            raise ValueError(
                f"{label}, line 1: no column for the {field}; the columns are "
                f"{', '.join(names)}: name it with {option}"
            )
    return chosen
