"""The mean of several checkpoints, parameter by parameter.

Steps of one run (Izmailov et al. 2018, arXiv 1803.05407), and runs that went on from the same
checkpoint in different ways (Wortsman et al. 2022, arXiv 2203.05482), can lie so close together
that their mean is better than each; docs/results.md has a case. Runs that began apart have no mean
that means anything.
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
from rec_align.training.checkpoints import differences


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
      ValueError: fewer than two are given, one is not there, is given twice, is no run of ours, or
        does not fit the first in its parameters or its vocabulary; or `out` holds something.
    """
    if len(paths) < 2:
        raise ValueError(f"an average is of two runs or more; only {paths[0]} was given")
    opened = [open_checkpoint(path, step) for path in paths]
    for number, checkpoint in enumerate(opened):
        if checkpoint.kind != "rec_align":
            raise ValueError(
                f"{checkpoint.path} is a checkpoint of kind {checkpoint.kind}: make a run of it "
                "first, with `rec-align checkpoint import`"
            )
        if checkpoint.path in [other.path for other in opened[:number]]:
            raise ValueError(f"{checkpoint.path} is given twice: name each checkpoint once")
    checkpoints = [merged(checkpoint) for checkpoint in opened]
    first = checkpoints[0]
    for checkpoint in checkpoints[1:]:
        differ = differences({"the first": first.shapes, "this": checkpoint.shapes})
        if differ:
            raise ValueError(
                f"{checkpoint.path} is of another network than {first.path}: average runs that "
                "were trained with one model\n  " + "\n  ".join(differ)
            )
    vocabulary = _common_vocabulary(checkpoints)
    host = jax.local_devices(backend="cpu")[0]
    with written_whole(out) as folder, jax.default_device(host):
        means = {name: jnp.asarray(_mean(checkpoints, name)) for name in first.shapes}
        if vocabulary:
            run_vocabulary.note(folder, vocabulary)
        save_params(folder, traverse_util.unflatten_dict(means, sep="/"))
    return checkpoints


def _mean(checkpoints: Sequence[Checkpoint], name: str) -> np.ndarray:
    """Of one parameter, held twice at most."""
    total = checkpoints[0].read(name, ())
    for checkpoint in checkpoints[1:]:
        total = total + checkpoint.read(name, ())
    return total / np.float32(len(checkpoints))


def _common_vocabulary(checkpoints: Sequence[Checkpoint]) -> str | None:
    """The digest that their runs noted; imported ones noted none, and fit any."""
    noted = {c.path: run_vocabulary.read(epath.Path(c.path).parent.parent) for c in checkpoints}
    noted = {path: digest for path, digest in noted.items() if digest}
    if len(set(noted.values())) > 1:
        raise ValueError(
            f"{', '.join(noted)} were trained with different vocabularies, under which tokens mean "
            "different things: average runs of one VOCABULARY, or of one corpus and ITEM_INDEX"
        )
    return next(iter(noted.values()), None)
