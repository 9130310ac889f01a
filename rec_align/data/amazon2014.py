"""Amazon product data of 2014 (McAuley et al. 2015), as its files are published.

`reviews_X_5.json.gz` has a review a line, in JSON; `meta_X.json.gz` an item a line, as a Python
literal. Both may be far larger than memory: they are read line by line, and of the items only those
that are asked for are kept. A broken line is noted and passed over: among so many some are.
"""

import collections
import functools
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from etils import epath

from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib
from rec_align.data import table_bytes, table_forms, tables

NO_LITERAL = "item lines that hold no Python literal or JSON object"
_BATCH_LINES = 1 << 17
_LATEST = 10**11  # seconds, the year 5138: what is later is in another unit
_ASIN = re.compile(rb"""['"]asin['"]\s*:\s*['"]([^'"\\]*)['"]""")


class Review(NamedTuple):
    """A line of a file of reviews.

    Attributes:
      user_id: reviewerID.
      item_id: asin.
      timestamp: unixReviewTime, seconds since 1970.
      rating: overall, 1-5; NaN where there is none.
      text: reviewText, '' where there is none.
      summary: likewise.
    """

    user_id: str
    item_id: str
    timestamp: int
    rating: float
    text: str
    summary: str


def read_reviews(path: epath.PathLike) -> Iterator[tuple[int, Review | str]]:
    """Yields the 0-based line of each review, and the review or why it is none.

    Raises:
      ValueError: the file is damaged.
    """
    for row, line in enumerate(table_bytes.lines(path)):
        if line.strip():
            yield row, _review(line)


def batches(path: epath.PathLike) -> Iterator[interactions_lib.Interactions]:
    """Yields the interactions in parts, which share two growing `Ids`; no text is held.

    Raises:
      ValueError: the file is damaged, or no line is a review.
    """
    user_ids, item_ids = interactions_lib.Ids(), interactions_lib.Ids()
    where_is = functools.partial(where, path)
    lines = read_reviews(path)
    num_read, why = 0, ""
    while True:
        refused, rows, columns = _Refused(), [], [[], [], [], []]
        for row, review in itertools.islice(lines, _BATCH_LINES):
            if isinstance(review, str):
                refused.add(row, review)
                continue
            rows.append(row)
            for column, value in zip(columns, review, strict=False):  # its text is let go
                column.append(value)
        notes = refused.notes(where_is)
        if not rows and not notes:
            break
        num_read += len(rows)
        why = why or "".join(f"; {note.where}: {note.reason}" for note in notes[:1])
        users, items, ticks, ratings = columns
        yield interactions_lib.Interactions(
            user_ids=user_ids,
            item_ids=item_ids,
            users=user_ids.codes(pa.array(users, pa.string())),
            items=item_ids.codes(pa.array(items, pa.string())),
            ticks=np.array(ticks, np.int64),
            ratings=np.array(ratings, np.float32),
            rows=np.array(rows, np.int64),
            skipped=notes,
            where=where_is,
        )
    if not num_read:
        raise ValueError(
            f"{epath.Path(path).name} has no reviews{why}. Give --reviews a file of JSON lines "
            "with reviewerID, asin and unixReviewTime"
        )


def read_meta(path: epath.PathLike, item_ids: Collection[str]) -> items_lib.Items:
    """Reads titles, brands and categories of some items.

    Of lines with the same asin the first counts. A line that names only other items is not looked
    into.

    Args:
      path: the file.
      item_ids: the items to keep.

    Returns:
      Those of them that the file has, with notes of the lines left out.

    Raises:
      ValueError: the file is damaged, or has none of the items.
    """
    label = epath.Path(path).name
    wanted = {item_id.encode() for item_id in item_ids}
    found: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    refused = _Refused()
    for row, line in enumerate(table_bytes.lines(path)):
        named = _ASIN.findall(line)
        if not line.strip() or (named and wanted.isdisjoint(map(bytes.strip, named))):
            continue
        try:
            record = table_forms.json_object(line.strip(), label, row + 1)
        except ValueError:
            refused.add(row, NO_LITERAL)
            continue
        item_id = _text(record.get("asin")).strip()
        if not item_id:
            refused.add(row, items_lib.NAMELESS)
        elif item_id in found:
            refused.add(row, items_lib.REPEATED)
        elif item_id.encode() in wanted:
            categories = record.get("categories")
            found[item_id] = (
                items_lib.clean_text(_text(record.get("title"))),
                items_lib.clean_brand(_text(record.get("brand"))),
                items_lib.parse_categories(categories if isinstance(categories, list) else None),
            )
    notes = refused.notes(functools.partial(where, path))
    if not found:
        why = "".join(f"; {note.where}: {note.reason}" for note in notes[:1])
        raise ValueError(
            f"{label} has none of the {len(item_ids):,} items of the reviews{why}. Give --meta the "
            "file of the same category, or leave it out"
        )
    titles, brands, categories = zip(*found.values(), strict=True)
    return items_lib.Items(
        item_ids=tuple(found),
        titles=titles,
        brands=brands,
        categories=categories,
        years=("",) * len(found),
        key_phrases=("",) * len(found),
        skipped=notes,
    )


def where(path: epath.PathLike, rows: Sequence[int]) -> str:
    """Returns 'reviews.json.gz, lines 7 and 9' for a message, of 0-based lines."""
    return tables.name_lines(epath.Path(path).name, [row + 1 for row in sorted(rows)])


def _review(line: bytes) -> Review | str:
    """Returns the review of a line, or why it is none."""
    try:
        record = table_forms.json_object(line, "", 0)
    except ValueError:
        return interactions_lib.NO_OBJECT
    user_id, item_id = (_text(record.get(key)).strip() for key in ("reviewerID", "asin"))
    time, rating = record.get("unixReviewTime"), record.get("overall")
    if not (user_id and item_id and _is_number(time) and abs(time) < _LATEST):
        return interactions_lib.NOT_WHOLE
    if rating is not None and not (_is_number(rating) and 1 <= rating <= 5):
        return interactions_lib.OFF_SCALE
    return Review(
        user_id=user_id,
        item_id=item_id,
        timestamp=int(time),
        rating=float("nan") if rating is None else float(rating),
        text=_text(record.get("reviewText")),
        summary=_text(record.get("summary")),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    """Returns text without halves of characters, which JSON can write and no file can hold."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


class _Refused:
    """Lines left out, counted by reason; the first of each are remembered."""

    def __init__(self):
        self._counts = collections.Counter()
        self._rows = collections.defaultdict(list)

    def add(self, row: int, reason: str) -> None:
        self._counts[reason] += 1
        if len(self._rows[reason]) < interactions_lib.NAMED_LINES:
            self._rows[reason].append(row)

    def notes(
        self, where_is: Callable[[Sequence[int]], str]
    ) -> tuple[interactions_lib.Skipped, ...]:
        """Makes a note of each reason."""
        return tuple(
            interactions_lib.Skipped(
                reason=reason, count=count, rows=self._rows[reason], where_is=where_is
            )
            for reason, count in self._counts.items()
        )
