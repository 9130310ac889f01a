"""The catalogue as a trie in CSR arrays: which token may follow which prefix of an item.

Nodes are numbered breadth first and a node's edges ascend by token, so the child of edge `e` is
node `e + 1` and no array of children is needed: 12 bytes a node in all. The layout follows the
CSR of STATIC (arXiv 2602.22647) without its dense first levels, which a vocabulary of 32k forbids.
EOS is the lowest token of an item, so an inner node's leaf, if it has one, is its first child.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

PAD_ID = 0  # also the decoder's start token, as in T5
EOS_ID = 1

ARRAYS = ("first_edge", "edge_tokens", "leaf_item")
NUMBERS = ("max_depth", "root_degree", "max_degree", "max_token", "num_items")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogueTrie:
    """All items of a catalogue as token paths from the root (node 0) to a leaf.

    A pytree: the arrays are leaves, the numbers are static. Pass it to `jit` as an argument (closed
    over, its arrays become constants of the program); `jax.device_put` it once if used often.

    Attributes:
      first_edge: [num_nodes + 1] int32, node `n` has the edges `first_edge[n]:first_edge[n + 1]`.
      edge_tokens: [num_edges] int32, the token of each edge; `num_edges == num_nodes - 1`.
      leaf_item: [num_nodes] int32, the item index of a leaf, -1 inside.
      max_depth: tokens of the longest item, EOS included.
      root_degree: children of the root.
      max_degree: most children of any other node, 0 if all of them are leaves.
      max_token: the largest token on any edge: logits need a vocabulary greater than this.
      num_items: items, which is the number of leaves.
    """

    first_edge: jax.Array | np.ndarray
    edge_tokens: jax.Array | np.ndarray
    leaf_item: jax.Array | np.ndarray
    max_depth: int = dataclasses.field(metadata={"static": True})
    root_degree: int = dataclasses.field(metadata={"static": True})
    max_degree: int = dataclasses.field(metadata={"static": True})
    max_token: int = dataclasses.field(metadata={"static": True})
    num_items: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def build(cls, item_tokens: np.ndarray) -> "CatalogueTrie":
        """Builds the trie on the host, level by level, without a loop over items.

        Example: items [[5, 1, 0], [5, 6, 1]] have the nodes root, 5, (5 1), (5 6), (5 6 1):
        `first_edge` [0, 1, 3, 3, 4, 4], `edge_tokens` [5, 1, 6, 1], `leaf_item` [-1, -1, 0, -1, 1].

        Args:
          item_tokens: [num_items, max_len] int32, row `i` is item `i`: tokens >= 2, one EOS (1),
            then only padding (0). Rows are unique.

        Returns:
          The trie, with NumPy arrays.

        Raises:
          ValueError: a row is malformed, or two items have the same tokens.
        """
        item_tokens = _checked(item_tokens)
        num_items, max_len = item_tokens.shape
        order = np.lexsort(item_tokens.T[::-1])  # rows ascending, first token first
        is_first = np.zeros(num_items, bool)  # the first sorted row of its prefix so far
        is_first[0] = True
        rank = np.zeros(num_items, np.int32)  # of each row's node inside its level
        tokens, degrees, leaves = [], [], [np.full(1, -1, np.int32)]
        level_size = 1
        for depth in range(max_len):
            column = item_tokens[order, depth]
            is_first[1:] |= column[1:] != column[:-1]
            is_node = is_first & (column != PAD_ID)
            if not is_node.any():
                break
            tokens.append(column[is_node])
            degrees.append(np.bincount(rank[is_node], minlength=level_size))
            leaves.append(np.where(tokens[-1] == EOS_ID, order[is_node], -1).astype(np.int32))
            level_size = tokens[-1].size
            rank = np.cumsum(is_node, dtype=np.int32) - 1
        if not is_first.all():
            raise _duplicate_error(item_tokens, order, np.flatnonzero(~is_first))
        degrees.append(np.zeros(level_size, np.int32))  # the deepest level has only leaves
        degree = np.concatenate(degrees)
        edge_tokens = np.concatenate(tokens)
        return cls(
            first_edge=np.concatenate([[0], np.cumsum(degree)]).astype(np.int32),
            edge_tokens=edge_tokens,
            leaf_item=np.concatenate(leaves),
            max_depth=len(tokens),
            root_degree=int(degree[0]),
            max_degree=int(degree[1:].max()),
            max_token=int(edge_tokens.max()),
            num_items=num_items,
        )

    def walk(self, tokens: Sequence[int] | np.ndarray) -> int:
        """Looks one token sequence up, on the host.

        Args:
          tokens: [length] int, an item's tokens up to and with EOS; padding may follow.

        Returns:
          The item index, or -1 where the sequence is no item or is cut before its EOS.
        """
        node = 0
        tokens = [int(token) for token in tokens]
        for position, token in enumerate(tokens):
            start, stop = int(self.first_edge[node]), int(self.first_edge[node + 1])
            edge = start + int(np.searchsorted(np.asarray(self.edge_tokens[start:stop]), token))
            if edge == stop or int(self.edge_tokens[edge]) != token:
                return -1
            node = edge + 1
            if token == EOS_ID:
                return -1 if any(tokens[position + 1 :]) else int(self.leaf_item[node])
        return -1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes three `.npy` files and `trie.json` into the folder `path`, made where missing."""
        folder = pathlib.Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", np.asarray(getattr(self, name)))
        numbers = {name: getattr(self, name) for name in NUMBERS}
        (folder / "trie.json").write_text(json.dumps(numbers, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CatalogueTrie":
        """Opens a folder written by `save`; the arrays stay memory-mapped until used.

        Raises:
          ValueError: the files do not belong together.
        """
        folder = pathlib.Path(path)
        numbers = json.loads((folder / "trie.json").read_text())
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        sizes = [arrays[name].size for name in ARRAYS]
        if set(numbers) != set(NUMBERS) or sizes != [sizes[1] + 2, sizes[1], sizes[1] + 1]:
            raise ValueError(
                f"path={str(folder)!r} holds files of different tries (sizes {sizes}, numbers "
                f"{sorted(numbers)}); build the trie again and save it to an empty folder"
            )
        return cls(**arrays, **numbers)


def _checked(item_tokens: np.ndarray) -> np.ndarray:
    """Returns `item_tokens` as int32 or says which row is malformed, and how."""
    item_tokens = np.asarray(item_tokens)
    if item_tokens.ndim != 2 or not item_tokens.size or item_tokens.dtype.kind not in "iu":
        raise ValueError(
            f"item_tokens has shape {item_tokens.shape} and dtype {item_tokens.dtype}; pass "
            "integers [num_items, max_len] with at least one item"
        )
    item_tokens = item_tokens.astype(np.int32, copy=False)
    is_eos = item_tokens == EOS_ID
    # Where the first EOS stands: tokens >= 2 exactly before it, padding exactly after it.
    length = np.where(is_eos.any(axis=1), is_eos.argmax(axis=1), -1)[:, None]
    position = np.arange(item_tokens.shape[1])
    bad = ((item_tokens > EOS_ID) != (position < length)).any(axis=1)
    bad |= ((item_tokens != PAD_ID) != (position <= length)).any(axis=1)
    bad_rows = np.flatnonzero(bad | (length[:, 0] < 0))
    if bad_rows.size:
        row = int(bad_rows[0])
        raise ValueError(
            f"item_tokens[{row}] = {item_tokens[row].tolist()} ({bad_rows.size} such rows); each "
            f"row needs tokens >= 2, then one EOS ({EOS_ID}), then only padding ({PAD_ID}): append "
            "EOS after trimming and pad on the right"
        )
    return item_tokens


def _duplicate_error(
    item_tokens: np.ndarray, order: np.ndarray, repeated_rows: np.ndarray
) -> ValueError:
    """Names the first two items that share their tokens; lexsort is stable, so they ascend."""
    row = repeated_rows[np.argmin(order[repeated_rows])]
    first, second = int(order[row - 1]), int(order[row])
    tokens = item_tokens[first][item_tokens[first] != PAD_ID].tolist()
    return ValueError(
        f"item_tokens has the same tokens {tokens} for items {first} and {second} "
        f"({repeated_rows.size} repeated rows in all); give each item a unique name, or a longer "
        "max_len if trimming made them equal"
    )
