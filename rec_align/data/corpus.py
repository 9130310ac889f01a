"""A corpus: where it lies, how it is built, how it is opened.

`DATA_DIR/NAME/1.0.0/` is a TFDS dataset (see `histories_tfds`) with, beside its records:

  catalogue.jsonl            the items, one a line, in order of item_index
  train_item_counts.npy      int64 [num_items], interactions of each item in train
  vocabulary/spiece.model    SentencePiece, trained on the corpus's own train-side text
  corpus.json                the manifest: inputs, options, counts, what was skipped
  taught_items.npz           a teacher's draws (see `taught_items`), after `rec-align teach`
  taught_item_embeddings.npy its embeddings of the items
  reviews/                   a TFDS dataset of its own (see `reviews_tfds`), where there are any

Raw user ids are not kept. `user_index` is the rank of a user's id by SHA-256 among the kept users,
so whoever holds the raw log can work it out again.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

import rec_align
from rec_align.data import (
    by_part,
    histories_tfds,
    review_parts,
    reviews_tfds,
    shards,
    user_log,
    vocabulary,
)
from rec_align.data import catalogue as catalogue_lib
from rec_align.data import sources as sources_lib

VERSION = shards.VERSION
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


def reviews_dir(name: str, data_dir: epath.PathLike | None = None) -> epath.Path:
    """Returns where a corpus's reviews are, whether it has any or not."""
    return corpus_dir(name, data_dir) / reviews_tfds.FOLDER


def num_reviews(name: str, data_dir: epath.PathLike | None = None) -> dict[str, int]:
    """Returns split -> how many reviews it has; {} where the corpus has none."""
    return read_manifest(name, data_dir).get("num_reviews", {})  # older manifests do not say


def read_catalogue(name: str, data_dir: epath.PathLike | None = None) -> catalogue_lib.Catalogue:
    """Returns a corpus's catalogue, read once a process; `ValueError` where it is not built."""
    return _read_catalogue(os.fspath(_existing(_CATALOGUE, name, data_dir)))


def replace_catalogue(
    name: str, catalogue: catalogue_lib.Catalogue, data_dir: epath.PathLike | None = None
) -> None:
    """Puts a catalogue in the place of a corpus's own, whose items it begins with."""
    path = _existing(_CATALOGUE, name, data_dir)
    written = path.parent / f".{_CATALOGUE}.written"
    catalogue.write(written)
    written.replace(path)
    forget_catalogues()


def forget_catalogues() -> None:
    """Lets the next `read_catalogue` read its file."""
    _read_catalogue.cache_clear()


def train_item_counts(name: str, data_dir: epath.PathLike | None = None) -> np.ndarray:
    """Returns int64 [num_items], the interactions of each item in the train split.

    Items that came after the corpus was built have none.
    """
    counts = _counts_at_build(name, data_dir)
    return np.pad(counts, (0, len(read_catalogue(name, data_dir)) - len(counts)))


def num_items_at_build(name: str, data_dir: epath.PathLike | None = None) -> int:
    """Returns how many items the corpus was built with; the catalogue's others came later."""
    return len(_counts_at_build(name, data_dir))


def _counts_at_build(name: str, data_dir: epath.PathLike | None) -> np.ndarray:
    with _existing(_COUNTS, name, data_dir).open("rb") as file:
        return np.load(file)


def train_histories(
    name: str, data_dir: epath.PathLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what each user has in the train split, in order of user_index.

    Users who have nothing there are left out.

    Returns:
      item_indices, int32 [total], each history in time order, and offsets, int64 [num_users + 1]:
      a user owns `item_indices[offsets[u] : offsets[u + 1]]`.
    """
    _existing(_MANIFEST, name, data_dir)
    return histories_tfds.read_item_indices(name, corpus_dir(name, data_dir), "train")


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
    beam_options: Sequence[str] | None = None,
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
      beam_options: of Apache Beam, which then does the work and needs a `data_dir` that all its
        workers see; None builds here. The corpus is the same.
      report: takes each line of progress.

    Returns:
      The manifest, whose `skipped` says which rows were left out, and whether anything was built.

    Raises:
      ValueError: the name or the data cannot be used, or Apache Beam is missing; nothing is
        written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"corpus name {name!r}: use small letters, digits and underscores, e.g. my_shop"
        )
    on_beam = None if beam_options is None else _on_beam()
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

    for made, what in (("item_indices", "item indices"), ("taught_items.npz", "taught items")):
        if (final / made).exists():
            report(f"the {what} of {name} go with the old corpus: make them anew")
    histories_tfds.check_name(name)
    with _folder(final if on_beam else None) as folder:
        reader = on_beam(beam_options, folder) if on_beam else user_log.Streamed()
        log = user_log.read(source, folder, k_core=k_core, report=report, reader=reader)
        reviews = None
        if (texts_of_rows := source.reviews()) is not None:
            report("reading the text of the reviews")
            reviews = review_parts.gather(texts_of_rows, log, folder, report)
        manifest = {
            "name": name,
            "version": VERSION,
            **wanted,
            "texts_sha256": texts_sha256,
            "num_rows_read": log.num_rows_read,
            "before_k_core": log.before,
            "after_k_core": log.after,
            "skipped": [
                {"reason": note.reason, "count": note.count, "where": note.where}
                for note in log.skipped
            ],
            "title_fallbacks": log.title_fallbacks,
            "has_ratings": log.num_rated > 0,
            "num_rated": log.num_rated,
            "has_reviews": bool(reviews and sum(reviews.num_reviews.values())),
            "tool_version": rec_align.__version__,
        }
        _write(
            final,
            manifest,
            log,
            reviews,
            vocab_size=vocab_size,
            texts=texts,
            report=report,
            total=reader.total if on_beam else None,
        )
    _read_catalogue.cache_clear()
    return manifest, True


def _on_beam():
    """Returns `beam_build.OnBeam`."""
    try:
        from rec_align.data import beam_build
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "apache_beam":
            raise
        raise ValueError(
            "Apache Beam is not installed: pip install 'rec_align[beam]', or build without --beam"
        ) from error
    return beam_build.OnBeam


@contextlib.contextmanager
def _folder(final: epath.Path | None) -> Iterator[epath.Path]:
    """Gives a directory for files while a corpus is built: beside its place, or anywhere here."""
    if final is None:
        with tempfile.TemporaryDirectory(prefix="rec_align_") as folder:
            yield epath.Path(folder)
        return
    folder = final.parent / f".{VERSION}.parts"
    if folder.exists():  # left by a build that was killed
        folder.rmtree()
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        folder.rmtree()
        if not any(final.parent.iterdir()):
            final.parent.rmdir()


def _write(
    final: epath.Path,
    manifest: dict[str, Any],
    log: user_log.UserLog,
    reviews: review_parts.ReviewParts | None,
    *,
    vocab_size: int | None,
    texts: Sequence[str],
    report: Callable[[str], None],
    total: by_part.Total | None,
) -> None:
    """Writes all files beside their place, then puts them there."""
    catalogue, counts = log.catalogue, log.histories.train_item_counts
    building = final.parent / f".{VERSION}.building"
    replaced = final.parent / f".{VERSION}.replaced"
    for directory in (building, replaced):  # left by a build that was killed
        if directory.exists():
            directory.rmtree()
    building.mkdir(parents=True)
    try:
        report(f"training a vocabulary on {len(catalogue):,} item names")
        manifest["num_pieces"] = vocabulary.train_vocabulary(
            catalogue,
            counts,
            building / _VOCABULARY,
            vocab_size=vocab_size,
            texts=texts,
            sentences=reviews.sentences if reviews else (),
        )
        report(f"writing {log.histories.num_users:,} user histories")
        histories_tfds.write_histories(log.histories, manifest["name"], building, total=total)
        if manifest["has_reviews"]:
            report(f"writing {sum(reviews.num_reviews.values()):,} reviews")
            manifest["num_reviews"] = reviews.num_reviews
            manifest["num_explanations"] = reviews_tfds.write_reviews(
                reviews, log, manifest["name"], building
            )
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
