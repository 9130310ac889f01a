"""Ways of writing items: as words, as tokens of their own, or as both.

`ITEM_INDEX` names one, or several joined by "+", written one after the other:

  title                  the unique title (the default)
  title+brand+category   with more of what is known
  atomic                 one token an item
  semantic               an index made by `rec-align index build`, under whatever name
  semantic+title         short ids, then the title

A new way is one class like those here, in a file of its own, entered in `WAYS`; an index that is
codes needs no class, only a folder, see `data/item_codes.py`.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

import gin
import numpy as np

from rec_align.data import corpus as corpus_lib
from rec_align.data.catalogue import Catalogue
from rec_align.data.corpus import corpus_dir, num_items_at_build, read_catalogue
from rec_align.data.item_codes import list_item_codes, read_item_codes

DEFAULT = "title"


class Way(Protocol):
    """How items are written, made from the name of a corpus.

    Attributes:
      texts: [num_items] str, '' where there is nothing to write. Fewer where the last items, which
        came later, cannot be written.
      tokens: entries that the vocabulary needs for it, each one token; () for words. One that an
        item may start with has "▁" in front, the mark of a space.
      fit_sha256: what `texts` depends on besides the corpus, '' for nothing.
    """

    texts: tuple[str, ...]
    tokens: tuple[str, ...]
    fit_sha256: str


class _Words:
    tokens: tuple[str, ...] = ()
    fit_sha256 = ""


class Title(_Words):
    """The unique title."""

    def __init__(self, corpus: str):
        self.texts = read_catalogue(corpus).texts


class Brand(_Words):
    """The brand, where one is known."""

    def __init__(self, corpus: str):
        self.texts = read_catalogue(corpus).brands


class Category(_Words):
    """The last and narrowest category, where one is known."""

    def __init__(self, corpus: str):
        categories = read_catalogue(corpus).categories
        self.texts = tuple(names[-1] if names else "" for names in categories)


class Atomic:
    """One token an item: <item_0>, <item_1>, ... in order of item_index.

    Items that come after the corpus was built have none.
    """

    fit_sha256 = ""

    def __init__(self, corpus: str):
        self.texts = tuple(f"<item_{i}>" for i in range(num_items_at_build(corpus)))
        self.tokens = tuple(f"▁{text}" for text in self.texts)


class Codes:
    """The codes of an index: code 7 of level 0 and 2 of level 1 are <NAME_0_7><NAME_1_2>.

    Items that came after it have none until it is extended.
    """

    def __init__(self, corpus: str, name: str):
        if name not in list_item_codes(corpus):
            raise ValueError(
                f"ITEM_INDEX: corpus {corpus!r} has no item index {name!r}; there are "
                f"{', '.join([*WAYS, *list_item_codes(corpus)])}, and `rec-align index build "
                f"{corpus} KIND` makes others"
            )
        index = read_item_codes(corpus, name)
        levels = range(len(index.codebook_sizes))
        words = [
            np.array([f"<{name}_{level}_{code}>" for code in range(size)] + [""], object)
            for level, size in enumerate(index.codebook_sizes)
        ]
        # NO_CODE is -1 and so takes the last word, which is empty.
        columns = (words[level][index.codes[:, level]] for level in levels)
        self.texts = tuple(map("".join, zip(*columns, strict=True)))
        self.tokens = tuple(
            f"{'' if level else '▁'}{word}" for level in levels for word in words[level][:-1]
        )
        self.fit_sha256 = index.fit_sha256


WAYS: dict[str, Callable[[str], Way]] = {
    "title": Title,
    "brand": Brand,
    "category": Category,
    "atomic": Atomic,
}


@dataclasses.dataclass(frozen=True)
class Writing:
    """How the items of a corpus are written.

    Attributes:
      name: as in ITEM_INDEX.
      texts: [num_items] str; the last items, where they came later, may be missing.
      tokens: entries of the vocabulary, beyond its pieces and sentinels.
      ends_itself: whether one can tell where an item ends, so that a list needs no separator.
      sha256: the digest of what a trained model depends on; '' for titles.
      catalogue: whose items they are.
    """

    name: str
    texts: tuple[str, ...]
    tokens: tuple[str, ...]
    ends_itself: bool
    sha256: str
    catalogue: Catalogue = dataclasses.field(repr=False)

    @property
    def has_titles(self) -> bool:
        return "title" in self.name.split("+")


@gin.configurable
def item_index(name: str = DEFAULT) -> str:
    """The name of the item index that all tasks use; bound by ITEM_INDEX."""
    return name


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """Makes it another item index for a while."""
    before = item_index()
    try:
        use(name)
        yield
    finally:
        use(before)


def use(name: str) -> None:
    """Makes it another item index from now on."""
    with gin.unlock_config():
        gin.bind_parameter("rec_align.pipeline.item_writing.item_index.name", name)


def open_writing(corpus: str) -> Writing:
    """How the items of a corpus are written, by `item_index`; kept for the next call.

    Raises:
      ValueError: there is no such way.
    """
    catalogue = read_catalogue(corpus)
    name = "+".join(part.strip() for part in item_index().split("+"))
    # The catalogue stands in the key by its identity, and lives as long as what is kept of it.
    return _open(corpus, str(corpus_dir(corpus)), id(catalogue), name)


def generation() -> int:
    """Changes whenever `reload` was called."""
    return _generation


def reload() -> None:
    """Lets the next calls read catalogues and indices anew: after they changed on disk."""
    global _generation
    _generation += 1
    corpus_lib.forget_catalogues()
    _open.cache_clear()


_generation = 0


@functools.lru_cache(maxsize=16)
def _open(corpus: str, directory: str, catalogue_id: int, name: str) -> Writing:
    del directory, catalogue_id  # part of the cache's key only
    names = name.split("+")
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"ITEM_INDEX: {name!r} names a way of writing twice, or none")
    ways = [WAYS[part](corpus) if part in WAYS else Codes(corpus, part) for part in names]
    _check_words(name, ways)
    texts = ways[0].texts
    for before, way in itertools.pairwise(ways):
        glue = " " if before.tokens or way.tokens else ", "
        texts = tuple(
            f"{left}{glue if left and right else ''}{right}"
            for left, right in zip(texts, way.texts, strict=False)  # as many as all ways write
        )
    fits = "".join(way.fit_sha256 for way in ways)
    tokens = tuple(token for way in ways for token in way.tokens)
    sha256 = hashlib.sha256(f"{name} {fits} {tokens}".encode()).hexdigest()
    return Writing(
        name=name,
        texts=texts,
        tokens=tokens,
        ends_itself=bool(ways[-1].tokens),
        sha256="" if name == DEFAULT else sha256,
        catalogue=read_catalogue(corpus),
    )


def _check_words(name: str, ways: list[Way]) -> None:
    """Refuses items whose words hold the form of a token: they would be read as one."""
    prefixes = {token.lstrip("▁").rsplit("_", 1)[0] for way in ways for token in way.tokens}
    for way in ways:
        if way.tokens or not prefixes:
            continue
        for text in way.texts:
            if "<" in text and any(prefix in text for prefix in prefixes):
                raise ValueError(
                    f"ITEM_INDEX: {name!r} writes tokens such as {min(prefixes)}_0>, which the "
                    f"item {text!r} holds in its words: rename the index, or the item"
                )
