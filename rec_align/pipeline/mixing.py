"""Mixing: tasks drawn beside one another, as `seqio.Mixture` does, in less time."""

import functools
from collections.abc import Mapping, Set

import seqio
import tensorflow as tf

from rec_align.pipeline.ragged import Batch, map_batches


def _keep_features(dataset: tf.data.Dataset, *, names: Set[str]) -> tf.data.Dataset:
    """The examples with the features in `names` only."""

    def keep(features: Batch) -> Batch:
        return {name: values for name, values in features.items() if name in names}

    return map_batches(dataset, keep) if hasattr(dataset, "batches") else dataset.map(keep)


class Mixture(seqio.Mixture):
    """A mixture whose tasks leave out what it does not hand on as their last step.

    The examples are those of `seqio.Mixture`, which lets every feature be cut out of its batch and
    shuffled first, and then leaves it out in a thread of its own.
    """

    def get_dataset(self, *args, **kwargs) -> tf.data.Dataset:
        """See `seqio.Mixture.get_dataset`.

        Raises:
          ValueError: no task of the mixture has the split.
        """
        try:
            return super().get_dataset(*args, **kwargs)
        except ValueError as error:
            if "No datasets have" not in str(error):
                raise
            splits = ", ".join(sorted({split for task in self.tasks for split in task.splits}))
            raise ValueError(
                f"{error} in the mixture {self.name!r}, whose tasks have {splits}: use another "
                "mixture, or build the corpus with what they need"
            ) from error

    def get_task_dataset(
        self,
        task: seqio.Task,
        output_feature_keys: Set[str],
        sequence_length: Mapping[str, int] | None = None,
        split: str = "train",
        use_cached: bool = False,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        num_epochs: int | None = None,
        trim_output_features: bool = True,
        try_in_mem_cache: bool = True,
    ) -> tf.data.Dataset:
        """The task's examples with the features named; see `seqio.Task.get_dataset`."""
        keep = functools.partial(_keep_features, names=output_feature_keys)
        return task.replace(preprocessors=[*task.preprocessors, keep]).get_dataset(
            sequence_length=sequence_length,
            split=split,
            use_cached=use_cached,
            shuffle=shuffle,
            seed=seed,
            shard_info=shard_info,
            num_epochs=num_epochs,
            trim_output_features=trim_output_features,
            try_in_mem_cache=try_in_mem_cache,
        )
