"""NumPy arrays as files, on a disk or in a bucket."""

import io
from collections.abc import Mapping

import numpy as np
from etils import epath


def write_arrays(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz."""
    file = io.BytesIO()  # a bucket's file cannot be gone back in, as a zip's writer does
    np.savez(file, **arrays)
    epath.Path(path).write_bytes(file.getvalue())
