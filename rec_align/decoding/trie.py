"""The catalogue as a trie in flat arrays: which token may follow which prefix of an item.

A node's children are a run of nodes, `begin[n]:end[n]`, and ascend by token, so no array of
children is needed; a leaf, which has none, holds its item there: 12 bytes a node in all. `build`
numbers the nodes breadth first. The layout follows the CSR of STATIC (arXiv 2602.22647) without its
dense first levels, which a vocabulary of 32k forbids. EOS is the lowest token of an item, so an
inner node's leaf, if it has one, is its first child. Runs may lie anywhere and in any order:
`live_trie` moves them.
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

ARRAYS = ("begin", "end", "tokens")
NUMBERS = ("max_depth", "root_degree", "max_degree", "max_token")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogueTrie:
    """All items of a catalogue as token paths from the root (node 0) to a leaf.

    A pytree: the arrays are leaves, the numbers are static. Pass it to `jit` as an argument (closed
    over, its arrays become constants of the program); `jax.device_put` it once if used often.

    Attributes:
      begin: [num_nodes] int32, the children of node `n` are the nodes `begin[n]:end[n]`; of a leaf
        both are the item index.
      end: [num_nodes] int32.
      tokens: [num_nodes] int32, the token that leads to each node: padding (0) to the root, EOS (1)
        to a leaf.
      max_depth: at least the tokens of the longest item, EOS included.
      root_degree: at least the children of the root.
      max_degree: at least the children of any other node, 0 if all of them are leaves.
      max_token: at least the largest token: logits need a vocabulary greater than this.

    `build` gives the least of these numbers, a live trie rounds them up.
    """

    begin: jax.Array | np.ndarray
    end: jax.Array | np.ndarray
    tokens: jax.Array | np.ndarray
    max_depth: int = dataclasses.field(metadata={"static": True})
    root_degree: int = dataclasses.field(metadata={"static": True})
    max_degree: int = dataclasses.field(metadata={"static": True})
    max_token: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def build(cls, item_tokens: np.ndarray) -> "CatalogueTrie":
        """Builds the trie on the host, level by level, without a loop over items.

        Example: items [[5, 1, 0], [5, 6, 1]] have the nodes root, 5, (5 1), (5 6), (5 6 1):
        `begin` [1, 2, 0, 4, 1], `end` [2, 4, 0, 5, 1], `tokens` [0, 5, 1, 6, 1].

        Args:
          item_tokens: [num_items, max_len] int32, row `i` is item `i`: tokens >= 2, one EOS (1),
            then only padding (0). Rows are unique.

        Returns:
          The trie, with NumPy arrays.

        Raises:
          ValueError: a row is malformed, or two items have the same tokens.
        """
        item_tokens = checked_rows(item_tokens)
        num_items, max_len = item_tokens.shape
        order = np.lexsort(item_tokens.T[::-1])  # rows ascending, first token first
        is_first = np.zeros(num_items, bool)  # the first sorted row of its prefix so far
        is_first[0] = True
        rank = np.zeros(num_items, np.int32)  # of each row's node inside its level
        levels, degrees, leaves = [np.zeros(1, np.int32)], [], []
        level_size = 1
        for depth in range(max_len):
            column = item_tokens[order, depth]
            is_first[1:] |= column[1:] != column[:-1]
            is_node = is_first & (column != PAD_ID)
            if not is_node.any():
                break
            levels.append(column[is_node])
            degrees.append(np.bincount(rank[is_node], minlength=level_size))
            leaves.append(order[is_first & (column == EOS_ID)])
            level_size = levels[-1].size
            rank = np.cumsum(is_node, dtype=np.int32) - 1
        if not is_first.all():
            raise _duplicate_error(item_tokens, order, np.flatnonzero(~is_first))
        degrees.append(np.zeros(level_size, np.int32))  # the deepest level has only leaves
        degree = np.concatenate(degrees)
        tokens = np.concatenate(levels)
        end = np.cumsum(degree, dtype=np.int32) + 1
        begin = end - degree.astype(np.int32)
        is_leaf = tokens == EOS_ID
        begin[is_leaf] = end[is_leaf] = np.concatenate(leaves)
        return cls(
            begin=begin,
            end=end,
            tokens=tokens,
            max_depth=len(levels) - 1,
            root_degree=int(degree[0]),
            max_degree=int(degree[1:].max()),
            max_token=int(item_tokens.max()),
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
            begin, end = int(self.begin[node]), int(self.end[node])
            node = begin + int(np.searchsorted(np.asarray(self.tokens[begin:end]), token))
            if node == end or int(self.tokens[node]) != token:
                return -1
            if token == EOS_ID:
                return -1 if any(tokens[position + 1 :]) else int(self.begin[node])
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
        files = [folder / f"{name}.npy" for name in ARRAYS if (folder / f"{name}.npy").exists()]
        arrays = {file.stem: np.load(file, mmap_mode="r") for file in files}
        sizes = {name: array.size for name, array in arrays.items()}
        if set(numbers) != set(NUMBERS) or set(sizes) != set(ARRAYS) or len({*sizes.values()}) > 1:
            raise ValueError(
                f"path={str(folder)!r} does not hold the files of one trie (sizes {sizes}, numbers "
                f"{sorted(numbers)}); build the trie again and save it to an empty folder"
            )
        return cls(**arrays, **numbers)


def checked_rows(item_tokens: np.ndarray) -> np.ndarray:
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
