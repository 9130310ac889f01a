"""Reads a user's table, in whatever form it comes, as named Arrow columns, in batches of rows.

CSV (comma, tab, semicolon or pipe), JSON lines and Parquet, gzipped or not: the form is told from
the content, never from the name. Columns are found by name, by well-known aliases (`ALIASES`), or
by the name the caller gives. Bad bytes, ragged rows and broken JSON raise a `ValueError` that names
the file and line.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from etils import epath

from rec_align.data import table_bytes, table_forms

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One file, whose columns have been found.

    Attributes:
      label: the file's name, for messages.
      form: 'csv', 'jsonl' or 'parquet'.
      names: field (a key of `ALIASES`) -> its column; a missing optional field has no key.
      opened: opens the unpacked bytes, for reading them and for naming a line in a message.
    """

    label: str
    form: str
    names: Mapping[str, str]
    opened: table_bytes.Opener = dataclasses.field(repr=False)

    def batches(self, fields: Sequence[str] | None = None) -> Iterator[Mapping[str, pa.Array]]:
        """Yields field -> values [some rows], all the same number, in the order of the file.

        Args:
          fields: which; None for all.

        Raises:
          ValueError: the table is broken, or has no rows.
        """
        names = {field: self.names[field] for field in fields or self.names}
        columns = list(dict.fromkeys(names.values()))
        num_rows = 0
        for batch in table_forms.read_batches(self.form, self.opened, self.label, columns):
            num_rows += batch.num_rows
            for field, name in names.items():
                if pa.types.is_nested(batch.column(name).type) and field != "categories":
                    raise ValueError(
                        f"{self.label}: the column {name!r} for the {field} holds lists or "
                        "records: write plain values"
                    )
            if batch.num_rows:
                yield {field: _plain(batch.column(name)) for field, name in names.items()}
        if not num_rows:
            raise ValueError(f"{self.label} has column names but no rows")

    def columns(self, fields: Sequence[str] | None = None) -> Mapping[str, pa.ChunkedArray]:
        """Returns field -> all its values [num_rows]; the fields as in `batches`."""
        batches = list(self.batches(fields))
        return {
            field: pa.chunked_array([batch[field] for batch in batches]) for field in batches[0]
        }

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Returns the 1-based line of each 0-based row (Parquet: the 1-based row), in order."""
        wanted = sorted(int(row) for row in rows)
        if self.form == "parquet":
            return [row + 1 for row in wanted]
        lines = (line for _, line in table_forms.records(self.form, self.opened))
        found, position = [], -1
        for row in wanted:
            while position < row:
                line, position = next(lines), position + 1
            found.append(line)
        return found

    def where(self, rows: Sequence[int]) -> str:
        """Returns 'ratings.csv, line 7' or 'ratings.csv, lines 7 and 9' for a message."""
        unit = "row" if self.form == "parquet" else "line"
        return name_lines(self.label, self.lines(rows), unit)


def name_lines(label: str, lines: Sequence[int], unit: str = "line") -> str:
    """Returns 'ratings.csv, lines 7 and 9' for a message."""
    *names, last = map(str, lines)
    return f"{label}, {unit}s {', '.join(names)} and {last}" if names else f"{label}, {unit} {last}"


def read_table(
    path: epath.PathLike,
    fields: Mapping[str, str | None],
    *,
    required: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Table:
    """Finds the wanted columns of a CSV, JSON-lines or Parquet file.

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
    return parse_table(path, fields, label=path.name, required=required, encoding=encoding)


def parse_table(
    source: epath.Path | bytes,
    fields: Mapping[str, str | None],
    *,
    label: str,
    required: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Table:
    """Does what `read_table` does, for bytes in memory too; `label` names them in messages."""
    opened = table_bytes.opener(source, label, encoding)
    form = table_forms.detect(opened, label)
    wanted = [name for field, given in fields.items() for name in (*ALIASES[field], given) if name]
    names = table_forms.column_names(form, opened, label, wanted)
    return Table(
        label=label,
        form=form,
        names=_choose_columns(names, fields, required, label),
        opened=opened,
    )


def _plain(column: pa.Array) -> pa.Array:
    """Undoes Parquet's dictionaries and 64-bit strings, so that there is one type of text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


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
