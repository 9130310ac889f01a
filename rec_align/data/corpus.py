"""A corpus: where it lies, how it is built, how it is opened.

`DATA_DIR/NAME/1.0.0/` is a TFDS dataset (see `histories_tfds`) with, beside its records:

  catalogue.jsonl            the items, one a line, in order of item_index
  train_item_counts.npy      int64 [num_items], interactions of each item in train
  vocabulary/spiece.model    SentencePiece, trained on the corpus's own train-side text
  corpus.json                the manifest: inputs, options, counts, what was skipped

Raw user ids are not kept. `user_index` is the rank of a user's id by SHA-256 among the kept users,
so whoever holds the raw log can work it out again.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

import rec_align
from rec_align.data import catalogue as catalogue_lib
from rec_align.data import histories_tfds, kcore, splits, vocabulary
from rec_align.data import interactions as interactions_lib
from rec_align.data import sources as sources_lib

VERSION = histories_tfds.VERSION
_MANIFEST = "corpus.json"
_CATALOGUE = "catalogue.jsonl"
_COUNTS = "train_item_counts.npy"
_VOCABULARY = "vocabulary/spiece.model"


def default_data_dir() -> epath.Path:
    """Returns where corpora are kept: $TFDS_DATA_DIR, or TFDS's own ~/tensorflow_datasets."""
    return epath.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def corpus_dir(name: str, data_dir: epath.PathLike | None = None) -> epath.Path:
    """Returns DATA_DIR/NAME/1.0.0, whether it is there or not."""
    root = default_data_dir() if data_dir is None else epath.Path(data_dir).expanduser()
    return root / name / VERSION


def vocabulary_path(name: str, data_dir: epath.PathLike | None = None) -> epath.Path:
    """Returns the path of a corpus's SentencePiece model, whether it is there or not."""
    return corpus_dir(name, data_dir) / _VOCABULARY


def list_corpora(data_dir: epath.PathLike | None = None) -> list[str]:
    """Returns the names of the corpora in a data directory, sorted."""
    root = corpus_dir("", data_dir).parent
    if not root.exists():
        return []
    return sorted(path.name for path in root.iterdir() if (path / VERSION / _MANIFEST).exists())


def read_manifest(name: str, data_dir: epath.PathLike | None = None) -> dict[str, Any]:
    """Returns what corpus.json says; `ValueError` where the corpus is not built."""
    return json.loads(_existing(_MANIFEST, name, data_dir).read_text(encoding="utf-8"))


def read_catalogue(name: str, data_dir: epath.PathLike | None = None) -> catalogue_lib.Catalogue:
    """Returns a corpus's catalogue, read once a process; `ValueError` where it is not built."""
    return _read_catalogue(os.fspath(_existing(_CATALOGUE, name, data_dir)))


def train_item_counts(name: str, data_dir: epath.PathLike | None = None) -> np.ndarray:
    """Returns int64 [num_items], the interactions of each item in the train split."""
    with _existing(_COUNTS, name, data_dir).open("rb") as file:
        return np.load(file)


@functools.lru_cache(maxsize=8)
def _read_catalogue(path: str) -> catalogue_lib.Catalogue:
    return catalogue_lib.Catalogue.read(path)


def _existing(file: str, name: str, data_dir: epath.PathLike | None) -> epath.Path:
    directory = corpus_dir(name, data_dir)
    path = directory / file
    if not path.exists():
        raise ValueError(
            f"no corpus {name!r} in {directory.parent.parent}: build it with "
            f"`rec-align data build {name}`"
        )
    return path


def build_corpus(
    name: str,
    source: sources_lib.Source,
    *,
    data_dir: epath.PathLike | None = None,
    k_core: int = 5,
    vocab_size: int | None = None,
    texts: Sequence[str] = (),
    force: bool = False,
    report: Callable[[str], None] = print,
) -> tuple[dict[str, Any], bool]:
    """Builds a corpus, unless the same one is there.

    It is made in a directory beside its place and then renamed, so that an interrupted build leaves
    the old corpus, or none.

    Args:
      name: snake_case; the TFDS dataset's name.
      source: what to build from.
      data_dir: where corpora are kept; None for `default_data_dir()`.
      k_core: least interactions of a user and of an item; 0 keeps all.
      vocab_size: most pieces of the vocabulary; None for `vocabulary.default_vocab_size`.
      texts: template texts that the vocabulary should cover.
      force: build even if the same corpus is there.
      report: takes each line of progress.

    Returns:
      The manifest, whose `skipped` says which rows were left out, and whether anything was built.

    Raises:
      ValueError: the name or the data cannot be used; nothing is written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"corpus name {name!r}: use small letters, digits and underscores, e.g. my_shop"
        )
    final = corpus_dir(name, data_dir)
    wanted = {
        "inputs": source.inputs(),
        "options": {"k_core": k_core, "vocab_size": vocab_size},
    }
    texts_sha256 = hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
    if not force and (final / _MANIFEST).exists():
        manifest = read_manifest(name, data_dir)
        if all(manifest[key] == value for key, value in wanted.items()):
            report(f"{name} is already built in {final} (--force builds it again)")
            if manifest["texts_sha256"] != texts_sha256:
                # Not rebuilt by itself: a trained model may depend on the vocabulary.
                report("its vocabulary was trained with other template texts than today's")
            return manifest, False

    histories_tfds.check_name(name)
    interactions, items = source.read(report)
    if interactions.ticks_per_second != 1:
        report(f"times are in {interactions.time_unit}: stored in seconds")
    num_read = len(interactions) + sum(note.count for note in interactions.skipped)
    if items is not None:
        known = np.isin(interactions.item_ids, items.item_ids)[interactions.items]
        interactions = interactions.keep(known, "interactions with an item that has no item row")
    interactions = interactions.without_duplicates()
    before = _count(interactions)
    core = interactions.keep(kcore.k_core(interactions.users, interactions.items, k_core))
    if not len(core):
        raise ValueError(
            f"nothing is left of {len(interactions):,} interactions after the {k_core}-core: "
            "lower --k-core"
        )
    item_ids = [core.item_ids[code] for code in np.unique(core.items)]
    catalogue, fallbacks = catalogue_lib.build_catalogue(item_ids, items)
    histories = _histories(core, catalogue)
    counts = histories.train_item_counts(len(catalogue))
    num_rated = int(np.isfinite(core.ratings).sum())
    manifest = {
        "name": name,
        "version": VERSION,
        **wanted,
        "texts_sha256": texts_sha256,
        "num_rows_read": num_read,
        "before_k_core": before,
        "after_k_core": _count(core),
        "skipped": [
            {"reason": note.reason, "count": note.count, "where": note.where}
            for note in (*core.skipped, *(items.skipped if items else ()))
        ],
        "title_fallbacks": fallbacks,
        "has_ratings": num_rated > 0,
        "num_rated": num_rated,
        "tool_version": rec_align.__version__,
    }

    building = final.parent / f".{VERSION}.building"
    replaced = final.parent / f".{VERSION}.replaced"
    for directory in (building, replaced):  # left by a build that was killed
        if directory.exists():
            directory.rmtree()
    building.mkdir(parents=True)
    try:
        report(f"training a vocabulary on {len(catalogue):,} item names")
        manifest["num_pieces"] = vocabulary.train_vocabulary(
            catalogue, counts, building / _VOCABULARY, vocab_size=vocab_size, texts=texts
        )
        report(f"writing {histories.num_users:,} user histories")
        histories_tfds.write_histories(histories, name, building)
        catalogue.write(building / _CATALOGUE)
        with (building / _COUNTS).open("wb") as file:
            np.save(file, counts)
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (building / _MANIFEST).write_text(text + "\n", encoding="utf-8")
        if final.exists():
            final.rename(replaced)
        building.rename(final)
    finally:
        for directory in (building, replaced):
            if directory.exists():
                directory.rmtree()
        if final.parent.exists() and not any(final.parent.iterdir()):
            final.parent.rmdir()
    _read_catalogue.cache_clear()
    return manifest, True


def _count(interactions: interactions_lib.Interactions) -> Mapping[str, int]:
    return {
        "users": len(np.unique(interactions.users)),
        "items": len(np.unique(interactions.items)),
        "interactions": len(interactions),
    }


def _histories(
    core: interactions_lib.Interactions, catalogue: catalogue_lib.Catalogue
) -> splits.Histories:
    """Renumbers users and items by the hash order of their ids, and sorts into histories."""

    def renumber(codes: np.ndarray, raw_ids: Sequence[str], ordered: Sequence[str]) -> np.ndarray:
        index = {raw_id: i for i, raw_id in enumerate(ordered)}
        new = np.array([index.get(raw_id, -1) for raw_id in raw_ids], np.int32)
        return new[codes]

    user_ids = catalogue_lib.hash_order(core.user_ids[code] for code in np.unique(core.users))
    return splits.to_histories(
        renumber(core.users, core.user_ids, user_ids),
        renumber(core.items, core.item_ids, catalogue.item_ids),
        core.ticks,
        core.ratings,
        num_users=len(user_ids),
        ticks_per_second=core.ticks_per_second,
    )
