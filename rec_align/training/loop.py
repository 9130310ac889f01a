"""The training loop, read from top to bottom."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax

from rec_align.models.t5 import Transformer
from rec_align.training import sharding
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.prefetch import prefetch
from rec_align.training.progress import Writer, progress_bar
from rec_align.training.state import (
    Batch,
    TrainState,
    init_params,
    init_state,
    make_eval_step,
    make_train_step,
)
from rec_align.training.stopping import StopRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """When things happen, in steps.

    Attributes:
      total_steps: the length of training.
      log_every: between two lines of metrics.
      checkpoint_every: between two checkpoints, each with a validation loss.
    """

    total_steps: int
    log_every: int = 50
    checkpoint_every: int = 500


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
      state: the last one; it is saved.
      stopped_by: the signal that ended it early, or None.
      metrics: the last line of training metrics; empty where no step was left to train.
    """

    state: TrainState
    stopped_by: str | None
    metrics: dict[str, float]


def train(
    network: Transformer,
    optimizer: optax.GradientTransformation,
    batches_from: Callable[[int], Iterator[Batch]],
    validation_batches: Sequence[Batch],
    model_dir: str | os.PathLike[str],
    schedule: Schedule,
    *,
    seed: int = 0,
    initial_params: Callable[[], Any] | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 1e-4,
    keep_checkpoints: int = 2,
    writers: Sequence[Writer] = (),
) -> Outcome:
    """Trains from the newest checkpoint of `model_dir`, or from the start.

    Args:
      network: the network.
      optimizer: an optax transformation.
      batches_from: gives the endless batches from a step on; the same step gives the same batch.
      validation_batches: their loss chooses the best checkpoint; none: no best is kept.
      model_dir: where checkpoints go.
      schedule: when things happen.
      seed: of fresh parameters and dropout.
      initial_params: gives the starting parameters; called only where there is no checkpoint to
        go on from. None: fresh ones.
      label_smoothing: see `losses.cross_entropy`.
      z_loss: likewise.
      keep_checkpoints: how many of the newest to keep, beside the best.
      writers: receive the metrics.

    Returns:
      The final state; it is saved. A SIGINT or SIGTERM ends training early, saved as well.
    """
    mesh = sharding.data_mesh()
    checkpoints = Checkpoints(model_dir, keep=keep_checkpoints)
    resumes = checkpoints.latest_step() is not None
    starts_elsewhere = initial_params is not None and not resumes
    params = initial_params() if starts_elsewhere else init_params(network, seed)
    state = sharding.replicate(init_state(params, optimizer), mesh)
    if resumes:
        state = checkpoints.restore(state)
    train_step = make_train_step(
        network, optimizer, seed=seed, label_smoothing=label_smoothing, z_loss=z_loss
    )
    eval_step = make_eval_step(network)

    def validation_loss(state: TrainState) -> float:
        sums = [
            eval_step(state.params, sharding.shard_batch(batch, mesh))
            for batch in validation_batches
        ]
        return sum(float(s["loss_sum"]) for s in sums) / sum(float(s["num_tokens"]) for s in sums)

    def write(step: int, metrics: dict[str, float]) -> None:
        for writer in writers:
            writer(step, metrics)

    step = int(state.step)
    source = prefetch(batches_from(step))
    tally = Tally()
    metrics: dict[str, float] = {}
    with (
        StopRequest() as stop,
        contextlib.closing(checkpoints),
        contextlib.closing(source),
        progress_bar(schedule.total_steps, step) as bar,
    ):
        while step < schedule.total_steps and not stop.requested:
            batch = next(source)
            state, sums = train_step(state, sharding.shard_batch(batch, mesh))
            step += 1
            tally.add(batch, sums)
            at_end = step == schedule.total_steps
            if step % schedule.log_every == 0 or at_end:
                metrics = tally.metrics()
                write(step, metrics)
                bar.set_postfix_str(
                    f"loss {metrics['loss']:.3f}, {metrics['examples_per_second']:.0f} examples/s",
                    refresh=False,
                )
            bar.update()
            if step % schedule.checkpoint_every == 0 or at_end:
                loss = None
                if validation_batches:
                    loss = validation_loss(state)
                    write(step, {"validation_loss": loss})
                checkpoints.save(state, loss)
                tally.restart_clock()
        if step < schedule.total_steps:
            checkpoints.save(state, None)
        checkpoints.wait()
    stopped_by = stop.requested if step < schedule.total_steps else None
    return Outcome(state, stopped_by, metrics)


class Tally:
    """Sums over the steps since the last line of metrics."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._sums: list[dict[str, jax.Array]] = []
        self._counts = np.zeros(4, np.int64)  # examples, targets, input tokens, input slots
        self._target_slots = 0
        self._started = time.monotonic()

    def restart_clock(self) -> None:
        """Forgets what was counted, so that time spent on validation is not training time."""
        self._reset()

    def add(self, batch: Batch, sums: dict[str, jax.Array]) -> None:
        inputs, targets = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
        weights = batch["decoder_loss_weights"]
        segments = batch.get("encoder_segment_ids")
        examples = len(inputs) if segments is None else segments.max(axis=1).sum()
        starts = ((targets == 0) & (weights > 0)).sum()  # each target starts with BOS
        self._counts += np.array([examples, starts, (inputs > 0).sum(), inputs.size])
        self._target_slots += weights.size
        self._sums.append(sums)

    def metrics(self) -> dict[str, float]:
        """Means over the steps, rates a second, and resets. Blocks on the last step."""
        sums = jax.device_get(self._sums)
        tokens = sum(float(s["num_tokens"]) for s in sums)
        seconds = time.monotonic() - self._started
        examples, targets, input_tokens, input_slots = self._counts.tolist()
        result = {
            "loss": sum(float(s["loss_sum"]) for s in sums) / max(tokens, 1.0),
            "examples_per_second": examples / seconds,
            "targets_per_second": targets / seconds,
            "target_tokens_per_second": tokens / seconds,
            "padding_share_inputs": 1 - input_tokens / input_slots,
            "padding_share_targets": 1 - tokens / self._target_slots,
        }
        self._reset()
        return result
