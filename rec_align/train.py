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

from rec_align import command_line, runs
from rec_align.models.t5 import Transformer
from rec_align.pipeline.batches import train_batches
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.training import loop
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.progress import JsonlWriter
from rec_align.training.state import Batch


def validation_batches(
    task_name: str, task_feature_lengths: Mapping[str, int], batch_size: int
) -> list[Batch]:
    """The validation split of a task, packed; empty rows fill the last batch to the one shape."""
    dataset = seqio.get_dataset(
        task_name,
        task_feature_lengths,
        RecFeatureConverter(pack=True, apply_length_check=False),
        dataset_split="validation",
        shuffle=False,
        num_epochs=1,
        verbose=False,
    )

    def filled(array: np.ndarray) -> np.ndarray:
        return np.pad(array, ((0, batch_size - len(array)), (0, 0)))

    batches = dataset.batch(batch_size).as_numpy_iterator()
    return [{name: filled(array) for name, array in batch.items()} for batch in batches]


def choose_validation_task(mixture_or_task_name: str) -> str | None:
    """Retrieval where it is trained, else the first task that has a validation split."""
    tasks = [task for task in runs.subtasks(mixture_or_task_name) if "validation" in task.splits]
    names = [task.name for task in tasks]
    return next((name for name in names if name.endswith("_retrieval")), next(iter(names), None))


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
      initial_checkpoint_path: the MODEL_DIR of another run to start from, at its best checkpoint.
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
    network = runs.for_vocabulary(model, vocabulary)
    validation_task = validation_task or choose_validation_task(mixture_or_task_name)
    validation = (
        validation_batches(validation_task, task_feature_lengths, batch_size)
        if validation_task
        else []
    )

    def initial_params():
        checkpoints = Checkpoints(initial_checkpoint_path, create=False)
        _, params = checkpoints.restore_params(runs.abstract_params(network))
        checkpoints.close()
        return params

    epath.Path(model_dir).mkdir(parents=True, exist_ok=True)
    (epath.Path(model_dir) / "config.gin").write_text(gin.operative_config_str())

    def batches_from(step: int) -> Iterator[Batch]:
        return train_batches(
            mixture_or_task_name,
            task_feature_lengths=task_feature_lengths,
            batch_size=batch_size // jax.process_count(),
            seed=seed,
            start_step=step,
            shard=seqio.ShardInfo(jax.process_index(), jax.process_count()),
        )

    num_params = sum(p.size for p in jax.tree.leaves(runs.abstract_params(network)))
    print(f"{num_params:,} parameters, {len(jax.devices())} {jax.devices()[0].platform} device(s)")
    summaries = tf.summary.create_file_writer(str(epath.Path(model_dir) / "tensorboard"))

    def write_summaries(step: int, metrics: Mapping[str, float]) -> None:
        with summaries.as_default(step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)

    outcome = loop.train(
        network,
        optimizer(learning_rate(total_steps=train_steps)),
        batches_from,
        validation,
        model_dir,
        loop.Schedule(
            total_steps=train_steps, log_every=log_every, checkpoint_every=checkpoint_every
        ),
        seed=seed,
        initial_params=initial_params if initial_checkpoint_path else None,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        keep_checkpoints=keep_checkpoints,
        writers=(JsonlWriter(model_dir), write_summaries),
    )
    summaries.close()
    step = int(outcome.state.step)
    if outcome.metrics:
        inputs = outcome.metrics["padding_share_inputs"]
        targets = outcome.metrics["padding_share_targets"]
        print(f"padding: {inputs:.1%} of the input tokens, {targets:.1%} of the target tokens")
    if outcome.stopped_by:
        print(f"{outcome.stopped_by}: saved step {step} of {train_steps} in {model_dir}.")
        print("Run the same command again to go on from there.")
        return 130
    print(f"trained {step} steps; checkpoints and metrics.jsonl are in {model_dir}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return command_line.run(__doc__, argv, train)


if __name__ == "__main__":
    # The module that gin binds is rec_align.train, not __main__.
    from rec_align import train as module

    sys.exit(module.main())
