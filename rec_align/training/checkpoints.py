"""Checkpoints of a run: Orbax, written in the background, atomic, the newest N and the best kept.

Layout: MODEL_DIR/checkpoints/STEP/. The best is the one with the lowest validation loss.
"""

import os
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from rec_align.training.state import TrainState

METRIC = "validation_loss"


class Checkpoints:
    """The checkpoints of one run.

    Args:
      model_dir: the run's folder.
      keep: how many of the newest to keep, beside the best.
      create: make the folder; readers do not, so that a misspelt name leaves nothing behind.

    Raises:
      ValueError: the folder is not there and not to be made.
    """

    def __init__(self, model_dir: str | os.PathLike[str], *, keep: int = 2, create: bool = True):
        self.path = epath.Path(model_dir).resolve() / "checkpoints"
        if not create and not self.path.exists():
            raise ValueError(f"no checkpoint in {self.path}: train with this MODEL_DIR first.")
        policies = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics[METRIC],
                    reverse=True,  # the lowest is the best
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.path,
            item_handlers=ocp.PyTreeCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies,
                best_fn=lambda metrics: metrics[METRIC],
                best_mode="min",
                create=create,
            ),
        )

    def save(self, state: TrainState, validation_loss: float | None) -> None:
        """Starts writing; training goes on meanwhile. A step that is there is not written again."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        metrics = None if validation_loss is None else {METRIC: validation_loss}
        self._manager.save(step, args=ocp.args.PyTreeSave(state._asdict()), metrics=metrics)

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def restore(self, like: TrainState) -> TrainState:
        """The newest state, shaped and placed `like` the given one.

        Raises:
          ValueError: it does not fit the network, or holds parameters alone.
        """
        step = self._manager.latest_step()
        if "step" not in self._manager.item_metadata(step).tree:
            raise ValueError(
                f"{self.path}/{step} holds parameters alone, as imported ones do: train with "
                "INITIAL_CHECKPOINT_PATH set to its MODEL_DIR, into a MODEL_DIR of its own."
            )
        try:
            return TrainState(**self._restore(step, like._asdict()))
        except (ValueError, TypeError) as error:  # Orbax's, by what differs first
            if "opt_state" not in str(error):
                raise
            raise ValueError(
                f"{self.path}/{step} was trained with another optimizer: keep it, or start a run "
                f"of its own with INITIAL_CHECKPOINT_PATH. ({error})"
            ) from error

    def find_step(self, which: int | str = "best") -> int:
        """The step of a checkpoint: `best`, `latest` or a step number that is there.

        Raises:
          ValueError: there is no such checkpoint.
        """
        steps = self._manager.all_steps()
        if not steps:
            raise ValueError(f"no checkpoint in {self.path}: train with this MODEL_DIR first.")
        if which in ("best", "latest"):
            best = self._manager.best_step() if which == "best" else None
            return self._manager.latest_step() if best is None else best
        if which not in steps:
            raise ValueError(
                f"no checkpoint of step {which} in {self.path}: there are {sorted(steps)}."
            )
        return which

    def restore_params(self, like: Any, step: int | str = "best") -> tuple[int, Any]:
        """The step and parameters of a checkpoint: `best`, `latest` or a step number.

        Raises:
          ValueError: there is no such checkpoint, or it does not fit the network.
        """
        step = self.find_step(step)
        return step, self._restore(step, {"params": like})["params"]

    def _restore(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        saved = self._manager.item_metadata(step).tree["params"]
        check_fits(shapes(saved), shapes(like["params"]), f"{self.path}/{step}")
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.PyTreeRestore(
            abstract,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
            partial_restore=True,  # parameters alone are asked for at inference
        )
        return self._manager.restore(step, args=args)

    def wait(self) -> None:
        """Blocks until what was saved is on disk; raises what went wrong in the background."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        self._manager.close()


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf by its name: {"encoder/encoder_norm/scale": (512,), ...}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        "/".join(str(getattr(k, "key", k)) for k in path): tuple(leaf.shape)
        for path, leaf in leaves
    }


def check_fits(
    found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]], path: str
) -> None:
    """Raises ValueError where a checkpoint's parameters are not the network's, naming them all."""
    rows = differences({"checkpoint": found, "network": wanted})
    if rows:
        raise ValueError(
            f"the checkpoint {path} does not fit the network, {len(rows)} parameters differ. Use "
            "the model gin file and vocabulary it was trained with, and its T5Config: repeat_bias "
            "belongs to a network with repeat_bias = True; lora_a and lora_b are "
            "adapters: give gin/runs/lora.gin for a run that has them and leave it out for others, "
            "and start a new run from adapters only after `rec-align checkpoint export`.\n  "
            + "\n  ".join(rows)
        )


def differences(of: dict[str, dict[str, tuple[int, ...]]]) -> list[str]:
    """A line for each parameter whose shape is not the same in all.

    Example:
      >>> differences({"checkpoint": {"a": (2,), "b": (3,)}, "network": {"a": (2,)}})
      ['b: checkpoint (3,), network missing']
    """
    names = sorted(set().union(*of.values()))
    return [
        f"{name}: " + ", ".join(f"{who} {found.get(name, 'missing')}" for who, found in of.items())
        for name in names
        if len({found.get(name) for found in of.values()}) > 1
    ]
