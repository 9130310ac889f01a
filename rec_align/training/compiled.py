"""Compiled mixtures: packed rows on disk, read without TensorFlow, SeqIO or gin.

`rec-align compile` writes a folder (see `rec_align/pipeline/compiling.py`):

  train.rows        the rows of all epochs, one fixed-size record each
  validation.rows   the validation split of one task, in its order
  manifest.json     what was compiled, and the form of a record

A record is the features of one packed row, one after the other, in the smallest type that holds
them. The files are mapped, not read: opening takes milliseconds, and memory is the system's cache.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray]

FORMAT = 1
MANIFEST = "manifest.json"
EOS_ID = 1
_NUM_ROUNDS = 4


def permuted(positions: np.ndarray, size: int, seed: tuple[int, ...]) -> np.ndarray:
    """Where a fixed random permutation of range(size) puts each position.

    A Feistel network over the next even power of two, walked until it is back in range: the
    permutation is arithmetic, so it takes no memory and can be entered anywhere.

    Args:
      positions: [n] int64, each in [0, size).
      size: length of the permutation.
      seed: which permutation.

    Returns:
      [n] int64; all positions together give each number in [0, size) once.
    """
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence(seed).generate_state(_NUM_ROUNDS, np.uint64)

    def once(values: np.ndarray) -> np.ndarray:
        left, right = values >> half, values & mask
        for key in keys:
            mixed = (right ^ key) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        return (left << half) | right

    values = once(positions.astype(np.uint64))
    while (outside := values >= size).any():
        values[outside] = once(values[outside])
    return values.astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledMixture:
    """A folder that `rec-align compile` wrote.

    Attributes:
      directory: where it is.
      manifest: what manifest.json says.
      train: [num_rows] records, mapped.
      validation: [num_validation_rows] records, mapped.
    """

    directory: pathlib.Path
    manifest: Mapping[str, Any]
    train: np.ndarray
    validation: np.ndarray

    @classmethod
    def open(cls, directory: str | pathlib.Path) -> "CompiledMixture":
        """Maps the files of a folder.

        Raises:
          ValueError: there is no compiled mixture, one of another format, or a file is cut off.
        """
        directory = pathlib.Path(directory)
        path = directory / MANIFEST
        if not path.exists():
            raise ValueError(
                f"no compiled mixture in {directory}: make one with `rec-align compile MIXTURE "
                f"--out {directory}`, on a machine with TensorFlow"
            )
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(
                f"{path}: format {manifest['format']}, this rec_align reads {FORMAT}: compile again"
            )
        row = np.dtype([(name, kind, (size,)) for name, kind, size in manifest["features"]])
        sizes = {"train": sum(manifest["rows"]), "validation": manifest["validation_rows"]}
        mapped = {name: _map(directory / f"{name}.rows", row, size) for name, size in sizes.items()}
        return cls(directory=directory, manifest=manifest, **mapped)

    @property
    def vocab_size(self) -> int:
        """How many tokens the vocabulary has."""
        return self.manifest["vocab_size"]

    def check_rows(self, num_embeddings: int) -> None:
        """Refuses a network whose embedding is of another vocabulary's size, rounded up to 128.

        Raises:
          ValueError: both sizes are named.
        """
        expected = -(-self.vocab_size // 128) * 128
        if num_embeddings != expected:
            raise ValueError(
                f"{self.directory}: its vocabulary has vocab_size {self.vocab_size}, so {expected} "
                f"rows, the model's embedding has {num_embeddings}: compile with the model's own "
                "vocabulary, or set the model's vocab_size to 0"
            )

    def check_fits(self, **wanted: Any) -> None:
        """Refuses a manifest that differs from what a model needs.

        Args:
          **wanted: entries of the manifest, for instance `vocabulary_sha256` or
            `task_feature_lengths`, as they must be.

        Raises:
          ValueError: one differs; both values are named.
        """
        for name, value in wanted.items():
            if self.manifest[name] != value:
                raise ValueError(
                    f"{self.directory}: {name} is {self.manifest[name]}, the model's is {value}: "
                    "compile the mixture for this model, or train another model on it"
                )

    def batches_from(
        self, step: int, *, batch_size: int, seed: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Training batches without end, from one step on.

        The epochs follow one another and then begin again; the rows of an epoch are in a new order
        each time. The same arguments give the same batches, and all hosts' parts are the batches
        of one host.

        Args:
          step: the number of the first batch, 0-based; any is found at once.
          batch_size: rows a batch, over all hosts.
          seed: fixes the order.
          shard: (number of this host's part, how many parts a batch has).

        Yields:
          Model features, each [batch_size / parts, length], in the type of the records.

        Raises:
          ValueError: the batch size does not divide by the number of parts, or the step is below 0.
        """
        part, num_parts = shard
        if batch_size < 1 or batch_size % num_parts or step < 0:
            raise ValueError(
                f"batch_size={batch_size}, step={step}: give a multiple of the {num_parts} parts, "
                "and a step of 0 or more"
            )
        size = batch_size // num_parts
        while True:
            rows = self._rows(step * batch_size + part * size, size, seed)
            yield model_features(self.train[rows])
            step += 1

    def _rows(self, begin: int, count: int, seed: int) -> np.ndarray:
        """Which rows are at [begin, begin + count) of the endless stream: [count] int64."""
        sizes = self.manifest["rows"]
        ends = np.cumsum(sizes)
        rows, filled = np.empty(count, np.int64), 0
        while filled < count:
            turn, within = divmod(begin + filled, int(ends[-1]))
            epoch = int(np.searchsorted(ends, within, side="right"))
            first = int(ends[epoch]) - sizes[epoch]
            taken = np.arange(within - first, min(within - first + count - filled, sizes[epoch]))
            places = permuted(taken, sizes[epoch], (seed, turn, epoch))
            rows[filled : filled + len(taken)] = first + places
            filled += len(taken)
        return rows

    def validation_batches(self, batch_size: int) -> list[Batch]:
        """The validation rows in order; empty rows fill the last batch to the one shape."""
        batches = []
        for begin in range(0, len(self.validation), batch_size):
            rows = np.zeros(batch_size, self.validation.dtype)
            taken = self.validation[begin : begin + batch_size]
            rows[: len(taken)] = taken
            batches.append(model_features(rows))
        return batches


def model_features(rows: np.ndarray) -> Batch:
    """Records -> what a network and its loss read, [batch, length] each, in the records' types.

    Decoder inputs and loss weights follow from the targets as in `RecFeatureConverter`; positions,
    which no network of ours reads, are left out. The training step widens them on the device.
    """
    batch = {name: rows[name] for name in rows.dtype.names}
    targets = batch["decoder_target_tokens"]
    is_token = targets > 0
    inputs = np.zeros_like(targets)
    # The token before, but nothing after the end of one and before the start of the next.
    follows = (targets[:, :-1] != EOS_ID) & is_token[:, 1:]
    np.multiply(targets[:, :-1], follows, out=inputs[:, 1:])
    weights = is_token.astype(targets.dtype)
    return batch | {"decoder_input_tokens": inputs, "decoder_loss_weights": weights}


def _map(path: pathlib.Path, row: np.dtype, num_rows: int) -> np.ndarray:
    found = path.stat().st_size if path.exists() else 0
    if found != num_rows * row.itemsize:
        raise ValueError(
            f"{path} has {found:,} bytes, its manifest says {num_rows * row.itemsize:,}: copy it "
            "again, or compile again"
        )
    if not num_rows:
        return np.zeros(0, row)
    return np.asarray(np.memmap(path, row, mode="r", shape=(num_rows,)))
