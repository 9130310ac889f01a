"""From a checkpoint of another kind to a run of ours, and from a run to Hugging Face's form.

Both write into a folder beside the wanted one and rename it at the end, so that what was
interrupted is never taken for finished.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from rec_align.models.t5 import T5Config, Transformer
from rec_align.pretrained import hf, sizes
from rec_align.pretrained.adapters import merged
from rec_align.pretrained.checkpoint import Checkpoint
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.training.state import init_params

MODEL_GIN = "model.gin"
SPIECE = "spiece.model"
# What Orbax gathers in memory before it writes a file (its own 2 GiB would be most of a T5 large),
# and the arrays that are on their way there at once.
_FILE_BYTES = 64 * 2**20
_CONCURRENT_BYTES = 10**8


class Converted(NamedTuple):
    """What was converted: the checkpoint that was read, and the size of its network."""

    checkpoint: Checkpoint
    config: T5Config


def import_checkpoint(
    path: str | os.PathLike[str], out: str | os.PathLike[str], kind: str | None = None
) -> Converted:
    """Makes OUT a MODEL_DIR whose one checkpoint, of step 0, holds the parameters found in `path`.

    It serves as MODEL_DIR of eval and infer and as INITIAL_CHECKPOINT_PATH of train. OUT/model.gin
    is the model's gin file.

    Args:
      path: a Hugging Face T5 directory, or a checkpoint of T5X.
      out: a new or an empty folder.
      kind: "hf" or "t5x"; None takes what is found.

    Raises:
      ValueError: nothing that can be imported is in `path`, or `out` holds something already.
    """
    checkpoint = open_checkpoint(path)
    if checkpoint.kind == "rec_align":
        raise ValueError(f"{path} is a run of rec_align already: use it as it is.")
    if kind and checkpoint.kind != kind:
        raise ValueError(f"{path} is a checkpoint of kind {checkpoint.kind}, not {kind}.")
    config = sizes.config_of(checkpoint.shapes)
    host = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=host),
        jax.eval_shape(lambda: init_params(Transformer(config), 0)),
    )
    with written_whole(out) as folder:
        params = load_params(path, like)
        title = f"The size of {epath.Path(path).resolve().name}, imported by rec-align checkpoint."
        (folder / MODEL_GIN).write_text(sizes.model_gin(config, title))
        save_params(folder, params)
    return Converted(checkpoint, config)


def save_params(model_dir: str | os.PathLike[str], params: Any) -> None:
    """Saves parameters as step 0 of a run, with little memory beside their own."""
    largest = max(leaf.nbytes for leaf in jax.tree.leaves(params))
    handler = ocp.PyTreeCheckpointHandler(
        # Orbax refuses an array that is not smaller than what may be on its way to the disk.
        save_concurrent_gb=max(1.01 * largest, _CONCURRENT_BYTES) / 1e9,
        use_compression=False,  # trained float32 hardly shrinks, and each chunk would be copied
    )
    manager = ocp.CheckpointManager(
        epath.Path(model_dir).resolve() / "checkpoints",
        item_handlers=handler,
        options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False),
    )
    with contextlib.closing(manager):
        args = ocp.args.PyTreeSave({"params": params}, ocdbt_target_data_file_size=_FILE_BYTES)
        manager.save(0, args=args)


def export_hf(
    model_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    step: int | str = "best",
    vocabulary: str | os.PathLike[str] | None = None,
    max_shard_bytes: int = hf.MAX_SHARD_BYTES,
) -> Converted:
    """Writes a run's parameters as a Hugging Face T5 directory; adapters are folded in.

    Hugging Face's T5 knows no blocks: a model that was trained block-causally reads histories with
    its encoder bidirectionally there, so its scores there are not those it has here.

    Args:
      model_dir: the run, or one of its checkpoints.
      out: a new or an empty folder.
      step: "best" by validation loss, "latest", or a step.
      vocabulary: a SentencePiece model, copied as spiece.model.
      max_shard_bytes: see `hf.write_hf`.

    Raises:
      ValueError: there is no such checkpoint, it holds what Hugging Face's T5 has not, the
        vocabulary is not there, or `out` holds something already.
    """
    checkpoint = merged(open_checkpoint(model_dir, step))
    hf.check_exportable(checkpoint)
    config = sizes.config_of(checkpoint.shapes)
    if vocabulary and not epath.Path(vocabulary).is_file():
        raise ValueError(f"--vocabulary: there is no file {vocabulary}.")
    with written_whole(out) as folder:
        if vocabulary:
            epath.Path(vocabulary).copy(folder / SPIECE)
        hf.write_hf(checkpoint, config, folder, max_shard_bytes)
    return Converted(checkpoint, config)


@contextlib.contextmanager
def written_whole(out: str | os.PathLike[str]) -> Iterator[epath.Path]:
    """Yields the folder to write into, and gives it its name when all is written.

    Raises:
      ValueError: `out` holds something already, or is a place among a run's checkpoints.
    """
    out = epath.Path(out)
    if out.parent.name == "checkpoints":
        raise ValueError(f"{out} would be taken for a checkpoint of that run: name a new folder.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} is not empty: name a new folder, or delete it first.")
    unfinished = out.parent / f"{out.name}.unfinished"
    if unfinished.exists():
        unfinished.rmtree()
    unfinished.mkdir(parents=True)
    yield unfinished
    if out.exists():
        out.rmdir()
    unfinished.rename(out)
