"""What a checkpoint of any kind looks like from here: names, shapes, and a way to read one."""

import dataclasses
from collections.abc import Callable

import numpy as np

Index = tuple[slice, ...]  # one slice a dimension; () takes everything


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Parameters on disk under the network's names; nothing is read until `read` is called.

    Attributes:
      kind: "rec_align", "hf" or "t5x".
      path: where it was found.
      shapes: the shape of each parameter, {"encoder/encoder_norm/scale": (512,), ...}.
      read: (name, index) -> that part of the parameter, float32.
    """

    kind: str
    path: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str, Index], np.ndarray]
