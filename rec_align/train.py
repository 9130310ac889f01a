"""Trains a model on a task or mixture: `python -m rec_align.train`.

python -m rec_align.train --gin_file=gin/models/tiny.gin --gin_file=gin/runs/train.gin \\
  --gin.MIXTURE_OR_TASK_NAME="'ml_100k_aligned'" --gin.MODEL_DIR="'runs/first'"

Run again with the same arguments, it goes on from the newest checkpoint.
"""

import sys
from collections.abc import Callable, Iterator, Mapping

import gin
import jax
import numpy as np
import optax
import seqio
import tensorflow as tf
from etils import epath

from rec_align import command_line, host_memory, runs
from rec_align.models.rating_head import check_train_ratings
from rec_align.models.t5 import Transformer
from rec_align.pipeline.batches import choose_validation_task, train_batches, validation_rows
from rec_align.pipeline.rating_targets import first_other_rating
from rec_align.pretrained import adapters
from rec_align.training import loop, run_vocabulary, sharding
from rec_align.training.item_embeddings import ItemEmbeddings
from rec_align.training.progress import JsonlWriter, Writer
from rec_align.training.state import Batch
from rec_align.training.telling import describe, tell


def validation_batches(
    task_name: str,
    task_feature_lengths: Mapping[str, int],
    batch_size: int,
    *,
    entities: bool = False,
) -> list[Batch]:
    """The validation split of a task, packed; empty rows fill the last batch to the one shape."""

    def filled(array: np.ndarray) -> np.ndarray:
        return np.pad(array, ((0, batch_size - len(array)), (0, 0)))

    rows = validation_rows(task_name, task_feature_lengths, entities=entities)
    return [
        {name: filled(array) for name, array in batch.items()}
        for batch in rows.batch(batch_size).as_numpy_iterator()
    ]


def train(
    *,
    model: Transformer,
    mixture_or_task_name: str,
    task_feature_lengths: Mapping[str, int],
    model_dir: str,
    train_steps: int,
    batch_size: int,
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    learning_rate: Callable[..., optax.Schedule],
    validation_task: str | None = None,
    initial_checkpoint_path: str | None = None,
    item_embeddings: str | None = None,
    mesh: str | None = None,
    num_microbatches: int = 1,
    seed: int = 0,
    log_every: int = 50,
    checkpoint_every: int = 500,
    keep_checkpoints: int = 2,
    label_smoothing: float = 0.0,
    z_loss: float = 1e-4,
) -> int:
    """Trains and saves; the parameters are bound in gin/runs/train.gin.

    Args:
      model: the network; a vocab_size of 0 is taken from the vocabulary.
      mixture_or_task_name: a registered SeqIO task or mixture.
      task_feature_lengths: tokens a packed row, {"inputs": .., "targets": ..}.
      model_dir: where checkpoints, metrics.jsonl and TensorBoard files go.
      train_steps: the length of training, in steps.
      batch_size: packed rows a step, over all hosts.
      optimizer: makes an optax transformation of a learning-rate schedule.
      learning_rate: makes the schedule, given `total_steps`.
      validation_task: whose validation loss chooses the best checkpoint; None: retrieval's, or
        the first task's that has a validation split.
      initial_checkpoint_path: a pretrained checkpoint to start from, of any kind that
        `pretrained.open_checkpoint` knows, or the MODEL_DIR of another run, at its best.
      item_embeddings: an .npy of [num_items, width] that item tokens start from, such as
        `rec-align teach` writes; for an index of one token an item.
      mesh: DATAxFSDPxMODEL devices, one may be -1; None: all devices are data.
      num_microbatches: parts that a batch is computed in, to save memory.
      seed: fixes fresh parameters, dropout and every sample.
      log_every: steps between two lines of metrics.
      checkpoint_every: steps between two checkpoints.
      keep_checkpoints: the newest so many are kept, and the best.
      label_smoothing: share of the target distribution spread over all tokens.
      z_loss: weight of log(Z)^2.

    Returns:
      The exit code: 0, or 130 where a signal stopped it early.
    """
    tf.config.set_visible_devices([], "GPU")
    vocabulary = runs.corpus_vocabulary(mixture_or_task_name)
    network = runs.for_task(model, mixture_or_task_name)
    if network.config.rates:
        provider = seqio.get_mixture_or_task(mixture_or_task_name)
        check_train_ratings(network.config.rating_head, first_other_rating(provider))
    host_memory.keep_freed_memory()
    device_mesh = sharding.make_mesh(mesh)
    host, num_hosts = sharding.host_shard(device_mesh, batch_size, num_microbatches)
    run_vocabulary.check(model_dir, vocabulary.sha256)
    num_item_tokens = vocabulary.vocab_size - vocabulary.sentinels_end
    initial_params = adapters.initial_params(
        network,
        initial_checkpoint_path,
        model_dir,
        more_tokens=num_item_tokens > 0,
    )
    start_of_items = item_embeddings and ItemEmbeddings.read(
        item_embeddings,
        width=network.config.emb_dim,
        vocab_size=vocabulary.vocab_size,
        num_item_tokens=num_item_tokens,
    )
    transformation = optimizer(learning_rate(total_steps=train_steps))
    validation_task = validation_task or choose_validation_task(mixture_or_task_name)
    entities = network.config.reads_entities
    validation = (
        validation_batches(validation_task, task_feature_lengths, batch_size, entities=entities)
        if validation_task
        else []
    )

    def batches_from(step: int) -> Iterator[Batch]:
        return train_batches(
            mixture_or_task_name,
            task_feature_lengths=task_feature_lengths,
            batch_size=batch_size // num_hosts,
            seed=seed,
            start_step=step,
            shard=seqio.ShardInfo(host, num_hosts),
            entities=entities,
        )

    writers: list[Writer] = []
    if jax.process_index() == 0:
        describe(network, device_mesh)
        epath.Path(model_dir).mkdir(parents=True, exist_ok=True)
        (epath.Path(model_dir) / "config.gin").write_text(gin.config_str())
        run_vocabulary.note(model_dir, vocabulary.sha256)
        writers = [JsonlWriter(model_dir), SummaryWriter(model_dir)]

    outcome = loop.train(
        network,
        transformation,
        batches_from,
        validation,
        model_dir,
        loop.Schedule(
            total_steps=train_steps, log_every=log_every, checkpoint_every=checkpoint_every
        ),
        mesh=device_mesh,
        seed=seed,
        initial_params=initial_params,
        item_embeddings=start_of_items,
        num_microbatches=num_microbatches,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        keep_checkpoints=keep_checkpoints,
        writers=writers,
    )
    if jax.process_index() == 0:
        tell(outcome, train_steps, model_dir)
    return 130 if outcome.stopped_by else 0


class SummaryWriter:
    """Writes TensorBoard summaries to MODEL_DIR/tensorboard."""

    def __init__(self, model_dir: str):
        self._summaries = tf.summary.create_file_writer(str(epath.Path(model_dir) / "tensorboard"))

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        with self._summaries.as_default(step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        self._summaries.flush()


def main(argv: list[str] | None = None) -> int:
    return command_line.run(__doc__, argv, train)


if __name__ == "__main__":
    # The module that gin binds is rec_align.train, not __main__.
    from rec_align import train as module

    sys.exit(module.main())
