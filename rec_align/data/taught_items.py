"""Taught items: what a teacher draws at each place of the train split.

Two files beside a corpus, which `rec_align/teaching.py` writes: the draws, among which the task
`{corpus}_distillation` takes its targets, and the teacher's embeddings of the items, which item
tokens may start from.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from rec_align.data.arrays import write_arrays
from rec_align.data.corpus import corpus_dir

_FILE, _EMBEDDINGS = "taught_items.npz", "taught_item_embeddings.npy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaughtItems:
    """Some draws for each place of each train history, by what stands before it.

    Place 0 has nothing before it, and after some there is nothing left to take: there every draw is
    the item that stands at the place.

    Attributes:
      options: how they were made.
      begins: [num_users + 1] int64; the places of user u are begins[u]:begins[u + 1].
      item_indices: [places, num_draws] int32, drawn with replacement by the teacher's probabilities
        of the items that the user has not had before the place.
    """

    options: Mapping[str, Any]
    begins: np.ndarray
    item_indices: np.ndarray


def exists(corpus: str) -> bool:
    """Whether a corpus has taught items."""
    return _path(corpus).exists()


def sha256(corpus: str) -> str | None:
    """The digest of what a corpus is taught; None where it is taught nothing."""
    return hashlib.sha256(_path(corpus).read_bytes()).hexdigest() if exists(corpus) else None


def write(corpus: str, taught: TaughtItems, item_embeddings: np.ndarray) -> None:
    """Puts them beside the corpus, in place of those that may be there.

    Args:
      corpus: a built corpus.
      taught: the draws.
      item_embeddings: [num_items, width] float32, the teacher's.
    """
    folder = corpus_dir(corpus)
    written, embeddings_written = (folder / f".{n}.written" for n in (_FILE, _EMBEDDINGS))
    file = io.BytesIO()
    np.save(file, item_embeddings)
    embeddings_written.write_bytes(file.getvalue())
    arrays = {k: v for k, v in vars(taught).items() if k != "options"}
    write_arrays(written, {"options": json.dumps(taught.options), **arrays})
    embeddings_written.replace(folder / _EMBEDDINGS)
    written.replace(folder / _FILE)


def read(corpus: str) -> TaughtItems:
    """Reads them; `ValueError` where the corpus has none."""
    if not exists(corpus):
        raise ValueError(
            f"corpus {corpus!r} has no taught items, which its distillation task draws from: make "
            f"them with `rec-align teach {corpus}`"
        )
    with _path(corpus).open("rb") as file, np.load(file) as stored:
        arrays = dict(stored)
    fields = {field.name for field in dataclasses.fields(TaughtItems)}
    if arrays.keys() != fields or not (corpus_dir(corpus) / _EMBEDDINGS).exists():
        raise ValueError(
            f"{_path(corpus)} is of another version: make it anew with `rec-align teach {corpus} "
            "--force`"
        )
    return TaughtItems(options=json.loads(str(arrays.pop("options"))), **arrays)


def embeddings_path(corpus: str) -> epath.Path:
    """Where the teacher's embeddings of the items are, an .npy of [num_items, width].

    Raises:
      ValueError: the corpus has no taught items.
    """
    read(corpus)
    return corpus_dir(corpus) / _EMBEDDINGS


def _path(corpus: str) -> epath.Path:
    return corpus_dir(corpus) / _FILE
