"""A catalogue trie that takes adds and removals while searches go on.

    live = LiveTrie(item_tokens, vocab_size=32_128)
    found = search(params, users, live.snapshot())  # jitted; some other thread adds and removes
    found = live.without_removed(found)

The nodes are changed on the host and what changed is scattered over the device's arrays, into new
arrays: a snapshot stays as it was for as long as a search holds it. A node's children stay one run
of nodes, ascending by token. A new child is put into the run where that has room; otherwise that
run alone moves to the free end, with room to double. All nodes are laid out afresh only when the
free end is used up.
"""

import threading
from collections.abc import Sequence

import jax
import numpy as np

from rec_align.decoding.beam_search import BeamResults
from rec_align.decoding.trie import ARRAYS, EOS_ID, PAD_ID, CatalogueTrie, checked_rows

# `room` is where the place that a run of children may fill ends: begin <= end <= room.
NODE = np.dtype([(name, np.int32) for name in (*ARRAYS, "room")])
FULL = 0.75  # of the capacity: with more nodes than that it doubles when they are laid out afresh
LEAST = 1024  # nodes, of the arrays and of what is sent to the device at once


class LiveTrie:
    """A catalogue that changes, as tries to search in.

    Any thread may call any method at any time. `add` and `remove` wait for one another; `snapshot`
    and `without_removed` wait for neither. An update is there as a whole or not at all.

    A jitted search of the snapshots is compiled again only when the arrays grow (they double, from
    half as many nodes again as the first items need), an item is longer than any before, or a
    node has more children than the most so far, rounded up to a power of two.

    Args:
      item_tokens: [num_items, max_len] int32, row `i` is item `i`, as for `CatalogueTrie.build`.
        `max_len` is the snapshots' `max_depth`: columns of padding leave room for longer items.
      vocab_size: of the model's logits; tokens must lie below it.
      sharding: where the device arrays live, whole on every device, such as `NamedSharding(mesh,
        PartitionSpec())`. Several hosts must make the same updates between the same searches. None:
        JAX's default device.

    Raises:
      ValueError: a row is malformed, or two items have the same tokens.
    """

    def __init__(
        self,
        item_tokens: np.ndarray,
        *,
        vocab_size: int,
        sharding: jax.sharding.Sharding | None = None,
    ):
        self._vocab_size = vocab_size
        self._sharding = sharding
        self._scatter = jax.jit(_scatter, out_shardings=sharding)
        self._writing = threading.Lock()
        self._striking = threading.Lock()  # held for as long as a few array elements take
        # How each item is written, one row an index; padding where none is listed.
        self._rows = self._checked_tokens(item_tokens).copy()
        self._listed = np.ones(len(self._rows), bool)
        self._degrees = {"root_degree": 1, "max_degree": 1}
        self._nodes = np.zeros(0, NODE)
        self._lay_out()

    def snapshot(self) -> CatalogueTrie:
        """The catalogue of this moment, on the device; later updates leave it as it is.

        Without any item left, a search of it finds nothing: all -1.
        """
        return self._snapshot

    def without_removed(self, found: BeamResults) -> BeamResults:
        """Strikes the items that are not listed at this moment; the others close up.

        `num_exact` counts what is left of the proven places: they are the model's top among the
        items of the searched snapshot that are still listed, as they were written then. What was
        added since is for the next search to find. Ask for some more results than are shown.

        Args:
          found: of a search in a snapshot; [batch, num_results].

        Returns:
          The same with NumPy arrays; -1 and -inf at the end for each item struck.
        """
        items, log_probs, num_exact = jax.device_get(tuple(found))
        with self._striking:
            kept = (items >= 0) & self._listed[np.maximum(items, 0)]
        order = np.argsort(~kept, axis=1, kind="stable")
        proven = np.arange(items.shape[1]) < num_exact[:, None]
        return BeamResults(
            np.take_along_axis(np.where(kept, items, -1), order, axis=1),
            np.take_along_axis(np.where(kept, log_probs, -np.inf), order, axis=1),
            (kept & proven).sum(axis=1, dtype=np.int32),
        )

    def add(self, item_indices: Sequence[int] | np.ndarray, item_tokens: np.ndarray) -> None:
        """Lists new items, or removed ones again; the next snapshot has them.

        Args:
          item_indices: [n] int, which items. A table has a row for each index up to the largest,
            so keep them dense. Never give a removed item's index to another one: results of
            searches that began before would be taken for it.
          item_tokens: [n, max_len] int32, how they are written, as for `CatalogueTrie.build`.

        Raises:
          ValueError: an item or its tokens are listed already, or come twice, or a row is
            malformed. Nothing is changed then.
        """
        indices = _checked_indices(item_indices)
        rows = self._checked_tokens(item_tokens)
        if len(indices) != len(rows):
            raise ValueError(
                f"item_indices has {len(indices)} items, item_tokens {len(rows)} rows; give one "
                "row of tokens for each index"
            )
        rows = rows[:, : (rows != PAD_ID).sum(axis=1).max()]
        with self._writing:
            self._check_new(indices, rows)
            self._store(indices, rows)
            if self._insert(indices, rows):
                self._send()
            else:
                self._lay_out()

    def remove(self, item_indices: Sequence[int] | np.ndarray) -> None:
        """Takes items out; from its return on, `without_removed` strikes them from any result.

        Args:
          item_indices: [n] int.

        Raises:
          ValueError: an item is not listed, or comes twice. Nothing is changed then.
        """
        indices = _checked_indices(item_indices)
        with self._writing:
            missing = indices[~self._is_listed(indices)]
            if missing.size:
                raise ValueError(
                    f"item_indices has item {missing[0]}, which is not listed ({missing.size} such "
                    "items); remove only items that were given or added, and each once"
                )
            with self._striking:
                self._listed[indices] = False
            self._take_out(self._rows[indices])
            self._rows[indices] = PAD_ID
            self._send()

    def _checked_tokens(self, item_tokens: np.ndarray) -> np.ndarray:
        rows = checked_rows(item_tokens)
        if rows.max() >= self._vocab_size:
            row = int(rows.max(axis=1).argmax())
            raise ValueError(
                f"item_tokens[{row}] has token {rows[row].max()}, vocab_size is "
                f"{self._vocab_size}; write items with the model's own tokenizer"
            )
        return rows

    def _is_listed(self, indices: np.ndarray) -> np.ndarray:
        return (indices < len(self._listed)) & self._listed.take(indices, mode="clip")

    def _check_new(self, indices: np.ndarray, rows: np.ndarray) -> None:
        present = indices[self._is_listed(indices)]
        if present.size:
            raise ValueError(
                f"item_indices has item {present[0]}, which is listed ({present.size} such items); "
                "remove it first to write it anew"
            )
        last = np.arange(len(rows)), (rows != PAD_ID).sum(axis=1)
        leaves = self._paths(rows)[last]
        taken = np.flatnonzero(leaves >= 0)
        if taken.size:
            item = self._nodes["begin"][leaves[taken[0]]]
            raise ValueError(
                f"item_tokens[{taken[0]}] = {rows[taken[0]].tolist()} is how item {item} is "
                f"written ({taken.size} such rows); give each item a unique name, or remove item "
                f"{item} first"
            )
        order = np.lexsort(rows.T[::-1])
        twice = np.flatnonzero((rows[order[1:]] == rows[order[:-1]]).all(axis=1))
        if twice.size:
            first, second = order[twice[0]], order[twice[0] + 1]
            raise ValueError(
                f"item_tokens has the same tokens {rows[first].tolist()} for the new items "
                f"{indices[first]} and {indices[second]}; give each item a unique name"
            )

    def _store(self, indices: np.ndarray, rows: np.ndarray) -> None:
        """Notes new items in the tables, which grow where they must."""
        height, width = self._rows.shape
        if indices.max() >= height:
            height = max(int(indices.max()) + 1, height + height // 2)
        larger = (height, max(width, rows.shape[1]))
        if larger != self._rows.shape:
            before, self._rows = self._rows, np.zeros(larger, np.int32)  # padding
            self._rows[: len(before), :width] = before
        self._rows[indices, : rows.shape[1]] = rows
        listed = np.pad(self._listed, (0, height - len(self._listed)))
        listed[indices] = True
        with self._striking:
            self._listed = listed

    def _children(self, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The child of each parent by its token, -1 where it has none: [n], [n] -> [n]."""
        low, end = self._nodes["begin"][parents], self._nodes["end"][parents]
        high = end
        for _ in range(int((end - low).max()).bit_length()):
            middle = (low + high) // 2
            below = (low < high) & (self._nodes["tokens"][middle] < tokens)
            low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
        found = (low < end) & (self._nodes["tokens"][low] == tokens)
        return np.where(found, low, -1)

    def _paths(self, rows: np.ndarray) -> np.ndarray:
        """The nodes along each row, -1 from where it leaves the trie: [n, length + 1]."""
        paths = [np.zeros(len(rows), np.int32)]
        for column in rows.T:
            inside = (paths[-1] >= 0) & (column != PAD_ID)
            children = self._children(np.where(inside, paths[-1], 0), column)
            paths.append(np.where(inside, children, -1))
        return np.stack(paths, axis=1)

    def _insert(self, indices: np.ndarray, rows: np.ndarray) -> bool:
        """Makes the nodes of new items, level by level; False where the free end is too short."""
        nodes = np.zeros(len(rows), np.int32)
        for column in rows.T:
            going = np.flatnonzero(column != PAD_ID)
            if not self._add_children(nodes[going], column[going]):
                return False
            nodes[going] = self._children(nodes[going], column[going])
        self._nodes["begin"][nodes] = self._nodes["end"][nodes] = indices
        return True

    def _add_children(self, parents: np.ndarray, tokens: np.ndarray) -> bool:
        """Adds the children that are missing, all at one depth; False where there is no room."""
        missing = self._children(parents, tokens) < 0
        pairs = np.unique(parents[missing].astype(np.int64) << 32 | tokens[missing])
        new = np.zeros(len(pairs), NODE)
        new["tokens"] = pairs & (2**32 - 1)
        parents, counts = np.unique((pairs >> 32).astype(np.int32), return_counts=True)
        if not parents.size:
            return True
        old = self._nodes[parents]
        degree = old["end"] - old["begin"]
        grown = degree + counts.astype(np.int32)
        moves = grown > old["room"] - old["begin"]
        # A first run has no room to spare: most nodes down a path keep one child.
        taken = np.where(moves, np.where(degree > 0, 2 * grown, grown), 0)
        after = self._free + taken.cumsum()
        if after[-1] >= self._nodes.size:  # each run ends below a node, which look-ups may read
            return False
        self._free = int(after[-1])
        begin = np.where(moves, after - taken, old["begin"])
        owners = np.arange(len(parents))
        owners = np.concatenate([np.repeat(owners, degree), np.repeat(owners, counts)])
        children = np.concatenate([self._nodes[_ranges(old["begin"], degree)], new])
        places = _ranges(begin, grown)
        self._nodes[places] = children[np.lexsort((children["tokens"], owners))]
        self._nodes["begin"][parents] = begin
        self._nodes["end"][parents] = begin + grown
        self._nodes["room"][parents] = np.where(moves, after, old["room"])
        self._touched += [parents, places]
        self._note_degree("max_degree" if parents[0] else "root_degree", int(grown.max()))
        return True

    def _take_out(self, rows: np.ndarray) -> None:
        """Takes listed items' leaves out, and every node that has no children left."""
        paths = self._paths(rows)
        for depth in range(rows.shape[1], 0, -1):
            nodes, first = np.unique(paths[:, depth], return_index=True)
            # A leaf on the way is an item's end; another node is empty when its last child went.
            empty = (nodes >= 0) & (self._nodes["begin"][nodes] == self._nodes["end"][nodes])
            parents = np.unique(paths[first[empty], depth - 1])
            begin = self._nodes["begin"][parents]
            degree = self._nodes["end"][parents] - begin
            children = _ranges(begin, degree)
            stays = ~np.isin(children, nodes[empty])
            owners = np.repeat(np.arange(len(parents)), degree)
            degree = np.bincount(owners[stays], minlength=len(parents)).astype(np.int32)
            places = _ranges(begin, degree)
            self._nodes[places] = self._nodes[children[stays]]
            self._nodes["end"][parents] = begin + degree
            self._touched += [parents, places[places != children[stays]]]
        if not self._nodes["end"][0] - self._nodes["begin"][0]:
            # A search looks for EOS where the root's children begin: it finds the root's padding.
            for name in ("begin", "end", "room"):
                self._nodes[name][0] = 0

    def _lay_out(self) -> None:
        """Builds all nodes afresh from the table, in larger arrays where they fill these."""
        indices = np.flatnonzero(self._listed).astype(np.int32)
        trie = CatalogueTrie.build(self._rows[indices])
        capacity = self._nodes.size
        self._free = trie.tokens.size
        if self._free > FULL * capacity:
            capacity = max(2 * capacity, self._free * 3 // 2, LEAST)
        self._nodes = np.zeros(capacity, NODE)
        used = self._nodes[: self._free]
        for name in ARRAYS:
            used[name] = getattr(trie, name)
        used["room"] = trie.end
        leaves = np.flatnonzero(trie.tokens == EOS_ID)
        used["begin"][leaves] = used["end"][leaves] = indices[trie.begin[leaves]]
        self._note_degree("root_degree", trie.root_degree)
        self._note_degree("max_degree", trie.max_degree)
        # Copies: what the device is given may stay the array itself.
        arrays = [np.array(self._nodes[name], order="C") for name in ARRAYS]
        self._publish(jax.device_put(arrays, self._sharding))

    def _send(self) -> None:
        """Scatters the touched nodes over copies of the device's arrays."""
        # Sorts; without indices NumPy hashes, 80 times slower for a million nodes.
        nodes, _ = np.unique(np.concatenate(self._touched), return_index=True)
        # Powers of two, so that few sizes are compiled; what fills up lies outside of the arrays.
        size = max(LEAST, 1 << (len(nodes) - 1).bit_length())
        padding = self._nodes.size + np.arange(size - len(nodes))
        places = np.concatenate([nodes, padding], dtype=np.int32)
        values = self._nodes[np.minimum(places, self._nodes.size - 1)]
        before = [getattr(self._snapshot, name) for name in ARRAYS]
        self._publish(self._scatter(before, places, [values[name] for name in ARRAYS]))

    def _publish(self, arrays: Sequence[jax.Array]) -> None:
        self._touched: list[np.ndarray] = []
        self._snapshot = CatalogueTrie(
            **dict(zip(ARRAYS, arrays, strict=True)),
            **self._degrees,
            max_depth=self._rows.shape[1],
            max_token=self._vocab_size - 1,
        )

    def _note_degree(self, name: str, degree: int) -> None:
        """Rounds up, so that the snapshots' static numbers seldom change; never falls."""
        rounded = min(1 << max(degree - 1, 0).bit_length(), self._vocab_size)
        self._degrees[name] = max(self._degrees[name], rounded)


def _scatter(
    arrays: list[jax.Array], places: jax.Array, values: list[jax.Array]
) -> list[jax.Array]:
    """Each array with its values at `places`, ascending; places outside are left out."""
    return [
        array.at[places].set(new, mode="drop", indices_are_sorted=True, unique_indices=True)
        for array, new in zip(arrays, values, strict=True)
    ]


def _checked_indices(item_indices: Sequence[int] | np.ndarray) -> np.ndarray:
    indices = np.asarray(item_indices)
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu":
        raise ValueError(
            f"item_indices has shape {indices.shape} and dtype {indices.dtype}; pass integers [n] "
            "with at least one item"
        )
    values, counts = np.unique(indices, return_counts=True)
    if values[0] < 0 or values[-1] > np.iinfo(np.int32).max or counts.max() > 1:
        raise ValueError(
            f"item_indices goes from {values[0]} to {values[-1]} and has {values[counts.argmax()]} "
            f"{counts.max()} times; give each item once, by an index from 0 to 2^31 - 1"
        )
    return indices.astype(np.int32)


def _ranges(begin: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Runs of numbers end to end: begin [7, 3], lengths [2, 3] -> [7, 8, 3, 4, 5]."""
    before = lengths.cumsum() - lengths
    return np.repeat(begin - before, lengths) + np.arange(lengths.sum())
