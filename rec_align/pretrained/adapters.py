"""Runs that trained adapters: their checkpoints hold adapters alone, and say of what.

MODEL_DIR/adapters.json names the checkpoint that is adapted, which must stay where it is.
"""

import dataclasses
import json
import os

import numpy as np
from etils import epath

from rec_align.pretrained.checkpoint import Checkpoint, Index
from rec_align.pretrained.opening import open_checkpoint

RECORD = "adapters.json"


def write_base(model_dir: str | os.PathLike[str], path: str) -> None:
    """Notes the checkpoint that the adapters of a run adapt."""
    model_dir = epath.Path(model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    path = path if "://" in path else os.path.abspath(path)
    (model_dir / RECORD).write_text(json.dumps({"initial_checkpoint_path": path}) + "\n")


def read_base(model_dir: str | os.PathLike[str]) -> str:
    """The path of the checkpoint that the adapters of a run adapt.

    Raises:
      ValueError: the run has no adapters.
    """
    record = epath.Path(model_dir) / RECORD
    if not record.exists():
        raise ValueError(f"{model_dir} holds no adapters: leave T5Config.lora (lora.gin) out.")
    return json.loads(record.read_text())["initial_checkpoint_path"]


def merged(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its adapters folded into what they adapt: W + A B, one at a time."""
    layers = {name.removesuffix("/lora_a") for name in checkpoint.shapes if name.endswith("lora_a")}
    if not layers:
        return checkpoint
    base = open_checkpoint(read_base(epath.Path(checkpoint.path).parent.parent))

    def read(name: str, index: Index = ()) -> np.ndarray:
        kernel = base.read(name, index)
        layer = name.removesuffix("/kernel")
        if layer not in layers:
            return kernel
        a, b = (checkpoint.read(f"{layer}/lora_{matrix}", ()) for matrix in "ab")
        return kernel + (a @ b)[index]

    return dataclasses.replace(checkpoint, shapes=base.shapes, read=read)
