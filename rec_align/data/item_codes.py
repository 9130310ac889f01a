"""The codes of a corpus's items, where an index was made for it: semantic or collaborative ids.

`CORPUS/item_indices/NAME/` holds, beside whatever gave the codes:

  codes.npy     int32 [num_items, levels], -1 where an item has no code at a level
  index.json    {"kind", "codebook_sizes", "options", "num_fitted", "fit_sha256"}
"""

import dataclasses
import hashlib
import io
import json
from typing import Any

import numpy as np
from etils import epath

from rec_align.data import corpus as corpus_lib

NO_CODE = -1
_FOLDER, _CODES, _DESCRIPTION = "item_indices", "codes.npy", "index.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemCodes:
    """What an index gives each item.

    Attributes:
      codes: int32 [num_items, levels], `NO_CODE` where an item has none; never at level 0.
      codebook_sizes: [levels], the codes that each level may use.
      kind: "semantic" or "collaborative".
      options: how it was made, to make it again.
      num_fitted: the first so many items were there then; the others came later.
      fit_sha256: the digest of those items' codes. It stays when items come.
    """

    codes: np.ndarray
    codebook_sizes: tuple[int, ...]
    kind: str
    options: dict[str, Any]
    num_fitted: int
    fit_sha256: str

    @classmethod
    def fitted(
        cls, codes: np.ndarray, codebook_sizes: tuple[int, ...], kind: str, options: dict[str, Any]
    ) -> "ItemCodes":
        """Codes that were just made for all items of a corpus; see the attributes.

        Raises:
          ValueError: a code is outside its codebook, or an item has none at level 0.
        """
        codes = _checked(codes, codebook_sizes)
        return cls(
            codes=codes,
            codebook_sizes=tuple(map(int, codebook_sizes)),
            kind=kind,
            options=options,
            num_fitted=len(codes),
            fit_sha256=_digest(codes),
        )

    def extended(self, codes: np.ndarray) -> "ItemCodes":
        """With the codes of items that came later: int32 [num_new_items, levels]."""
        codes = _checked(codes, self.codebook_sizes)
        return dataclasses.replace(self, codes=np.concatenate([self.codes, codes]))

    def write(self, folder: epath.PathLike) -> None:
        """Writes both files."""
        folder = epath.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        np.save(file, self.codes)
        written = folder / f".{_CODES}.written"
        written.write_bytes(file.getvalue())
        written.replace(folder / _CODES)
        description = {
            "kind": self.kind,
            "codebook_sizes": self.codebook_sizes,
            "options": self.options,
            "num_fitted": self.num_fitted,
            "fit_sha256": self.fit_sha256,
        }
        (folder / _DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")


def _digest(codes: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(codes, np.int32).tobytes()).hexdigest()


def _checked(codes: np.ndarray, codebook_sizes: tuple[int, ...]) -> np.ndarray:
    codes = np.asarray(codes, np.int32)
    if codes.ndim != 2 or codes.shape[1] != len(codebook_sizes):
        raise ValueError(f"codes {codes.shape} do not fit {len(codebook_sizes)} codebooks")
    bad = ((codes < NO_CODE) | (codes >= np.array(codebook_sizes))).any(axis=1)
    bad |= codes[:, 0] == NO_CODE
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"item {row} of {len(codes)} has the codes {codes[row].tolist()} in codebooks of "
            f"{list(codebook_sizes)}: each must be below its size, and the first one there. Where "
            "too many items share their codes, make the index anew with more of them"
        )
    return codes


def folder_of(corpus: str, name: str) -> epath.Path:
    """Where an index of a corpus is kept, whether it is there or not."""
    return corpus_lib.corpus_dir(corpus) / _FOLDER / name


def list_item_codes(corpus: str) -> list[str]:
    """The indices that were made for a corpus, sorted."""
    folder = folder_of(corpus, "")
    if not folder.exists():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path / _DESCRIPTION).exists()
    )


def read_item_codes(corpus: str, name: str) -> ItemCodes:
    """Reads an index.

    Raises:
      ValueError: there is none of that name, or its files do not belong together.
    """
    folder = folder_of(corpus, name)
    if not (folder / _DESCRIPTION).exists():
        raise ValueError(
            f"corpus {corpus!r} has no item index {name!r}, only {list_item_codes(corpus)} and "
            f"those that need no making; make it with `rec-align index build {corpus} KIND`"
        )
    description = json.loads((folder / _DESCRIPTION).read_text())
    description["codebook_sizes"] = tuple(description["codebook_sizes"])
    codes = np.load(io.BytesIO((folder / _CODES).read_bytes()))
    if _digest(codes[: description["num_fitted"]]) != description["fit_sha256"]:
        raise ValueError(
            f"{folder}: {_CODES} is not what {_DESCRIPTION} describes; make the index anew with "
            "--force"
        )
    return ItemCodes(codes=codes, **description)
