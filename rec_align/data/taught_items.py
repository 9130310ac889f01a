"""Taught items: what a teacher would recommend at each place of the train split.

One file beside a corpus, which `rec_align/teaching.py` writes and the task `{corpus}_distillation`
draws its targets from.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from rec_align.data.arrays import write_arrays
from rec_align.data.corpus import corpus_dir

_FILE = "taught_items.npz"
SHARES = 2**30  # the whole of `TaughtItems.ends`


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaughtItems:
    """The best items for each place of each train history, by what stands before it.

    Place 0 has nothing before it, and after some there is nothing left to take: there the one item
    is that which stands at the place.

    Attributes:
      options: how they were made.
      begins: [num_users + 1] int64; the places of user u are begins[u]:begins[u + 1].
      item_indices: [places, n] int32, best first, none that the user had before the place; -1, of
        share 0, where there are fewer.
      ends: [places, n] int32, rising to `SHARES` in each row: item j is to be drawn by the numbers
        from ends[j - 1] (0 for the first) up to ends[j].
    """

    options: Mapping[str, Any]
    begins: np.ndarray
    item_indices: np.ndarray
    ends: np.ndarray


def exists(corpus: str) -> bool:
    """Whether a corpus has taught items."""
    return _path(corpus).exists()


def sha256(corpus: str) -> str | None:
    """The digest of what a corpus is taught; None where it is taught nothing."""
    return hashlib.sha256(_path(corpus).read_bytes()).hexdigest() if exists(corpus) else None


def write(corpus: str, taught: TaughtItems) -> None:
    """Puts them beside the corpus, in place of those that may be there."""
    path = _path(corpus)
    written = path.parent / f".{_FILE}.written"
    arrays = {k: v for k, v in vars(taught).items() if k != "options"}
    write_arrays(written, {"options": json.dumps(taught.options), **arrays})
    written.replace(path)


def read(corpus: str) -> TaughtItems:
    """Reads them; `ValueError` where the corpus has none."""
    if not exists(corpus):
        raise ValueError(
            f"corpus {corpus!r} has no taught items, which its distillation task draws from: make "
            f"them with `rec-align teach {corpus}`"
        )
    with _path(corpus).open("rb") as file, np.load(file) as stored:
        arrays = dict(stored)
    return TaughtItems(options=json.loads(str(arrays.pop("options"))), **arrays)


def _path(corpus: str) -> epath.Path:
    return corpus_dir(corpus) / _FILE
