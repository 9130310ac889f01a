"""Codes by who is bought with whom: items that the same users have begin with the same codes.

The idea is P5-CID's (Hua et al. 2023, arXiv 2305.06569, section 4.2): clusters of the items' co-
occurrence graph, split again while they are large. Here the graph is regularised (Joseph and Yu
2016), since without that the clusters of a sparse graph are its loose ends and one of all the rest.
Only what users have in train makes the graph.
"""

import numpy as np
import scipy.sparse.linalg

from rec_align.indexing.residual_kmeans import kmeans, nearest

MAX_LEVELS = 8  # a cluster that would still be large there is cut into equal parts instead


def collaborative_codes(
    train_histories: tuple[np.ndarray, np.ndarray],
    num_items: int,
    *,
    num_clusters: int = 32,
    leaf_size: int = 32,
    seed: int = 0,
) -> np.ndarray:
    """Clusters items by the users that have them, again and again.

    Two items are joined by the sum of 1 / n over the users that have both, n being the different
    items such a user has: all pairs of a history, since taste does not end with a few items, and
    each user alike, since pairs grow with the square of a history. Inside a cluster only its own
    items count.

    Items that no user has in train are a last cluster of the first level, `num_clusters`, cut into
    equal parts in order of item_index, which says nothing of them, down to `leaf_size`.

    Args:
      train_histories: item_indices, int [total], and offsets, int [num_users + 1]; see
        `rec_align.data.corpus.train_histories`.
      num_items: items of the catalogue.
      num_clusters: parts of a cluster, at most.
      leaf_size: a cluster of so many items is not split.
      seed: of the clusters.

    Returns:
      [num_items, levels] int32, -1 after an item's last code. At most `leaf_size` items have the
      same ones: `distinct.distinct` tells them apart.

    Raises:
      ValueError: the histories or the sizes cannot be used.
    """
    if num_clusters < 2 or leaf_size < 1:
        raise ValueError(
            f"num_clusters is {num_clusters} and leaf_size {leaf_size}: at least 2 and 1 are needed"
        )
    has = _users_by_items(*train_histories, num_items)
    known = np.diff(has.tocsc().indptr) > 0
    paths: dict[int, tuple[int, ...]] = {}

    def split(items: np.ndarray, path: tuple[int, ...], *, evenly: bool) -> None:
        if len(items) <= leaf_size:
            # A small catalogue is one leaf; its items have a first code too.
            paths.update(dict.fromkeys(items.tolist(), path or (0,)))
            return
        parts = []
        if not evenly and len(path) < MAX_LEVELS:
            parts = _clusters(has[:, items], num_clusters, seed)
        if len(parts) < 2:
            parts = np.array_split(np.arange(len(items)), min(num_clusters, len(items)))
        for code, part in enumerate(parts):
            split(items[part], (*path, code), evenly=evenly)

    split(np.flatnonzero(known), (), evenly=False)
    split(np.flatnonzero(~known), (num_clusters,), evenly=True)
    codes = np.full((num_items, max(1, *map(len, paths.values()))), -1, np.int32)
    for item, path in paths.items():
        codes[item, : len(path)] = path
    return codes


def _users_by_items(
    item_indices: np.ndarray, offsets: np.ndarray, num_items: int
) -> scipy.sparse.csr_matrix:
    """Returns [num_users, num_items] float64, 1 where a user has an item."""
    if len(item_indices) != offsets[-1]:
        raise ValueError(
            f"the offsets end at {offsets[-1]:,}, but there are {len(item_indices):,} interactions"
        )
    if len(item_indices) and not 0 <= item_indices.min() <= item_indices.max() < num_items:
        raise ValueError(
            f"item indices go from {item_indices.min()} to {item_indices.max()}, "
            f"but there are {num_items} items"
        )
    has = scipy.sparse.csr_matrix(
        (np.ones(len(item_indices)), item_indices, offsets),
        shape=(len(offsets) - 1, num_items),
        copy=True,  # the next line orders the indices in place
    )
    has.sum_duplicates()
    has.data[:] = 1
    return has


def _clusters(has: scipy.sparse.csr_matrix, num_clusters: int, seed: int) -> list[np.ndarray]:
    """Returns the clusters' columns of [num_users, num_items], those of most items first."""
    embedding = _spectral_embedding(has, min(num_clusters, has.shape[1] - 1), seed)
    labels = nearest(embedding, kmeans(embedding, num_clusters, seed=seed))
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return sorted(parts, key=lambda part: (-len(part), part[0]))


def _spectral_embedding(has: scipy.sparse.csr_matrix, num_dims: int, seed: int) -> np.ndarray:
    """Returns [num_items, num_dims] float32, rows of length 1.

    They are of the top eigenvectors of D^-1/2 A D^-1/2 (Ng, Jordan and Weiss 2001), where A is the
    graph and its regularisation. A = B^T B for B of the users that have two of the items or more,
    each row divided by the root of its sum, and one row more that joins all items a little; so the
    eigenvectors are B D^-1/2's right singular vectors, and A itself is never made: its size would
    be the square of the longest history.
    """
    counts = np.asarray(has.sum(1)).ravel()
    several = np.flatnonzero(counts > 1)
    rows = scipy.sparse.diags(counts[several] ** -0.5) @ has[several]
    degrees = np.asarray(has[several].sum(0)).ravel()
    tau = max(degrees.mean(), 1e-3)
    joins_all = np.full((1, has.shape[1]), (tau / has.shape[1]) ** 0.5)
    normalised = scipy.sparse.vstack([rows, joins_all]) @ scipy.sparse.diags(
        (degrees + tau) ** -0.5
    )
    if num_dims < min(normalised.shape):
        _, _, vectors = scipy.sparse.linalg.svds(normalised, num_dims, rng=seed)
    else:
        _, _, vectors = np.linalg.svd(normalised.toarray(), full_matrices=False)
    embedding = vectors.T
    return (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype(np.float32)
