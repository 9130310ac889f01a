"""Items whose users are those of the history's items: cosine nearest neighbours of items.

Deshpande and Karypis 2004; the neighbours are found by implicit.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.sparse

from rec_align.baselines import implicit_library, protocol


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemKNN:
    """Scores an item by the sum of its similarities to the items of the history.

    Attributes:
      similarities: [num_items, num_items] float32, row i: cosines of item i to its nearest
        neighbours, nothing for the item itself.

    Example: item 1 is seen by a user of item 0, item 2 by nobody.
      >>> knn = ItemKNN(similarities=scipy.sparse.csr_matrix([[0, 0.5, 0], [0.5, 0, 0], [0] * 3]))
      >>> knn.score([0], [np.array([0])]).tolist()
      [[0.0, 0.5, 0.0]]
    """

    similarities: scipy.sparse.csr_matrix

    @classmethod
    def fit(
        cls,
        histories: protocol.Histories,
        num_items: int,
        *,
        validation: protocol.HeldOut | None = None,
        seed: int = 0,
        report: Callable[[str], None] = print,
        num_neighbours: int = 100,
    ) -> "ItemKNN":
        """Finds each item's neighbours; see `protocol.Fit`.

        Args:
          num_neighbours: of an item; on ML-100K's validation targets 20 to 1,000 do alike.

        Raises:
          ValueError: implicit is missing, or an item is outside the catalogue.
        """
        del validation, seed
        matrix = implicit_library.interaction_matrix(histories, num_items).astype(np.float64)
        counts = matrix.getnnz(axis=0)
        matrix.data /= np.sqrt(counts[matrix.indices])  # of items' columns, each of length 1
        report(f"item kNN: cosines of {num_items:,} items")
        with implicit_library.using("nearest_neighbours") as library:
            model = library.ItemItemRecommender(K=num_neighbours + 1)  # an item is its own nearest
            model.fit(matrix, show_progress=False)
        similarities = model.similarity.astype(np.float32)
        similarities.setdiag(0)
        similarities.eliminate_zeros()
        return cls(similarities=similarities)

    def score(self, users: np.ndarray, histories: protocol.Histories) -> np.ndarray:
        """See `protocol.Baseline.score`."""
        del users
        num_items = self.similarities.shape[0]
        matrix = implicit_library.interaction_matrix(histories, num_items)
        return (matrix @ self.similarities).toarray().astype(np.float32)
