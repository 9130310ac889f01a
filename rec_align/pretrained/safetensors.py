"""The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes in a row.

Read and written here, because the library memory-maps whole files (mapped pages count as memory in
use), has a file's tensors in memory all at once to write it, and reads local paths only.
Format: https://huggingface.co/docs/safetensors
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np
from etils import epath

from rec_align.pretrained.checkpoint import Index

DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}


class Tensor(NamedTuple):
    """Where a tensor lies: its file, type, shape and first byte in the file."""

    file: epath.Path
    dtype: str
    shape: tuple[int, ...]
    start: int


def tensors_of(file: epath.Path) -> dict[str, Tensor]:
    """The tensors of a file by name, from its header alone.

    Raises:
      ValueError: it is no safetensors file, or a part of it is missing.
    """
    size = file.stat().length
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        start = 8 + length
        end = start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        tensors = {
            name: Tensor(
                file, entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][0]
            )
            for name, entry in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no safetensors file: {error}") from error
    if end != size:
        raise ValueError(
            f"{file} has {size} bytes, its header promises {end}: the download or copy was cut "
            "short, fetch it again."
        )
    return tensors


def read(tensor: Tensor, index: Index = ()) -> np.ndarray:
    """A tensor, or a part of it, as float32; rows that are not asked for are not read.

    Raises:
      ValueError: its type is not a floating-point one that is known here.
    """
    if tensor.dtype not in DTYPES:
        raise ValueError(
            f"{tensor.file} holds a tensor of type {tensor.dtype}; known are {', '.join(DTYPES)}: "
            "save the model in one of them, quantised weights cannot be trained on."
        )
    dtype = DTYPES[tensor.dtype]
    rows, *columns = index or (slice(None),) * len(tensor.shape)
    first, stop, _ = rows.indices(tensor.shape[0])
    row_items = math.prod(tensor.shape[1:])
    with tensor.file.open("rb") as opened:
        opened.seek(tensor.start + first * row_items * dtype.itemsize)
        data = opened.read((stop - first) * row_items * dtype.itemsize)
    array = np.frombuffer(data, dtype).reshape(stop - first, *tensor.shape[1:])
    return array[(slice(None), *columns)].astype(np.float32, copy=False)


def write(
    file: epath.Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], np.ndarray]
) -> None:
    """Writes float32 tensors one after the other; one is in memory at a time.

    Args:
      file: is overwritten.
      shapes: the tensors, in the order they are to lie in.
      read: gives a tensor's values by its name.
    """
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            array = np.ascontiguousarray(read(name), dtype="<f4")
            assert array.shape == tuple(shape), (name, array.shape, shape)
            opened.write(array.data)
