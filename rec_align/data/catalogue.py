"""The catalogue: every item of a corpus, its attributes, and the one text that names it.

The map from item to text is one to one, so that a model's output names exactly one item or none.
Position in the catalogue is the `item_index`; it follows a hash of the raw id, and so says nothing
of popularity, time or user.
"""

import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence

from etils import epath

from rec_align.data import items as items_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All items of a corpus; position i of every attribute is item_index i.

    Attributes:
      item_ids: raw ids, unique.
      texts: unique names; what a model reads and writes for the item.
      titles: cleaned titles, '' where the source has none.
      brands: '' where missing.
      categories: () where missing.
      years: four digits, '' where missing.
    """

    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    titles: tuple[str, ...]
    brands: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    years: tuple[str, ...]

    def __post_init__(self):
        lengths = {field.name: len(getattr(self, field.name)) for field in dataclasses.fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"a catalogue's attributes must be of one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.item_ids)

    @functools.cached_property
    def _index_of_id(self) -> dict[str, int]:
        return {item_id: index for index, item_id in enumerate(self.item_ids)}

    @functools.cached_property
    def _index_of_text(self) -> dict[str, int]:
        return {text: index for index, text in enumerate(self.texts)}

    def index_of(self, item_id: str) -> int:
        """Returns the item_index of a raw id; `ValueError` where there is no such item."""
        try:
            return self._index_of_id[item_id]
        except KeyError:
            raise ValueError(
                f"no item {item_id!r} among the {len(self)} of the catalogue"
            ) from None

    def index_of_text(self, text: str) -> int:
        """Returns the item_index of an exact text; `ValueError` where no item has that name."""
        try:
            return self._index_of_text[text]
        except KeyError:
            raise ValueError(
                f"no item is named {text!r} among the {len(self)} of the catalogue"
            ) from None

    def write(self, path: epath.PathLike) -> None:
        """Writes JSON lines, one item a line, in order of item_index."""
        lines = (
            {
                "item_id": self.item_ids[i],
                "text": self.texts[i],
                "title": self.titles[i],
                "brand": self.brands[i],
                "categories": self.categories[i],
                "year": self.years[i],
            }
            for i in range(len(self))
        )
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        epath.Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: epath.PathLike) -> "Catalogue":
        """Reads what `write` wrote."""
        # Not splitlines(): a title may hold U+0085 or other line ends of Unicode.
        lines = epath.Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
        records = [json.loads(line) for line in lines]
        return cls(
            item_ids=tuple(record["item_id"] for record in records),
            texts=tuple(record["text"] for record in records),
            titles=tuple(record["title"] for record in records),
            brands=tuple(record["brand"] for record in records),
            categories=tuple(tuple(record["categories"]) for record in records),
            years=tuple(record["year"] for record in records),
        )


def hash_order(ids: Iterable[str]) -> list[str]:
    """Sorts ids by the SHA-256 of each: an order that carries no time, popularity or user."""
    return sorted(ids, key=lambda raw_id: hashlib.sha256(raw_id.encode()).digest())


def build_catalogue(
    item_ids: Iterable[str], items: items_lib.Items | None
) -> tuple[Catalogue, dict[str, int]]:
    """Orders and names items.

    Args:
      item_ids: the raw ids to keep, each once, in any order.
      items: what is known of them; None, or an id that is not there, leaves only the id for a name.

    Returns:
      The catalogue, and how many items had no title, by what names them instead ('key_phrase',
      'brand and category', 'categories', 'item id').
    """
    order = hash_order(item_ids)
    known = {item_id: row for row, item_id in enumerate(items.item_ids)} if items else {}
    rows = [known.get(item_id) for item_id in order]

    def column(name: str, missing) -> tuple:
        values = getattr(items, name) if items else ()
        return tuple(missing if row is None else values[row] for row in rows)

    titles, brands, years = column("titles", ""), column("brands", ""), column("years", "")
    categories, key_phrases = column("categories", ()), column("key_phrases", "")
    names, fallbacks = [], collections.Counter()
    for i, title in enumerate(titles):
        if not title:
            kind, title = _stand_in(order[i], key_phrases[i], brands[i], categories[i])
            fallbacks[kind] += 1
        names.append(title)
    catalogue = Catalogue(
        item_ids=tuple(order),
        texts=tuple(unique_texts(names, years, brands)),
        titles=titles,
        brands=brands,
        categories=categories,
        years=years,
    )
    return catalogue, dict(fallbacks)


def _stand_in(
    item_id: str, key_phrase: str, brand: str, categories: Sequence[str]
) -> tuple[str, str]:
    """Returns what kind of name stands in for a missing title, and the name."""
    if key_phrase:
        return "key_phrase", key_phrase
    if brand and categories:
        return "brand and category", f"{brand} {categories[-1]}"
    if categories:
        return "categories", ", ".join(categories)
    # Raw ids are cleaned too: the text must pass through a tokenizer unchanged.
    return "item id", f"Item {items_lib.clean_text(item_id)}"


def unique_texts(names: Sequence[str], years: Sequence[str], brands: Sequence[str]) -> list[str]:
    """Tells equal names apart: by year, then by brand, then by a counter.

    Where the years of equal names differ, each that has one gets it; what is still equal gets its
    brand, if brands differ; of what is equal even then the first stays and the next are counted
    from 2. A name made so never meets another item's own. Names that differ only in case differ.

    Args:
      names: [num_items], cleaned.
      years: [num_items], '' where missing.
      brands: [num_items], '' where missing.

    Returns:
      [num_items] distinct texts.

    Example: names Sabrina, Sabrina, Brush, Brush of years 1954, 1995, '', '' and brands '', '',
    OPI, OPI give 'Sabrina (1954)', 'Sabrina (1995)', 'Brush', 'Brush (2)'.
    """
    texts = list(names)
    for attribute in (years, brands):
        for group in _equal(zip(names, texts, strict=True)):
            if len({attribute[i] for i in group}) > 1:
                for i in group:
                    texts[i] += f" ({attribute[i]})" if attribute[i] else ""
    # A name of an item's own outranks one made above: the made one gives way to a counter.
    taken = set(texts)
    for group in _equal(texts):
        own = [i for i in group if texts[i] == names[i]]
        first = (own or group)[0]
        for i in group:
            if i == first:
                continue
            number = 2
            while f"{texts[i]} ({number})" in taken:
                number += 1
            texts[i] += f" ({number})"
            taken.add(texts[i])
    return texts


def _equal(values: Iterable[Hashable]) -> list[list[int]]:
    """Returns the positions of each value that occurs more than once."""
    groups = collections.defaultdict(list)
    for i, value in enumerate(values):
        groups[value].append(i)
    return [group for group in groups.values() if len(group) > 1]
