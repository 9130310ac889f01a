"""Parameters that lie in TensorStore arrays: T5X's checkpoints, and Orbax's, which are also ours.

T5X wrote two layouts. The older one, which the public T5 and FLAN-T5 checkpoints have, is a msgpack
file `checkpoint` (the index; small arrays are in it) beside one zarr directory a parameter. The
newer one is Orbax's, in `state/`.
"""

import json
import re
from typing import Any

import flax.serialization
import ml_dtypes
import numpy as np
import tensorstore as ts
from etils import epath
from flax import traverse_util

from rec_align.pretrained.checkpoint import Checkpoint, Index

INDEX = "checkpoint"  # of T5X's older layout
STATE = "state"  # of T5X's Orbax layout
METADATA = "_METADATA"  # of Orbax
Arrays = dict[str, np.ndarray | ts.TensorStore]


def is_t5x(path: epath.Path) -> bool:
    """Whether a directory is one checkpoint of T5X, `checkpoint_N/`, of either layout."""
    return (path / INDEX).is_file() or (path / STATE).is_dir()


def open_t5x(path: epath.Path) -> Checkpoint:
    """Opens a checkpoint of T5X; T5X itself is not needed.

    Raises:
      ValueError: it is not readable, or holds no parameters.
    """
    if (path / INDEX).is_file():
        arrays = _legacy_arrays(path)
    else:
        arrays = orbax_arrays(path / STATE, "target")
    return as_checkpoint("t5x", path, arrays)


def as_checkpoint(kind: str, path: epath.Path, arrays: Arrays) -> Checkpoint:
    def read(name: str, index: Index = ()) -> np.ndarray:
        array = arrays[name][index]
        if isinstance(array, ts.TensorStore):
            array = array.read().result()
        if array.dtype == np.uint16:  # how T5X wrote bfloat16 before June 2021
            array = array.view(ml_dtypes.bfloat16)
        return np.asarray(array).astype(np.float32, copy=False)

    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    return Checkpoint(kind=kind, path=str(path), shapes=shapes, read=read)


def orbax_arrays(directory: epath.Path, root: str) -> Arrays:
    """The arrays below the key `root` of a tree that Orbax saved.

    Raises:
      ValueError: Orbax did not finish the directory, or the tree has no such key.
    """
    if not (directory / METADATA).exists():
        raise ValueError(
            f"{directory} has no {METADATA}: it is no checkpoint of Orbax, or was not finished."
        )
    metadata = json.loads((directory / METADATA).read_text())
    driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    base = _kvstore(directory)
    specs = {}
    for entry in metadata["tree_metadata"].values():
        top, *keys = (str(key["key"]) for key in entry["key_metadata"])
        if top == root:
            name = ".".join([top, *keys])
            if metadata.get("use_ocdbt", True):
                kvstore = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
            else:
                kvstore = base | {"path": f"{base['path']}{name}/"}
            specs["/".join(keys)] = {"driver": driver, "kvstore": kvstore}
    if not specs:
        raise ValueError(f"{directory} holds no parameters: it has no key {root!r}.")
    return _open_all(specs)


def _legacy_arrays(path: epath.Path) -> Arrays:
    try:
        contents = flax.serialization.msgpack_restore((path / INDEX).read_bytes())
        target = contents["optimizer"]["target"]
    except Exception as error:  # whatever msgpack makes of other bytes
        raise ValueError(
            f"{path / INDEX} is no index of a T5X checkpoint ({type(error).__name__}: {error}); "
            "a TensorFlow checkpoint has to be converted with T5X first."
        ) from error
    is_spec = lambda _, value: "kvstore" in value  # noqa: E731
    leaves = traverse_util.flatten_dict(target, sep="/", is_leaf=is_spec)
    base = _kvstore(path)
    specs, arrays = {}, {}
    for name, leaf in leaves.items():
        if isinstance(leaf, dict):
            # Written by an older TensorStore, the path is beside the key-value store.
            relative = leaf["kvstore"].get("path") or leaf["path"]
            kvstore = base | {"path": f"{base['path']}{relative.rstrip('/')}/"}
            specs[name] = {"driver": leaf["driver"], "kvstore": kvstore}
        else:
            arrays[name] = np.asarray(leaf)
    return arrays | _open_all(specs)


def _open_all(specs: dict[str, dict[str, Any]]) -> Arrays:
    """Opens many arrays at once: over a network each takes its round trip."""
    futures = {name: ts.open(spec, open=True, read=True) for name, spec in specs.items()}
    try:
        return {name: future.result() for name, future in futures.items()}
    except ValueError as error:
        raise ValueError(f"an array of the checkpoint cannot be opened: {error}") from error


def _kvstore(directory: epath.Path) -> dict[str, Any]:
    """TensorStore's words for a directory, on a disk or in a bucket of Google Cloud Storage."""
    bucket = re.fullmatch(r"gs://([^/]+)/(.*)", str(directory).rstrip("/") + "/")
    if bucket:
        return {"driver": "gcs", "bucket": bucket[1], "path": bucket[2]}
    return {"driver": "file", "path": f"{directory.resolve()}/"}
