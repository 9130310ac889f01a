"""The trie against the rows that it was built from."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.decoding.trie import CatalogueTrie

ITEMS = st.lists(st.lists(st.integers(2, 6), max_size=5).map(tuple), min_size=1, unique=True)


def rows_of(items):
    rows = np.zeros((len(items), 6), np.int32)
    for row, tokens in zip(rows, items, strict=True):
        row[: len(tokens) + 1] = [*tokens, 1]
    return rows


def test_the_worked_example_of_the_docstring():
    trie = CatalogueTrie.build(np.array([[5, 1, 0], [5, 6, 1]]))
    np.testing.assert_array_equal(trie.begin, [1, 2, 0, 4, 1])
    np.testing.assert_array_equal(trie.end, [2, 4, 0, 5, 1])
    np.testing.assert_array_equal(trie.tokens, [0, 5, 1, 6, 1])
    assert (trie.max_depth, trie.root_degree, trie.max_degree, trie.max_token) == (3, 1, 2, 6)
    assert all(array.dtype == np.int32 for array in jax.tree.leaves(trie))


@settings(max_examples=60, deadline=None)
@given(items=ITEMS, others=st.lists(st.lists(st.integers(2, 7), max_size=5).map(tuple)))
def test_it_holds_exactly_the_items(items, others):
    trie = CatalogueTrie.build(rows_of(items))
    for index, tokens in enumerate(items):
        assert trie.walk([*tokens, 1]) == index
    for tokens in set(others) - set(items):
        assert trie.walk([*tokens, 1]) == -1
    # The nodes are the distinct prefixes of the rows, counted without the trie.
    prefixes = {(*t, 1)[:end] for t in items for end in range(len(t) + 2)}
    fans = {p: len({q for q in prefixes if len(q) == len(p) + 1 and q[:-1] == p}) for p in prefixes}
    assert trie.tokens.size == len(prefixes)
    assert trie.root_degree == fans.pop(())
    assert trie.max_degree == max(fans.values())
    assert trie.max_depth == max(map(len, items)) + 1
    for begin, end in zip(trie.begin, trie.end, strict=True):  # a leaf's run is empty
        assert (np.diff(trie.tokens[begin:end]) > 0).all()


def test_walk_wants_a_whole_item(padded):
    trie = CatalogueTrie.build(padded([(5, 6), (5,)]))
    assert trie.walk(np.array([5, 6, 1, 0, 0])) == 0
    assert trie.walk([5, 6]) == -1  # cut before EOS
    assert trie.walk([5, 1, 6]) == -1  # text after EOS
    assert trie.walk([]) == -1


def test_save_and_load(catalogue, tmp_path):
    rows = catalogue(seed=0)
    built = CatalogueTrie.build(rows)
    built.save(tmp_path / "trie")
    loaded = CatalogueTrie.load(tmp_path / "trie")
    assert isinstance(loaded.tokens, np.memmap)
    assert jax.tree.structure(loaded) == jax.tree.structure(built)
    jax.tree.map(np.testing.assert_array_equal, loaded, built)
    assert [loaded.walk(row) for row in rows] == list(range(len(rows)))


def test_load_refuses_files_of_two_tries(catalogue, tmp_path):
    CatalogueTrie.build(catalogue(seed=0)).save(tmp_path)
    np.save(tmp_path / "tokens.npy", np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="files of one trie"):
        CatalogueTrie.load(tmp_path)
    (tmp_path / "tokens.npy").unlink()
    with pytest.raises(ValueError, match="files of one trie"):
        CatalogueTrie.load(tmp_path)


def test_duplicates_are_named(padded):
    rows = padded([(4,), (5, 6), (3,), (5, 6), (4, 4)])
    with pytest.raises(ValueError, match=r"tokens \[5, 6, 1\] for items 1 and 3"):
        CatalogueTrie.build(rows)


@pytest.mark.parametrize(
    "row",
    [
        [3, 4, 5],  # no EOS
        [3, 1, 5],  # text after EOS
        [3, 1, 1],  # a second EOS
        [0, 3, 1],  # padding on the left
        [0, 1, 3],
        [-3, 1, 0],
        [0, 0, 0],
    ],
)
def test_malformed_rows_are_named(row):
    with pytest.raises(ValueError, match=r"item_tokens\[1\] = "):
        CatalogueTrie.build(np.array([[7, 1, 0], row]))


@pytest.mark.parametrize("item_tokens", [np.zeros((0, 4), int), np.zeros(3, int), np.ones((2, 2))])
def test_wrong_arrays_are_refused(item_tokens):
    with pytest.raises(ValueError, match="item_tokens has shape"):
        CatalogueTrie.build(item_tokens)


def test_a_hundred_thousand_items():
    rng = np.random.default_rng(0)
    rows = np.ones((100_000, 6), np.int32)
    rows[:, :4] = rng.integers(2, 5000, (100_000, 4))
    rows[:, 4] = np.arange(100_000) % 1000 + 2  # shared suffixes are no shared nodes
    _, kept = np.unique(rows, axis=0, return_index=True)
    rows = rows[np.sort(kept)]
    trie = CatalogueTrie.build(rows)
    assert (trie.tokens == 1).sum() == len(rows)
    assert [trie.walk(rows[i]) for i in range(0, len(rows), 997)] == [*range(0, len(rows), 997)]
    # STATIC's 90 MB per million items is the mark; ours is 12 bytes a node.
    assert sum(array.nbytes for array in jax.tree.leaves(trie)) < 60 * rows.size
