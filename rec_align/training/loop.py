"""The training loop, read from top to bottom."""

import collections
import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from rec_align.models.lora import split_adapters
from rec_align.models.rating_head import check_targets
from rec_align.models.t5 import Transformer
from rec_align.training import sharding
from rec_align.training.checkpoints import Checkpoints, shapes
from rec_align.training.item_embeddings import ItemEmbeddings
from rec_align.training.prefetch import prefetch
from rec_align.training.progress import Writer, progress_bar
from rec_align.training.state import (
    Batch,
    TrainState,
    abstract_state,
    init_state,
    make_eval_step,
    make_train_step,
    split_trained,
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
    mesh: Mesh | None = None,
    seed: int = 0,
    initial_params: Callable[[Any], Any] | None = None,
    item_embeddings: ItemEmbeddings | None = None,
    num_microbatches: int = 1,
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
        With several hosts each gives its own part: see `sharding.host_shard`.
      validation_batches: their loss chooses the best checkpoint; none: no best is kept. Whole on
        every host.
      model_dir: where checkpoints go.
      schedule: when things happen.
      mesh: where everything lives; None: all devices are data.
      seed: of fresh parameters and dropout.
      initial_params: gives the starting parameters for a tree of shapes and placements; called
        where there is no checkpoint to go on from, or it has only adapters. None: fresh ones.
      item_embeddings: what item tokens start from instead, where there is no checkpoint to go on
        from.
      num_microbatches: parts that a batch is computed in, one after the other, to save memory.
      label_smoothing: see `losses.cross_entropy`.
      z_loss: likewise.
      keep_checkpoints: how many of the newest to keep, beside the best.
      writers: receive the metrics.

    Returns:
      The final state; it is saved. A SIGINT or SIGTERM ends training early, saved as well.
    """
    mesh = mesh or sharding.make_mesh()
    if network.config.rates:
        check_targets(validation_batches, network.config.rating_tokens)
    _check_adapters(network, initial_params, item_embeddings)
    checkpoints = Checkpoints(model_dir, keep=keep_checkpoints)
    stop = StopRequest()
    with stop:  # a signal while a large checkpoint is read is not lost
        state, frozen = _first_state(
            network, optimizer, mesh, checkpoints, seed, initial_params, item_embeddings
        )
    train_step = make_train_step(
        network,
        optimizer,
        seed=seed,
        num_microbatches=num_microbatches,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    eval_step = make_eval_step(network)

    def validation_loss(state: TrainState) -> float:
        sums = [
            eval_step(state.params, frozen, sharding.shard_whole_batch(batch, mesh))
            for batch in validation_batches
        ]
        return sum(float(s["loss_sum"]) for s in sums) / sum(float(s["num_tokens"]) for s in sums)

    def write(step: int, metrics: dict[str, float]) -> None:
        for writer in writers:
            writer(step, metrics)

    step = int(state.step)
    source = prefetch(batches_from(step))
    tally = Tally(sharding.num_parts(mesh))
    metrics: dict[str, float] = {}
    with (
        jax.set_mesh(mesh),
        stop,
        contextlib.closing(checkpoints),
        contextlib.closing(source),
        progress_bar(schedule.total_steps, step) as bar,
    ):
        while step < schedule.total_steps and not stop.requested_now():
            batch = next(source)
            state, sums = train_step(state, frozen, sharding.shard_batch(batch, mesh))
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


def _check_adapters(
    network: Transformer,
    initial_params: Callable[[Any], Any] | None,
    item_embeddings: ItemEmbeddings | None,
) -> None:
    """Raises ValueError where adapters have nothing to adapt, or adapt nothing."""
    lora = network.config.lora
    if lora is None:
        return
    if initial_params is None:
        raise ValueError(
            "INITIAL_CHECKPOINT_PATH: adapters need what they adapt: a Hugging Face directory, a "
            "T5X checkpoint, or the MODEL_DIR of a run."
        )
    if item_embeddings:
        raise ValueError(
            "item_embeddings: adapters leave all embeddings as they are: start a run of the whole "
            "network from these, and adapt that."
        )
    adapters, rest = split_adapters(sharding.abstract_params(network))
    if not adapters:
        names = [name.removesuffix("/kernel") for name in shapes(rest) if name.endswith("kernel")]
        raise ValueError(
            f"Lora.targets {lora.targets!r} matches no layer; they are called {', '.join(names)}."
        )


def _first_state(
    network: Transformer,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    checkpoints: Checkpoints,
    seed: int,
    initial_params: Callable[[Any], Any] | None,
    item_embeddings: ItemEmbeddings | None,
) -> tuple[TrainState, Any]:
    """The state to go on from, and the frozen parameters."""
    unadapted = split_adapters(sharding.abstract_params(network, mesh))[1]
    if checkpoints.latest_step() is None:
        given = initial_params(unadapted) if initial_params else None
        return init_state(
            network, optimizer, mesh, seed=seed, given=given, item_embeddings=item_embeddings
        )
    abstract, frozen = abstract_state(network, optimizer, mesh)
    if frozen:
        frozen = split_trained(network, initial_params(unadapted))[1]
    return checkpoints.restore(abstract), frozen


class Tally:
    """Sums over the steps since the last line of metrics.

    Args:
      num_parts: of how many parts a batch is made; this host sees one, and counts for all.
    """

    def __init__(self, num_parts: int = 1) -> None:
        self._num_parts = num_parts
        self._reset()

    def _reset(self) -> None:
        self._sums: list[dict[str, jax.Array]] = []
        self._counts = collections.Counter()
        self._started = time.monotonic()

    def restart_clock(self) -> None:
        """Forgets what was counted, so that time spent on validation is not training time."""
        self._reset()

    def add(self, batch: Batch, sums: dict[str, jax.Array]) -> None:
        inputs, targets = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
        weights = batch["decoder_loss_weights"]
        segments = batch.get("encoder_segment_ids")
        self._counts.update(
            examples=len(inputs) if segments is None else int(segments.max(axis=1).sum()),
            targets=int(((targets == 0) & (weights > 0)).sum()),  # each starts with BOS
            target_tokens=int(weights.sum()),
            target_slots=weights.size,
            input_tokens=int((inputs > 0).sum()),
            input_slots=inputs.size,
        )
        self._sums.append(sums)

    def metrics(self) -> dict[str, float]:
        """Means over the steps, rates a second, and resets. Blocks on the last step."""
        sums = jax.device_get(self._sums)
        tokens = sum(float(s["num_tokens"]) for s in sums)
        seconds = time.monotonic() - self._started
        counts = self._counts
        result = {
            "loss": sum(float(s["loss_sum"]) for s in sums) / max(tokens, 1.0),
            **{
                f"{name}_per_second": self._num_parts * counts[name] / seconds
                for name in ("examples", "targets", "target_tokens")
            },
            "padding_share_inputs": 1 - counts["input_tokens"] / counts["input_slots"],
            "padding_share_targets": 1 - counts["target_tokens"] / counts["target_slots"],
        }
        self._reset()
        return result
