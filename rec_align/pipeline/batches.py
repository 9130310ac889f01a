"""Batches: a mixture as an endless stream of NumPy batches that can be resumed at any step.

The stream is made of rounds of a fixed number of batches. Each round is a fresh dataset with a
seed of its own, so a run resumes by opening the round of its step and skipping within it.
"""

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
import seqio
import tensorflow as tf

from rec_align.pipeline.features import RecFeatureConverter

Batch = dict[str, np.ndarray]


def round_seed(seed: int, round_index: int) -> int:
    """The seed of one round: far from its neighbours', which SeqIO's seeds of steps must be."""
    return int(np.random.SeedSequence([seed, round_index]).generate_state(1)[0] >> 1)


# AutoGraph would take half of the seconds that opening takes, and finds nothing to convert.
@tf.autograph.experimental.do_not_convert
def packed_rows(
    provider: str | seqio.Task | seqio.Mixture,
    task_feature_lengths: Mapping[str, int],
    *,
    seed: int,
    num_epochs: int | None = None,
    shard: seqio.ShardInfo | None = None,
    num_threads: int = 2,
    entities: bool = False,
) -> tf.data.Dataset:
    """The train split of a task or mixture as packed rows, in an order fixed by the seed.

    Args:
      provider: a task or mixture, or the name of one.
      task_feature_lengths: length of a row: {"inputs": .., "targets": ..}, in tokens.
      seed: fixes every window, mask, negative and template, and the order.
      num_epochs: passes over the data of each task; None: without end.
      shard: which part of the data to read.
      num_threads: threads for making rows.
      entities: with `encoder_entities`.

    Returns:
      Model features, each [length] int32; see `RecFeatureConverter`.
    """
    dataset = seqio.get_dataset(
        provider,
        task_feature_lengths,
        RecFeatureConverter(pack=True, apply_length_check=False, entities=entities),
        dataset_split="train",
        shuffle=True,
        num_epochs=num_epochs,
        shard_info=shard,
        verbose=False,
        seed=seed,
        trim_output_features=False,  # `tokenize_parts` has done it
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = num_threads
    options.threading.max_intra_op_parallelism = 1
    options.deterministic = True
    return dataset.with_options(options)


def leave_accelerators_alone() -> None:
    """TensorFlow would else take the GPU's memory from JAX."""
    with contextlib.suppress(RuntimeError):  # its devices are already in use
        tf.config.set_visible_devices([], "GPU")


def train_batches(
    mixture_name: str,
    *,
    task_feature_lengths: Mapping[str, int],
    batch_size: int,
    seed: int,
    start_step: int = 0,
    round_steps: int = 2000,
    shard: seqio.ShardInfo | None = None,
    num_threads: int = 2,
    entities: bool = False,
) -> Iterator[Batch]:
    """Packed training batches, without end.

    The same arguments give the same batches; started at step k, the first batch is batch k.

    Args:
      mixture_name: a registered mixture or task.
      task_feature_lengths: length of a row: {"inputs": .., "targets": ..}, in tokens.
      batch_size: rows a batch, of this host.
      seed: fixes every window, mask, negative and template, and the order.
      start_step: how many batches to pass over.
      round_steps: batches a round; resuming re-makes at most this many.
      shard: which part of the data this host reads.
      num_threads: threads for making batches, so that training keeps its cores.
      entities: with `encoder_entities`.

    Yields:
      Model features, each [batch_size, length] int32; see `RecFeatureConverter`.

    Raises:
      ValueError: the batch size or the number of steps a round is below 1, the start below 0.
    """
    if batch_size < 1 or round_steps < 1 or start_step < 0:
        raise ValueError(
            f"batch_size={batch_size}, round_steps={round_steps}, start_step={start_step}: "
            "the first two must be at least 1, the last at least 0"
        )
    leave_accelerators_alone()
    round_index, skip = divmod(start_step, round_steps)
    while True:
        dataset = packed_rows(
            mixture_name,
            task_feature_lengths,
            seed=round_seed(seed, round_index),
            shard=shard,
            num_threads=num_threads,
            entities=entities,
        )
        batches = dataset.batch(batch_size, drop_remainder=True).prefetch(4)
        yield from batches.take(round_steps).skip(skip).as_numpy_iterator()
        round_index, skip = round_index + 1, 0


def validation_rows(
    task_name: str, task_feature_lengths: Mapping[str, int], *, entities: bool = False
) -> tf.data.Dataset:
    """The validation split of a task as packed rows, in its own order; see `packed_rows`."""
    return seqio.get_dataset(
        task_name,
        task_feature_lengths,
        RecFeatureConverter(pack=True, apply_length_check=False, entities=entities),
        dataset_split="validation",
        shuffle=False,
        num_epochs=1,
        verbose=False,
    )


def choose_validation_task(mixture_or_task_name: str) -> str | None:
    """Retrieval where it is trained, else the first task that has a validation split."""
    tasks = seqio.get_subtasks(seqio.get_mixture_or_task(mixture_or_task_name))
    names = [task.name for task in tasks if "validation" in task.splits]
    return next((name for name in names if name.endswith("_retrieval")), next(iter(names), None))


def padding_share(batch: Batch) -> tuple[float, float]:
    """How much of a batch is padding: (share of the inputs, share of the targets), in 0-1."""
    names = ("encoder_input_tokens", "decoder_target_tokens")
    inputs, targets = (float(np.mean(batch[name] == 0)) for name in names)
    return inputs, targets
