"""Runs that trained adapters: their checkpoints hold adapters alone, and say of what.

MODEL_DIR/adapters.json names the checkpoint that is adapted, which must stay where it is.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath

from rec_align.models.t5 import Transformer
from rec_align.models.t5_config import ADDED_PARTS
from rec_align.pretrained.checkpoint import Checkpoint, Index
from rec_align.pretrained.opening import load_params, open_checkpoint

RECORD = "adapters.json"


def initial_params(
    network: Transformer,
    path: str | None,
    model_dir: str | os.PathLike[str],
    *,
    more_tokens: bool = False,
) -> Callable[[Any], Any] | None:
    """What `loop.train` starts from: the checkpoint at `path`, or nothing.

    A run of adapters notes its base, down to the step of a run, and keeps to it when it goes on.

    Args:
      network: what is trained.
      path: a checkpoint of any kind, or None.
      model_dir: the run.
      more_tokens: whether the network may have more tokens than the checkpoint: those of an item
        index.

    Raises:
      ValueError: there is no such checkpoint, the run adapts another one, or adapters are to learn
        tokens, which they cannot.
    """
    if not network.config.lora:
        return functools.partial(load_params, path, more_tokens=more_tokens) if path else None
    record = epath.Path(model_dir) / RECORD
    if record.exists():
        base = read_base(model_dir)
        given = _absolute(path) if path else base
        if base != given and not base.startswith(f"{given}/checkpoints/"):
            raise ValueError(
                f"INITIAL_CHECKPOINT_PATH: {model_dir} holds adapters of {base}, not of {path}; "
                "leave it out, or train into another MODEL_DIR."
            )
    elif path:
        base = _absolute(open_checkpoint(path).path)
    else:
        return None
    rows = open_checkpoint(base).shapes.get("token_embedder/embedding", (0,))[0]
    if more_tokens and rows < network.config.vocab_size:
        raise ValueError(
            "ITEM_INDEX: this index has tokens of its own, whose embeddings must be trained, and "
            "adapters train nothing else: leave gin/runs/lora.gin out, start from a run that was "
            "trained with the index, or write items by title"
        )

    def load(like: Any) -> Any:
        params = load_params(base, like)
        if jax.process_index() == 0:
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps({"initial_checkpoint_path": base}) + "\n")
        return params

    return load


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


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
    # What was trained beside the adapters.
    own = {n: s for n, s in checkpoint.shapes.items() if n.split("/")[0] in ADDED_PARTS}

    def read(name: str, index: Index = ()) -> np.ndarray:
        if name in own:
            return checkpoint.read(name, index)
        kernel = base.read(name, index)
        layer = name.removesuffix("/kernel")
        if layer not in layers:
            return kernel
        a, b = (checkpoint.read(f"{layer}/lora_{matrix}", ()) for matrix in "ab")
        return kernel + (a @ b)[index]

    return dataclasses.replace(checkpoint, shapes=base.shapes | own, read=read)
