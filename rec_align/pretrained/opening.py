"""Opens a checkpoint of any kind, and loads its parameters where they belong."""

import os
import re
from typing import Any

import jax
import numpy as np
from etils import epath

from rec_align.models.lora import split
from rec_align.models.t5_config import ADDED_PARTS
from rec_align.pretrained import hf, tensorstores
from rec_align.pretrained.checkpoint import Checkpoint
from rec_align.pretrained.more_tokens import with_more_tokens
from rec_align.training.checkpoints import Checkpoints, check_fits, shapes


def open_checkpoint(path: str | os.PathLike[str], step: int | str = "best") -> Checkpoint:
    """Opens what lies at `path`, by what lies there.

    Args:
      path: a run's MODEL_DIR, or MODEL_DIR/checkpoints/STEP; a Hugging Face T5 directory; or a T5X
        checkpoint_N. On a disk, or in a bucket as gs://...
      step: of a run: "best" by validation loss, "latest", or a step.

    Raises:
      ValueError: nothing of this kind is there, or it is not readable.
    """
    path = epath.Path(path)
    run = _run_of(path, step)
    if run:
        model_dir, step = run
        checkpoints = Checkpoints(model_dir, create=False)
        directory = checkpoints.path / str(checkpoints.find_step(step))
        checkpoints.close()
        arrays = tensorstores.orbax_arrays(directory / "default", "params")
        return tensorstores.as_checkpoint("rec_align", directory, arrays)
    if hf.is_hf(path):
        return hf.open_hf(path)
    if tensorstores.is_t5x(path):
        return tensorstores.open_t5x(path)
    steps = [
        child.name
        for child in (path.iterdir() if path.is_dir() else ())
        if re.fullmatch(r"checkpoint_\d+", child.name)
    ]
    if steps:
        raise ValueError(
            f"{path} is a model_dir of T5X: name one of its checkpoints, "
            + " or ".join(f"{path}/{name}" for name in sorted(steps, key=len))
        )
    raise ValueError(
        f"no checkpoint in {path}{'' if path.exists() else ', which does not exist'}. Looked for "
        f"checkpoints/ (a MODEL_DIR of rec_align), {hf.CONFIG} (Hugging Face), and a file "
        f"{tensorstores.INDEX} or a folder {tensorstores.STATE}/ (T5X)."
    )


def _run_of(path: epath.Path, step: int | str) -> tuple[epath.Path, int | str] | None:
    """The MODEL_DIR and step that a path into a run of ours means; None for any other path."""
    if (path / "checkpoints").is_dir():
        return path, step
    if path.parent.name == "checkpoints" and path.name.isdigit() and path.is_dir():
        return path.parent.parent, int(path.name)
    return None


def load_params(path: str | os.PathLike[str], like: Any, *, more_tokens: bool = False) -> Any:
    """Reads the parameters of a checkpoint of any kind, one by one, onto their devices.

    A host reads and holds only the parts that its own devices ask for, as far as the format lets
    it; of a run of ours, the best checkpoint is taken.

    Args:
      path: see `open_checkpoint`.
      like: a nested dict of jax.ShapeDtypeStruct; those without a sharding go to the first device.
      more_tokens: whether the network may have more tokens than the checkpoint, see
        `with_more_tokens`.

    Returns:
      A tree like `like`, of jax.Array, without those of `ADDED_PARTS` that the checkpoint lacks.

    Raises:
      ValueError: there is no checkpoint, or it does not fit; every name and shape that differs is
        in the message.
    """
    run = _run_of(epath.Path(path), "best")
    like = jax.tree.map(_with_sharding, like)
    if any(part in like for part in ADDED_PARTS):
        there = open_checkpoint(path).shapes
        like = split(like, lambda keys: keys[0] not in ADDED_PARTS or "/".join(keys) in there)[0]
    if run and not more_tokens:
        model_dir, step = run
        checkpoints = Checkpoints(model_dir, create=False)
        _, params = checkpoints.restore_params(like, step)
        checkpoints.close()
        return params
    checkpoint = open_checkpoint(path)
    wanted = shapes(like)
    if more_tokens:
        checkpoint = with_more_tokens(checkpoint, wanted)
    check_fits(checkpoint.shapes, wanted, str(path))
    leaves, tree = jax.tree.flatten(like)
    return tree.unflatten(
        [_place(checkpoint, name, leaf) for name, leaf in zip(wanted, leaves, strict=True)]
    )


def _with_sharding(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _place(checkpoint: Checkpoint, name: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    parts: dict[str, np.ndarray] = {}

    def part(index: tuple[slice, ...]) -> np.ndarray:
        key = str(index)  # devices that hold the same part share one reading of it
        if key not in parts:
            parts[key] = checkpoint.read(name, index).astype(leaf.dtype, copy=False)
        return parts[key]

    return jax.make_array_from_callback(leaf.shape, leaf.sharding, part)
