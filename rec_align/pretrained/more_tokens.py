"""Room for an item index's tokens in a pretrained vocabulary."""

import dataclasses

import numpy as np

from rec_align.models.t5_config import TOKEN_AXIS
from rec_align.pretrained.checkpoint import Checkpoint, Index


def with_more_tokens(checkpoint: Checkpoint, wanted: dict[str, tuple[int, ...]]) -> Checkpoint:
    """The checkpoint with as many rows of tokens as are wanted; a new one is the mean of its rows.

    Training tells them apart. Rows that the checkpoint has to spare stay as they are, and are the
    first tokens' then. A table that grows is read whole.

    Args:
      checkpoint: of any kind.
      wanted: the shapes of the network's parameters.
    """
    missing = {
        name: wanted[name][axis] - checkpoint.shapes[name][axis]
        for name, axis in TOKEN_AXIS.items()
        if name in wanted and name in checkpoint.shapes
    }
    grown = {name for name, count in missing.items() if count > 0}

    def read(name: str, index: Index = ()) -> np.ndarray:
        if name not in grown:
            return checkpoint.read(name, index)
        axis, table = TOKEN_AXIS[name], checkpoint.read(name, ())
        mean = table.mean(axis=axis, keepdims=True)
        table = np.concatenate([table, mean.repeat(missing[name], axis=axis)], axis=axis)
        return table[index]

    shapes = dict(checkpoint.shapes)
    for name in grown:
        shape = list(shapes[name])
        shape[TOKEN_AXIS[name]] += missing[name]
        shapes[name] = tuple(shape)
    return dataclasses.replace(checkpoint, shapes=shapes, read=read)
