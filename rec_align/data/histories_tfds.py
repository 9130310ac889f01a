"""Writes histories as a TFDS dataset that needs none of our code to be read.

`tfds.load("NAME", data_dir=...)` and `seqio.TfdsDataSource("NAME:1.0.0", tfds_data_dir=...)` open
it. Each user is one example of each split he is in:

  user_index: int64
  item_indices: int32 [n], in time order; in validation and test the last is the held-out target
  ratings: float32 [n], NaN where there is none
  timestamps: int64 [n], seconds since 1970

The records are encoded in bulk (see `example_bytes`), and TFDS's `folder_dataset.write_metadata`
makes a dataset of them.
"""

import numpy as np
from etils import epath

from rec_align.data import splits
from rec_align.data.example_bytes import Encoded, example

VERSION = "1.0.0"
NUM_SHARDS = 16  # SeqIO gives each host whole files: at most this many hosts read one split


def check_name(name: str) -> None:
    """Raises `ValueError` where TFDS has a dataset of that name: it would open its own."""
    import tensorflow_datasets as tfds

    if name in tfds.list_builders(with_community_datasets=False):
        raise ValueError(f"{name!r} is a dataset of TFDS itself: choose another name")


def write_histories(
    histories: splits.Histories,
    name: str,
    directory: epath.PathLike,
    *,
    description: str = "",
    num_shards: int = NUM_SHARDS,
) -> None:
    """Writes the train, validation and test splits into an existing directory.

    Args:
      histories: the users' histories.
      name: the dataset's name, in snake_case.
      directory: where the files go.
      description: for the dataset's metadata.
      num_shards: files a split, fewer where it has fewer users.

    Raises:
      ValueError: a split would be empty.
    """
    import tensorflow_datasets as tfds  # seconds to import; only builds pay

    template = tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(directory), dataset_name=name, filetype_suffix="tfrecord"
    )
    encoded = {
        "item_indices": Encoded(histories.item_indices),
        "ratings": Encoded(histories.ratings),
        "timestamps": Encoded(histories.timestamps),
    }
    all_users = Encoded(np.arange(histories.num_users))
    split_infos = []
    for split in splits.SPLITS:
        lengths = histories.lengths(split)
        users = np.flatnonzero(lengths)
        if not len(users):
            raise ValueError(
                f"no user is in the {split} split: users need {splits.MIN_FOR_TARGETS} interactions"
            )
        split_infos.append(
            _write_split(
                histories.offsets,
                encoded,
                all_users,
                users,
                lengths,
                template.replace(split=split),
                num_shards,
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=tfds.features.FeaturesDict(
            {
                "user_index": np.int64,
                "item_indices": tfds.features.Tensor(shape=(None,), dtype=np.int32),
                "ratings": tfds.features.Tensor(shape=(None,), dtype=np.float32),
                "timestamps": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            }
        ),
        split_infos=split_infos,
        version=VERSION,
        filename_template=template,
        description=description or f"User histories of {name}, by rec_align.",
    )


def _write_split(offsets, encoded, all_users, users, lengths, template, num_shards):
    """Writes one split's shards; returns its `tfds.core.SplitInfo`."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    shards = np.array_split(users, min(num_shards, len(users)))
    num_bytes = 0
    for shard, members in enumerate(shards):
        path = template.sharded_filepath(shard_index=shard, num_shards=len(shards))
        begins = offsets[members]
        runs = zip(
            members.tolist(), begins.tolist(), (begins + lengths[members]).tolist(), strict=True
        )
        with tf.io.TFRecordWriter(str(path)) as writer:
            for user, begin, end in runs:
                features = {name: values.feature(begin, end) for name, values in encoded.items()}
                features["user_index"] = all_users.feature(user, user + 1)
                record = example(features)
                writer.write(record)
                num_bytes += len(record)
    return tfds.core.SplitInfo(
        name=template.split,
        shard_lengths=[len(members) for members in shards],
        num_bytes=num_bytes,
        filename_template=template,
    )
