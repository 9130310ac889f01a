"""Writes histories as a TFDS dataset that needs none of our code to be read.

`tfds.load("NAME", data_dir=...)` and `seqio.TfdsDataSource("NAME:1.0.0", tfds_data_dir=...)` open
it. Each user is one example of each split he is in:

  user_index: int64
  item_indices: int32 [n], in time order; in validation and test the last is the held-out target
  ratings: float32 [n], NaN where there is none
  timestamps: int64 [n], seconds since 1970

The records are encoded in bulk (see `example_bytes`); `shards` makes a dataset of them.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath

from rec_align.data import by_part, splits
from rec_align.data import shards as shards_lib
from rec_align.data.example_bytes import Encoded, example


def check_name(name: str) -> None:
    """Raises `ValueError` where TFDS has a dataset of that name: it would open its own."""
    import tensorflow_datasets as tfds

    if name in tfds.list_builders(with_community_datasets=False):
        raise ValueError(f"{name!r} is a dataset of TFDS itself: choose another name")


def write_histories(
    histories: splits.HistoryParts,
    name: str,
    directory: epath.PathLike,
    *,
    description: str = "",
    num_shards: int = shards_lib.NUM_SHARDS,
    total: by_part.Total | None = None,
) -> None:
    """Writes the train, validation and test splits into an existing directory.

    Args:
      histories: the users' histories, in parts.
      name: the dataset's name, in snake_case.
      directory: where the files go.
      description: for the dataset's metadata.
      num_shards: files a split, fewer where it has fewer users.
      total: writes each file on its own, on machines that see the directory; None writes all here.

    Raises:
      ValueError: a split would be empty.
    """
    import tensorflow_datasets as tfds  # seconds to import; only builds pay

    for split, num_users in histories.num_users_in.items():
        if not num_users:
            raise ValueError(
                f"no user is in the {split} split: users need {splits.MIN_FOR_TARGETS} interactions"
            )
    lengths = {
        split: shards_lib.shard_lengths(num_users, num_shards)
        for split, num_users in histories.num_users_in.items()
    }
    if total:
        shards = [(split, shard) for split in lengths for shard in range(len(lengths[split]))]
        write = functools.partial(_write_shard, name, directory, lengths)
        num_bytes = total(write, shards, histories=histories)
    else:
        written = {
            split: shards_lib.Shards(shards_lib.template(name, directory, split), lengths[split])
            for split in lengths
        }
        first_user = 0
        for part in histories:
            encoded = _encoded(part, first_user)
            for split, shards in written.items():
                shards.write(_records(part, part.lengths(split), encoded))
            first_user += part.num_users
        num_bytes = {split: shards.close() for split, shards in written.items()}
    shards_lib.write_metadata(
        name,
        directory,
        {
            "user_index": np.int64,
            "item_indices": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "ratings": tfds.features.Tensor(shape=(None,), dtype=np.float32),
            "timestamps": tfds.features.Tensor(shape=(None,), dtype=np.int64),
        },
        lengths,
        num_bytes,
        description or f"User histories of {name}, by rec_align.",
    )


def read_item_indices(
    name: str, directory: epath.PathLike, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the histories of a split, without their ratings and times.

    Args:
      name: the dataset's name.
      directory: where its files are.
      split: 'train', 'validation' or 'test'.

    Returns:
      item_indices, int32 [total], one user after the other, and offsets, int64 [num_users + 1].
    """
    import tensorflow as tf

    files = sorted(epath.Path(directory).glob(f"{name}-{split}.tfrecord-*"))
    feature = {"item_indices": tf.io.RaggedFeature(tf.int64)}
    items, lengths = [], []
    for records in tf.data.TFRecordDataset(list(map(str, files))).batch(1024):
        parsed = tf.io.parse_example(records, feature)["item_indices"]
        items.append(parsed.values.numpy())
        lengths.append(parsed.row_lengths().numpy())
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return np.concatenate(items).astype(np.int32), offsets.astype(np.int64)


def _write_shard(
    name: str,
    directory: epath.PathLike,
    lengths: Mapping[str, list[int]],
    split_and_shard: tuple[str, int],
    *,
    histories: splits.HistoryParts,
) -> by_part.Tally:
    """Writes one file of a split; returns the bytes of its records."""
    import tensorflow as tf

    split, shard = split_and_shard
    path = shards_lib.template(name, directory, split).sharded_filepath(
        shard_index=shard, num_shards=len(lengths[split])
    )
    begin = sum(lengths[split][:shard])
    end = begin + lengths[split][shard]
    num_bytes = 0
    with by_part.whole(path) as writing, tf.io.TFRecordWriter(str(writing)) as writer:
        first_user, first = 0, 0
        num_in_split = histories.user_counts[:, 1 + splits.SPLITS.index(split)]
        for file, num_users, count in zip(
            histories.files, histories.user_counts[:, 0], num_in_split, strict=True
        ):
            if begin < first + count and first < end:
                part = splits.load(file)
                records = _records(part, part.lengths(split), _encoded(part, first_user))
                for record in itertools.islice(records, max(0, begin - first), end - first):
                    writer.write(record)
                    num_bytes += len(record)
            first_user, first = first_user + int(num_users), first + int(count)
    return {split: num_bytes}


def _encoded(part: splits.Histories, first_user: int) -> dict[str, Encoded]:
    return {
        "item_indices": Encoded(part.item_indices),
        "ratings": Encoded(part.ratings),
        "timestamps": Encoded(part.timestamps),
        "user_index": Encoded(np.arange(first_user, first_user + part.num_users)),
    }


def _records(
    part: splits.Histories, lengths: np.ndarray, encoded: dict[str, Encoded]
) -> Iterator[bytes]:
    """Yields the record of each user of a part whose prefix in a split is not empty."""
    lists = {name: values for name, values in encoded.items() if name != "user_index"}
    users = np.flatnonzero(lengths)
    begins = part.offsets[users]
    ends = begins + lengths[users]
    for user, begin, end in zip(users.tolist(), begins.tolist(), ends.tolist(), strict=True):
        features = {name: values.feature(begin, end) for name, values in lists.items()}
        features["user_index"] = encoded["user_index"].feature(user, user + 1)
        yield example(features)
