"""The live trie against tries that are built afresh of the items listed."""

import dataclasses
import itertools
import threading

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.decoding.beam_search import BeamResults, beam_search
from rec_align.decoding.live_trie import LiveTrie
from rec_align.decoding.trie import ARRAYS, CatalogueTrie

VOCAB = 12
TEXTS = st.lists(st.integers(2, 6), max_size=4).map(tuple)
FIRST = [(5,), (5, 6), (2, 2, 3, 3)]


@pytest.fixture(scope="module")
def model(toy_model):
    return toy_model(seed=3, vocab=VOCAB, sharpness=1.0)


@pytest.fixture
def make_search(model):
    def make(beam_size, num_results):
        sizes = {"batch_size": model.batch, "beam_size": beam_size, "num_results": num_results}
        return jax.jit(lambda trie: beam_search(model.step_fn, model.cache(), trie, **sizes))

    return make


def built_afresh(listed, padded, like: CatalogueTrie) -> CatalogueTrie:
    """Of {item: tokens}; as large as another trie, so that a search is compiled once for both."""
    trie = CatalogueTrie.build(padded(list(listed.values())))
    leaves = trie.tokens == 1
    trie.begin[leaves] = trie.end[leaves] = np.array(list(listed))[trie.begin[leaves]]
    larger = jax.tree.map(lambda array: np.pad(array, (0, like.tokens.size - array.size)), trie)
    arrays = {name: getattr(larger, name) for name in ARRAYS}
    return jax.device_put(dataclasses.replace(like, **arrays))


def paths_of(trie: CatalogueTrie) -> dict[int, tuple[int, ...]]:
    """{item: tokens} by going everywhere; fails at a dead end."""
    trie = jax.device_get(trie)
    found, todo = {}, [(0, ())]
    while todo:
        node, tokens = todo.pop()
        children = range(trie.begin[node], trie.end[node])
        if tokens and tokens[-1] == 1:
            assert not children
            found[int(trie.begin[node])] = tokens[:-1]
            continue
        assert children, f"no item under {tokens}"
        following = [int(trie.tokens[child]) for child in children]
        assert following == sorted(set(following))
        todo += [(child, (*tokens, int(trie.tokens[child]))) for child in children]
    return found


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_random_series_equal_tries_built_afresh(padded, make_search):
    search = make_search(beam_size=3, num_results=5)

    @settings(max_examples=25, deadline=None)
    @given(series=st.lists(st.lists(TEXTS, min_size=1, max_size=5, unique=True), max_size=6))
    def run(series):
        live = LiveTrie(padded(FIRST), vocab_size=VOCAB)
        listed = dict(enumerate(FIRST))
        for texts in series:  # those that are listed are taken out, the others come in
            gone = [item for item, text in listed.items() if text in texts]
            new = [text for text in texts if text not in listed.values()]
            for item in gone:
                del listed[item]
            # Indices are used again, also with other tokens.
            free = [item for item in range(99) if item not in listed][: len(new)]
            if gone:
                live.remove(gone)
            if new:
                live.add(free, padded(new))
            listed |= dict(zip(free, new, strict=True))
            trie = live.snapshot()
            if listed:
                assert paths_of(trie) == listed
                assert_same(search(trie), search(built_afresh(listed, padded, trie)))
            else:
                assert (search(trie).item_indices == -1).all()
            host = jax.device_get(trie)
            for text in texts:
                number = next((item for item, other in listed.items() if other == text), -1)
                assert host.walk([*text, 1]) == number

    run()
    # The root's degree and the others' go up to 2, 4 and 8.
    assert search._cache_size() <= 3 * 3


def test_many_updates_compile_a_search_once(catalogue, make_search):
    rows = catalogue(seed=0, num_items=300)
    search = make_search(beam_size=4, num_results=6)
    live = LiveTrie(rows[:200], vocab_size=VOCAB)
    search(live.snapshot())
    for start in range(0, 100, 4):
        live.remove(range(start, start + 4))
        search(live.snapshot())
        live.add(range(200 + start, 204 + start), rows[200 + start : 204 + start])
        found = search(live.snapshot())
        assert not set(np.ravel(found.item_indices)) & set(range(start + 4))
    assert search._cache_size() == 1
    expected = {item: tuple(row[row > 1].tolist()) for item, row in enumerate(rows) if item >= 100}
    assert paths_of(live.snapshot()) == expected


def test_it_grows_past_its_capacity(catalogue, padded, make_search):
    rows = catalogue(seed=1, num_items=3000)
    search = make_search(beam_size=4, num_results=6)
    live = LiveTrie(rows[:20], vocab_size=VOCAB)
    sizes = [live.snapshot().tokens.size]
    for index in range(20, 350):  # one by one past the first capacity
        live.add([index], rows[index : index + 1])
    for start, stop in itertools.pairwise([350, 360, 1000, 3000]):
        live.add(range(start, stop), rows[start:stop])
        trie = live.snapshot()
        sizes.append(trie.tokens.size)
        listed = {item: tuple(row[row > 1].tolist()) for item, row in enumerate(rows[:stop])}
        assert paths_of(trie) == listed
        assert_same(search(trie), search(built_afresh(listed, padded, trie)))
    assert sizes == sorted(sizes) and len(set(sizes)) > 2
    assert sizes[-1] < 3 * CatalogueTrie.build(rows).tokens.size


def test_what_is_freed_is_used_again(catalogue):
    rows = catalogue(seed=2, num_items=1500)
    live = LiveTrie(rows[:500], vocab_size=VOCAB)
    size = live.snapshot().tokens.size
    for turn in range(30):  # many times what the free end holds
        old, new = np.arange(500) + turn % 3 * 500, np.arange(500) + (turn + 1) % 3 * 500
        live.add(new, rows[new])
        live.remove(old)
        expected = {int(item): tuple(rows[item][rows[item] > 1].tolist()) for item in new}
        assert paths_of(live.snapshot()) == expected
    assert live.snapshot().tokens.size < 4 * size


def test_an_old_snapshot_stays_as_it_was(catalogue, make_search):
    rows = catalogue(seed=4, num_items=60)
    search = make_search(beam_size=60, num_results=60)
    live = LiveTrie(rows[:40], vocab_size=VOCAB)
    old = live.snapshot()
    before, paths = jax.device_get(search(old)), paths_of(old)
    live.remove(range(0, 40, 2))
    live.add(range(40, 60), rows[40:])
    assert_same(search(old), before)
    assert paths_of(old) == paths
    struck = live.without_removed(search(old))
    assert (struck.item_indices[:, :20] % 2 == 1).all() and (struck.item_indices[:, 20:] < 0).all()
    kept = (before.item_indices >= 0) & (before.item_indices % 2 == 1)
    for user, row in enumerate(struck.log_probs):
        np.testing.assert_array_equal(row[:20], before.log_probs[user, kept[user]])
    np.testing.assert_array_equal(struck.num_exact, 20)


def test_striking_counts_what_is_left_of_the_proof(padded):
    live = LiveTrie(padded([(2,), (3,), (4,), (5,)]), vocab_size=VOCAB)
    live.remove([1, 2])
    found = BeamResults(
        item_indices=np.array([[1, 0, 2, 3, -1], [3, 0, 1, -1, -1]], np.int32),
        log_probs=np.array([[-1, -2, -3, -4, -np.inf], [-1, -2, -3, -np.inf, -np.inf]], "f"),
        num_exact=np.array([3, 1], np.int32),
    )
    struck = live.without_removed(found)
    assert struck.item_indices.tolist() == [[0, 3, -1, -1, -1], [3, 0, -1, -1, -1]]
    none = -np.inf
    assert struck.log_probs.tolist() == [[-2, -4, none, none, none], [-1, -2, none, none, none]]
    assert struck.num_exact.tolist() == [1, 1]
    assert [array.dtype for array in struck] == [np.int32, np.float32, np.int32]


def test_without_the_last_item_nothing_is_found(padded, make_search):
    search = make_search(beam_size=2, num_results=3)
    live = LiveTrie(padded([(), (5, 6)]), vocab_size=VOCAB)
    live.remove([0, 1])
    found = search(live.snapshot())
    assert (np.asarray(found.item_indices) == -1).all() and (np.asarray(found.num_exact) == 0).all()
    live.add([7], padded([(5, 6)]))
    assert paths_of(live.snapshot()) == {7: (5, 6)}
    found = search(live.snapshot())
    np.testing.assert_array_equal(found.item_indices, [[7, -1, -1]] * 3)


def test_a_longer_item_makes_the_trie_deeper(padded):
    live = LiveTrie(np.array([[3, 1, 0, 0]]), vocab_size=VOCAB)
    assert live.snapshot().max_depth == 4
    live.add([1], np.array([[3, 4, 1, 0, 0, 0, 0]]))
    assert live.snapshot().max_depth == 4
    live.add([2], padded([(3, 4, 5, 6, 7)]))
    assert live.snapshot().max_depth == 6
    assert paths_of(live.snapshot()) == {0: (3,), 1: (3, 4), 2: (3, 4, 5, 6, 7)}


def test_a_snapshot_can_be_saved(padded, tmp_path):
    live = LiveTrie(padded(FIRST), vocab_size=VOCAB)
    live.remove([1])
    live.add([9], padded([(5, 7)]))
    live.snapshot().save(tmp_path)
    assert paths_of(CatalogueTrie.load(tmp_path)) == {0: (5,), 2: (2, 2, 3, 3), 9: (5, 7)}


@pytest.mark.parametrize(
    ("indices", "rows", "error"),
    [
        ([3, 1], [[7, 1], [8, 1]], "has item 1, which is listed"),
        ([3, 3], [[7, 1], [8, 1]], "has 3 2 times"),
        ([-1, 3], [[7, 1], [8, 1]], "goes from -1 to 3"),
        ([2**31, 3], [[7, 1], [8, 1]], "goes from 3 to 2147483648"),
        ([3.0, 4.0], [[7, 1], [8, 1]], "dtype float64"),
        ([3], [[7, 1], [8, 1]], "1 items, item_tokens 2 rows"),
        ([3, 4], [[7, 1, 0], [5, 6, 1]], r"item_tokens\[1\] = \[5, 6, 1\] is how item 1 is"),
        ([3, 4], [[7, 1], [7, 1]], r"tokens \[7, 1\] for the new items 3 and 4"),
        ([3, 4], [[7, 1], [8, 9]], r"item_tokens\[1\] = \[8, 9\]"),
        ([3, 4], [[7, 1], [12, 1]], r"item_tokens\[1\] has token 12, vocab_size is 12"),
    ],
)
def test_a_refused_add_changes_nothing(indices, rows, error, padded):
    live = LiveTrie(padded(FIRST), vocab_size=VOCAB)
    before = live.snapshot()
    with pytest.raises(ValueError, match=error):
        live.add(indices, np.array(rows))
    assert live.snapshot() is before
    live.add([3, 4], padded([(7,), (8,)]))
    assert paths_of(live.snapshot()) == dict(enumerate([*FIRST, (7,), (8,)]))


@pytest.mark.parametrize(
    ("indices", "error"),
    [
        ([0, 1], "has item 1, which is not listed"),
        ([0, 3], "has item 3, which is not listed"),
        ([0, 0], "has 0 2 times"),
        ([], "at least one item"),
    ],
)
def test_a_refused_removal_changes_nothing(indices, error, padded):
    live = LiveTrie(padded(FIRST), vocab_size=VOCAB)
    live.remove([1])
    before = live.snapshot()
    with pytest.raises(ValueError, match=error):
        live.remove(indices)
    assert live.snapshot() is before
    found = BeamResults(np.array([[0, 1, 2]]), np.zeros((1, 3)), np.array([3]))
    assert live.without_removed(found).item_indices.tolist() == [[0, 2, -1]]


def test_searching_while_others_add_and_remove(catalogue, model, make_search):
    rows = catalogue(seed=5, num_items=80)
    search = make_search(beam_size=80, num_results=80)
    scores = model.brute_force(rows)
    parts = np.arange(80).reshape(2, 40)  # each writer's items; once removed they stay out
    initial = np.concatenate([part[:20] for part in parts])
    others = np.setdiff1d(np.arange(80), initial)
    live = LiveTrie(rows, vocab_size=VOCAB)
    live.remove(others)
    search(live.snapshot())
    moments = [[set(part[:20].tolist())] for part in parts]
    gone: set[int] = set()

    def write(part, moments):
        for start in range(0, 20, 2):
            new, old = part[20 + start : 22 + start].tolist(), part[start : start + 2].tolist()
            live.add(new, rows[new])
            moments.append(moments[-1] | set(new))
            live.remove(old)
            gone.update(old)
            moments.append(moments[-1] - set(old))

    writers = [
        threading.Thread(target=write, args=each) for each in zip(parts, moments, strict=True)
    ]
    for writer in writers:
        writer.start()
    searched = []
    while not searched or any(writer.is_alive() for writer in writers):
        found = jax.device_get(search(live.snapshot()))
        removed = gone.copy()
        searched.append((found, removed, live.without_removed(found)))
    for writer in writers:
        writer.join()

    for found, removed, struck in searched:
        for user in range(model.batch):
            there, left = (set(each.item_indices[user].tolist()) - {-1} for each in (found, struck))
            assert not left & removed
            for part, states in zip(parts, moments, strict=True):
                mine = there & set(part.tolist())
                assert mine in states
                assert any(left & set(part.tolist()) == mine & state for state in states)
            count = len(left)
            items = struck.item_indices[user, :count]
            assert struck.num_exact[user] == count
            assert (np.diff(struck.log_probs[user, :count]) <= 0).all()
            np.testing.assert_allclose(
                struck.log_probs[user, :count], scores[user, items], atol=1e-5
            )
    assert paths_of(live.snapshot()).keys() == set.union(*(states[-1] for states in moments))
