"""The files of a TFDS dataset: their names, what each holds, and the metadata that opens them.

Sits below `histories_tfds` and `reviews_tfds`, which know the records. TFDS is imported only while
a dataset is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

VERSION = "1.0.0"
NUM_SHARDS = 16  # SeqIO gives each host whole files: at most this many hosts read one split


class Shards:
    """One split's files, filled one after the other.

    Args:
      template: of their names, see `template`.
      lengths: records of each.
    """

    def __init__(self, template, lengths: Sequence[int]):
        self._template = template
        self._lengths = lengths
        self._shard, self._room, self._num_bytes = -1, 0, 0
        self._writer = None

    def write(self, records: Iterable[bytes]) -> None:
        """Writes records where those before them ended."""
        import tensorflow as tf

        for record in records:
            if not self._room:
                if self._writer:
                    self._writer.close()
                self._shard += 1
                path = self._template.sharded_filepath(
                    shard_index=self._shard, num_shards=len(self._lengths)
                )
                self._writer = tf.io.TFRecordWriter(str(path))
                self._room = self._lengths[self._shard]
            self._writer.write(record)
            self._room -= 1
            self._num_bytes += len(record)

    def close(self) -> int:
        """Ends the last file; returns the bytes of all records."""
        self._writer.close()
        return self._num_bytes


def template(name: str, directory: epath.PathLike, split: str | None = None):
    """Returns TFDS's template for the names of a dataset's files."""
    import tensorflow_datasets as tfds  # seconds to import; only builds pay

    return tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(directory), dataset_name=name, split=split, filetype_suffix="tfrecord"
    )


def shard_lengths(num_records: int, num_shards: int = NUM_SHARDS) -> list[int]:
    """Returns the records of each file; the first ones hold a record more at most."""
    num_shards = min(num_shards, num_records)
    return [
        num_records // num_shards + (shard < num_records % num_shards)
        for shard in range(num_shards)
    ]


def write_metadata(
    name: str,
    directory: epath.PathLike,
    features: Mapping[str, Any],
    lengths: Mapping[str, Sequence[int]],
    num_bytes: Mapping[str, int],
    description: str,
) -> None:
    """Makes a dataset of the files that are there.

    Args:
      name: the dataset's name.
      directory: where its files are.
      features: name -> what TFDS takes for a feature.
      lengths: split -> records of each file.
      num_bytes: split -> bytes of all its records.
      description: for people.
    """
    import tensorflow_datasets as tfds

    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=tfds.features.FeaturesDict(features),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=list(lengths[split]),
                num_bytes=num_bytes[split],
                filename_template=template(name, directory, split),
            )
            for split in lengths
        ],
        version=VERSION,
        filename_template=template(name, directory),
        description=description,
    )
