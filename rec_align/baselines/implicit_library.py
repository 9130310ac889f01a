"""What the baselines of the library `implicit` share: finding it, and the matrix it takes.

https://github.com/benfred/implicit, an optional part: `pip install 'rec_align[baselines]'`.
"""

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import scipy.sparse

from rec_align.baselines import protocol


@contextlib.contextmanager
def using(module: str) -> Iterator[ModuleType]:
    """Gives a module of implicit, with BLAS on one thread, as implicit itself has several.

    Raises:
      ValueError: implicit is not installed.
    """
    import threadpoolctl

    try:
        found = importlib.import_module(f"implicit.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "implicit":
            raise
        raise ValueError(
            "item_knn, als and bpr_mf need the library implicit: pip install 'rec_align[baselines]'"
        ) from error
    with threadpoolctl.threadpool_limits(1, "blas"):
        yield found


def interaction_matrix(histories: protocol.Histories, num_items: int) -> scipy.sparse.csr_matrix:
    """Returns [n, num_items] float32, 1 where a history has the item, however often.

    Example:
      >>> interaction_matrix([np.array([2, 2]), np.array([0])], num_items=3).toarray().tolist()
      [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    rows, items = protocol.flatten(histories, num_items)
    ones = np.ones(len(items), np.float32)
    matrix = scipy.sparse.csr_matrix((ones, (rows, items)), shape=(len(histories), num_items))
    matrix.data[:] = 1  # repeats were added up
    return matrix
