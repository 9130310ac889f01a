"""Compiling: a mixture is drawn, tokenised and packed once, to files that train without TensorFlow.

An epoch of a mixture ends when the first of its tasks has been through its data; of a task, when it
has. The others are drawn beside it at their rates, so every epoch keeps the mixture's proportions.

`rec_align/training/compiled.py` reads the files and says what they are.
"""

import contextlib
import errno
import functools
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import gin
import numpy as np
import seqio
import tensorflow as tf
from tqdm import tqdm

import rec_align
from rec_align.data import taught_items
from rec_align.data.corpus import corpus_dir
from rec_align.pipeline import batches
from rec_align.pipeline.rating_targets import first_other_rating, rating_tokens
from rec_align.pipeline.templates import families_of

FORMAT = 1
MANIFEST = "manifest.json"
# What is stored of a packed row, and which length it has; the rest follows from it.
STORED = {
    "encoder_input_tokens": "inputs",
    "encoder_blocks": "inputs",
    "encoder_segment_ids": "inputs",
    "decoder_target_tokens": "targets",
    "decoder_blocks": "targets",
    "decoder_segment_ids": "targets",
}
ENTITIES = {"encoder_entities": "inputs"}
_CHUNK_ROWS = 256


def compile_mixture(
    name: str,
    directory: str | pathlib.Path,
    *,
    num_epochs: int,
    task_feature_lengths: Mapping[str, int],
    seed: int = 0,
    validation_task: str | None = None,
    num_threads: int = 2,
    entities: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Writes a mixture's training rows, and the validation rows of one task.

    The files are made in a folder beside `directory` and renamed, so an interrupted run leaves
    nothing there. The same arguments, corpus and taught items give the same bytes.

    Args:
      name: a registered mixture or task of a built corpus.
      directory: where the files go.
      num_epochs: how many epochs, each drawn afresh.
      task_feature_lengths: length of a row: {"inputs": .., "targets": ..}, in tokens.
      seed: fixes every draw.
      validation_task: whose validation split is written too; None: that of
        `batches.choose_validation_task`.
      num_threads: threads for making rows.
      entities: with `encoder_entities`, for networks that read them.
      force: replace what is in `directory`.

    Returns:
      The manifest.

    Raises:
      ValueError: there is something in `directory` already, or fewer than one epoch is asked for.
      OSError: the disk is full, or the folder cannot be written to.
    """
    directory = pathlib.Path(directory)
    if num_epochs < 1:
        raise ValueError(f"num_epochs={num_epochs}: give 1 or more")
    if directory.exists() and not force:
        raise ValueError(f"{directory} is already there: name another, or give --force")
    provider = seqio.get_mixture_or_task(name)
    validation_task = validation_task or batches.choose_validation_task(name)
    manifest = describe(provider, task_feature_lengths, seed, entities)
    manifest["validation_task"] = validation_task
    row = np.dtype([(feature, kind, (size,)) for feature, kind, size in manifest["features"]])
    batches.leave_accelerators_alone()
    with _whole_or_nothing(directory) as building:
        manifest["rows"], manifest["examples"] = [], []
        with _Writer(building / "train.rows", row) as file:
            for epoch in range(num_epochs):
                dataset = batches.packed_rows(
                    _one_pass(provider),
                    task_feature_lengths,
                    seed=batches.round_seed(seed, epoch),
                    num_epochs=1,
                    num_threads=num_threads,
                    entities=entities,
                )
                rows, examples = file.write(dataset, f"epoch {epoch + 1} of {num_epochs}")
                manifest["rows"].append(rows)
                manifest["examples"].append(examples)
        with _Writer(building / "validation.rows", row) as file:
            rows = 0
            if validation_task:
                dataset = batches.validation_rows(
                    validation_task, task_feature_lengths, entities=entities
                )
                rows, _ = file.write(dataset, "validation")
            manifest["validation_rows"] = rows
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (building / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _one_pass(provider: seqio.Task | seqio.Mixture) -> seqio.Task | seqio.Mixture:
    """The same mixture, ending with the first of its tasks instead of the last."""
    if isinstance(provider, seqio.Task):
        return provider
    return type(provider)(
        provider.name,
        [(task, provider.get_rate(task)) for task in provider.tasks],
        sample_fn=functools.partial(
            tf.data.Dataset.sample_from_datasets, stop_on_empty_dataset=True
        ),
    )


def describe(
    provider: seqio.Task | seqio.Mixture,
    task_feature_lengths: Mapping[str, int],
    seed: int,
    entities: bool = False,
) -> dict[str, Any]:
    """What a manifest says of a mixture before any row is drawn."""
    vocabulary = provider.output_features["targets"].vocabulary
    corpus = corpus_dir(vocabulary.corpus) / "corpus.json"
    tasks = [task for task in seqio.get_subtasks(provider) if "train" in task.splits]
    is_mixture = isinstance(provider, seqio.Mixture)
    written = rating_tokens(provider)
    tokens = "uint16" if vocabulary.vocab_size <= 1 << 16 else "int32"
    return {
        "format": FORMAT,
        "rec_align": rec_align.__version__,
        "mixture": provider.name,
        "tasks": {t.name: provider.get_rate(t) if is_mixture else 1.0 for t in tasks},
        "templates": {task.name: _templates(task) for task in tasks},
        "gin": gin.config_str(),
        "seed": seed,
        "corpus": vocabulary.corpus,
        "corpus_sha256": hashlib.sha256(corpus.read_bytes()).hexdigest(),
        "taught_items_sha256": taught_items.sha256(vocabulary.corpus),
        "vocabulary_sha256": vocabulary.sha256,
        "vocab_size": vocabulary.vocab_size,
        "rating_tokens": written,
        "other_rating": first_other_rating(provider) if written else None,
        "num_item_index_tokens": vocabulary.vocab_size - vocabulary.sentinels_end,
        "task_feature_lengths": {k: task_feature_lengths[k] for k in ("inputs", "targets")},
        "features": [
            [feature, tokens if "tokens" in feature else "uint16", task_feature_lengths[side]]
            for feature, side in (STORED | (ENTITIES if entities else {})).items()
        ],
    }


def _templates(task: seqio.Task) -> list[list[str]]:
    """The templates that a task trains on, each [inputs, targets]."""
    return [[t.inputs, t.targets] for family in families_of(task) for t in family.seen]


@contextlib.contextmanager
def _whole_or_nothing(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write to, which takes the place of `directory` if all goes well."""
    building = directory.with_name(f".{directory.name}.building")
    replaced = directory.with_name(f".{directory.name}.replaced")
    for path in (building, replaced):  # left by a run that was killed
        shutil.rmtree(path, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        yield building
        if directory.exists():
            directory.rename(replaced)
        building.rename(directory)
    finally:
        for path in (building, replaced):
            shutil.rmtree(path, ignore_errors=True)


class _Writer:
    """Writes packed rows as records; the file is whole on disk when it is closed."""

    def __init__(self, path: pathlib.Path, row: np.dtype):
        self._path, self._row = path, row
        self._file = path.open("wb")

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_) -> None:
        with self._told():
            self._file.close()

    def write(self, dataset: tf.data.Dataset, title: str) -> tuple[int, int]:
        """Appends all rows of a dataset; returns how many rows and examples they are."""
        num_rows = num_examples = 0
        with tqdm(desc=title, unit=" rows", mininterval=0.5) as bar:
            for batch in dataset.batch(_CHUNK_ROWS).prefetch(2).as_numpy_iterator():
                records = np.empty(len(batch["encoder_segment_ids"]), self._row)
                for name in self._row.names:
                    records[name] = _fitted(batch[name], name, self._row[name].base)
                with self._told():
                    self._file.write(records.tobytes())
                    self._file.flush()
                num_rows += len(records)
                num_examples += int(batch["encoder_segment_ids"].max(axis=1).sum())
                bar.update(len(records))
        return num_rows, num_examples

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            size = self._path.stat().st_size / 1e6
            raise OSError(
                f"{why}: {size:,.1f} MB of {self._path.name} had been written to "
                f"{self._path.parent.parent}, and are removed again; compile fewer epochs, or to "
                "another disk"
            ) from error


def _fitted(values: np.ndarray, name: str, kind: np.dtype) -> np.ndarray:
    if values.size and (values.max() > np.iinfo(kind).max or values.min() < 0):
        raise ValueError(
            f"{name} holds values from {values.min()} to {values.max()}, which {kind} does not: "
            "shorten the task's histories, its blocks are numbered too high"
        )
    return values.astype(kind)
