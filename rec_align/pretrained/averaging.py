"""The mean of several checkpoints, parameter by parameter.

Steps of one run, and runs that went on from the same checkpoint in different ways, often lie so
close together that their mean is better than each (Wortsman et al. 2022, arXiv 2203.05482); see
docs/results.md. Runs that began apart have no mean that means anything.
"""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import traverse_util

from rec_align.pretrained.adapters import merged
from rec_align.pretrained.checkpoint import Checkpoint
from rec_align.pretrained.converting import save_params, written_whole
from rec_align.pretrained.opening import open_checkpoint
from rec_align.training import run_vocabulary


def average_runs(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    step: int | str = "best",
) -> list[Checkpoint]:
    """Makes OUT a MODEL_DIR whose one checkpoint, of step 0, is the mean; adapters are folded in.

    Args:
      paths: two or more runs of one network, or of their checkpoints, MODEL_DIR/checkpoints/STEP.
      out: a new or an empty folder.
      step: of those that are runs: "best" by validation loss, "latest", or a step.

    Returns:
      What was averaged.

    Raises:
      ValueError: fewer than two are given, one is not there or does not fit the first in its
        parameters or its vocabulary, or `out` holds something already.
    """
    if len(paths) < 2:
        raise ValueError(f"an average is of two runs or more; only {paths[0]} was given")
    checkpoints = [merged(open_checkpoint(path, step)) for path in paths]
    vocabularies = [_vocabulary(checkpoint) for checkpoint in checkpoints]
    first = checkpoints[0]
    for checkpoint, vocabulary in zip(checkpoints[1:], vocabularies[1:], strict=True):
        _check_fits(first, checkpoint)
        if vocabulary != vocabularies[0]:
            raise ValueError(
                f"{checkpoint.path} was trained with another vocabulary than {first.path}, under "
                "which its tokens mean other things: average runs of one corpus and ITEM_INDEX"
            )
    host = jax.local_devices(backend="cpu")[0]
    with written_whole(out) as folder, jax.default_device(host):
        means = {
            name: jnp.asarray(np.mean([c.read(name, ()) for c in checkpoints], axis=0))
            for name in first.shapes
        }
        if vocabularies[0]:
            run_vocabulary.note(folder, vocabularies[0])
        save_params(folder, traverse_util.unflatten_dict(means, sep="/"))
    return checkpoints


def _vocabulary(checkpoint: Checkpoint) -> str | None:
    """The digest of its run's vocabulary; None where none is noted."""
    return run_vocabulary.read(epath.Path(checkpoint.path).parent.parent)


def _check_fits(first: Checkpoint, other: Checkpoint) -> None:
    names = first.shapes.keys() | other.shapes.keys()
    differ = sorted(name for name in names if first.shapes.get(name) != other.shapes.get(name))
    if differ:
        rows = [
            f"{name}: {first.shapes.get(name, 'missing')}, {other.shapes.get(name, 'missing')}"
            for name in differ
        ]
        raise ValueError(
            f"{first.path} and {other.path} are of different networks, which have no mean:\n  "
            + "\n  ".join(rows)
        )
