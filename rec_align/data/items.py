"""Items: the text and attributes of each raw item id, as the source gives them.

Sits between `tables` (columns) and `catalogue` (unique names). Text is cleaned here, so that every
later part sees the one form that SentencePiece gives back unchanged.
"""

import ast
import dataclasses
import html
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

import pyarrow as pa
from etils import epath

from rec_align.data import interactions, tables

FIELDS = ("item", "title", "brand", "categories", "year", "key_phrase")
# Why rows are left out.
NAMELESS = "item rows without an id"
REPEATED = "item rows whose id came before"
_NO_BRAND = {"unknown", "n/a", "none", "null", "nan", "generic"}
# SentencePiece writes a space as U+2581; U+FFFD is a character lost before it came to us.
_BLANK = {"\u2581", "\ufffd", "\u2800"}
_CONTROL = re.compile(r"[\x00-\x20\x7f]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Items:
    """A table of items; position i of every attribute is the same item; '' or () where missing.

    Attributes:
      item_ids: raw ids, each once.
      titles: names as people know them.
      brands: makers.
      categories: from general to special.
      years: four digits.
      key_phrases: words from reviews, a source's stand-in for a title.
      skipped: rows left out.
    """

    item_ids: Sequence[str]
    titles: Sequence[str]
    brands: Sequence[str]
    categories: Sequence[tuple[str, ...]]
    years: Sequence[str]
    key_phrases: Sequence[str]
    skipped: tuple[interactions.Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)


def clean_text(text: str | None) -> str:
    """Returns text on one line, in Unicode's NFKC form, with single spaces and no HTML escapes.

    SentencePiece's `nmt_nfkc` rule, which T5's vocabulary uses too, leaves the result as it is.
    Example: 'Tom &amp;  Jerry\\n' -> 'Tom & Jerry'.
    """
    if not text:
        return ""
    text = html.unescape(text) if "&" in text else text
    if not text.isascii():
        # NFKC can compose what a dropped character kept apart, hence the second pass.
        text = unicodedata.normalize("NFKC", text)
        text = "".join(" " if _is_blank(char) else char for char in text)
        text = unicodedata.normalize("NFKC", text)
    return _CONTROL.sub(" ", text).strip()


def _is_blank(char: str) -> bool:
    # Categories C* (control, format, surrogate, private, unassigned) and Z* (space, line,
    # paragraph).
    return char in _BLANK or unicodedata.category(char)[0] in "CZ"


def clean_brand(text: str | None) -> str:
    """Returns a brand as of `clean_text`, '' where it only says that there is none ('Unknown')."""
    brand = clean_text(text)
    return "" if brand.lower() in _NO_BRAND else brand


def parse_year(text: str | None) -> str:
    """Returns the four digits of a year, or ''. Example: '1995.0' -> '1995', 'V' -> ''."""
    match = re.search(r"(?<!\d)(1[5-9]|20)\d\d(?!\d)", text or "")
    return match[0] if match else ""


def parse_categories(value: object) -> tuple[str, ...]:
    """Flattens categories to distinct cleaned names, in order.

    A list, a list of paths (Amazon), JSON or Python text of either, or text split at the first of
    '|', '>' and ';' that it holds. A comma does not split: 'Patio, Lawn & Garden' is one category.

    Example: [['Beauty', 'Makeup'], ['Beauty', 'Nails']] -> ('Beauty', 'Makeup', 'Nails').
    """
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                parsed = json.loads(value)
            except ValueError:
                try:
                    parsed = ast.literal_eval(value.strip())
                except (ValueError, SyntaxError):
                    parsed = [value]
            return parse_categories(parsed)
        mark = next((mark for mark in "|>;" if mark in value), None)
        names = value.split(mark) if mark else [value]
    else:
        names = []
        for part in value if value is not None else ():
            names += parse_categories(part) if isinstance(part, list | tuple) else [str(part)]
    return tuple(dict.fromkeys(name for name in map(clean_text, names) if name))


def read_items(
    path: epath.PathLike,
    columns: Mapping[str, str | None] | None = None,
    *,
    encoding: str = "utf-8",
) -> Items:
    """Reads a file of items.

    Args:
      path: CSV, JSON lines or Parquet; see `tables`.
      columns: names of the item, title, brand, categories and year columns where not the usual
        ones.
      encoding: of the text.

    Returns:
      Items, each id once: of rows with the same id the first counts and the others are noted.

    Raises:
      ValueError: the file is unreadable.
    """
    fields = {field: (columns or {}).get(field) for field in FIELDS}
    return from_table(tables.read_table(path, fields, required=("item",), encoding=encoding))


def from_table(table: tables.Table) -> Items:
    """Gives a table's item, title, brand, categories, year and key_phrase columns their meaning."""
    columns = table.columns()
    first_rows: dict[str, int] = {}
    nameless, repeated = [], []
    for row, item_id in enumerate(interactions.to_strings(columns["item"]).to_pylist()):
        if item_id is None:
            nameless.append(row)
        elif first_rows.setdefault(item_id, row) != row:
            repeated.append(row)

    def values(field: str) -> list:
        if field not in columns:
            return [None] * len(first_rows)
        column = columns[field]
        if not pa.types.is_nested(column.type):
            column = column.cast(pa.string())
        return column.take(pa.array(list(first_rows.values()), pa.int64())).to_pylist()

    return Items(
        item_ids=tuple(first_rows),
        titles=tuple(map(clean_text, values("title"))),
        brands=tuple(map(clean_brand, values("brand"))),
        categories=tuple(map(parse_categories, values("categories"))),
        years=tuple(map(parse_year, values("year"))),
        key_phrases=tuple(map(clean_text, values("key_phrase"))),
        skipped=tuple(
            interactions.Skipped(
                reason=reason,
                count=len(rows),
                rows=tuple(rows[: interactions.NAMED_LINES]),
                where_is=table.where,
            )
            for reason, rows in (
                (NAMELESS, nameless),
                (REPEATED, repeated),
            )
            if rows
        ),
    )
