"""Codes by co-occurrence: planted communities, train alone, and every item somewhere."""

import numpy as np
import pytest

from rec_align.data import corpus, sources
from rec_align.indexing.collaborative import collaborative_codes


def histories_of(users):
    offsets = np.cumsum([0, *map(len, users)]).astype(np.int64)
    return np.concatenate(users).astype(np.int32), offsets


def planted(num_communities=2, items_of_one=20, num_users=60, num_strays=1):
    """Users have 6 items of a community (item % num_communities) and some strays."""
    rng = np.random.default_rng(0)
    num_items = num_communities * items_of_one
    users = []
    for user in range(num_users):
        own = rng.choice(items_of_one, 6, replace=False) * num_communities + user % num_communities
        users.append(np.concatenate([own, rng.choice(num_items, num_strays)]))
    return histories_of(users), num_items


def test_two_communities_are_told_apart():
    histories, num_items = planted()
    codes = collaborative_codes(histories, num_items, num_clusters=2, leaf_size=20)
    assert codes.dtype == np.int32 and codes.shape == (40, 1)
    first = codes[:, 0]
    assert len(set(first[0::2])) == len(set(first[1::2])) == 1 and first[0] != first[1]


def test_clusters_are_split_down_to_leaves():
    histories, num_items = planted(num_communities=4, num_users=200)
    codes = collaborative_codes(histories, num_items, num_clusters=4, leaf_size=7)
    for community in range(4):
        assert len(set(codes[community::4, 0])) == 1
    _, sizes = np.unique(codes, axis=0, return_counts=True)
    assert sizes.max() <= 7 and sizes.sum() == num_items
    ended = codes == -1
    assert (ended[:, :-1] <= ended[:, 1:]).all() and not ended[:, 0].any()
    assert codes.max() < 4


def test_items_that_nobody_has_are_a_branch_of_their_own():
    histories, num_items = planted()
    codes = collaborative_codes(histories, num_items + 10, num_clusters=2, leaf_size=3)
    assert codes[num_items:, 0].tolist() == [2] * 10 and codes[:num_items, 0].max() == 1
    # Ten, cut in halves: 5 and 5, then 3, 2, 3 and 2.
    expected = [[2, 0, 0]] * 3 + [[2, 0, 1]] * 2 + [[2, 1, 0]] * 3 + [[2, 1, 1]] * 2
    assert codes[num_items:, :3].tolist() == expected and (codes[num_items:, 3:] == -1).all()


def test_a_small_catalogue_is_one_leaf():
    codes = collaborative_codes(histories_of([[0, 1], [1, 2]]), 4, num_clusters=2, leaf_size=3)
    assert codes.tolist() == [[0], [0], [0], [2]]


def test_items_of_the_same_users_are_cut_too():
    # Nothing tells these apart, and every leaf holds one at most.
    codes = collaborative_codes(histories_of([range(9)] * 3), 9, num_clusters=3, leaf_size=1)
    assert len(set(map(tuple, codes.tolist()))) == 9


def test_the_seed_decides():
    histories, num_items = planted(num_strays=4)
    args = {"num_clusters": 5, "leaf_size": 4}
    codes = collaborative_codes(histories, num_items, **args)
    np.testing.assert_array_equal(codes, collaborative_codes(histories, num_items, **args))
    assert not np.array_equal(codes, collaborative_codes(histories, num_items, **args, seed=3))


def test_what_cannot_be_used_is_refused():
    histories, num_items = planted()
    with pytest.raises(ValueError, match="there are 30 items"):
        collaborative_codes(histories, 30)
    with pytest.raises(ValueError, match="offsets end at"):
        collaborative_codes((histories[0][:-1], histories[1]), num_items)
    with pytest.raises(ValueError, match="num_clusters is 1"):
        collaborative_codes(histories, num_items, num_clusters=1)


@pytest.fixture(scope="module")
def log():
    """[users][time] item numbers; 30 users of 9 items, the last two held out by the splits."""
    rng = np.random.default_rng(1)
    return [rng.choice(20, 9, replace=False).tolist() for _ in range(30)]


def codes_of_a_corpus(log, folder):
    folder.mkdir()
    rows = ["user_id,item_id,timestamp"]
    for user, items in enumerate(log):
        rows += [f"u{user},i{item},{time}" for time, item in enumerate(items)]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    source = sources.Tables(interactions=folder / "log.csv")
    corpus.build_corpus("shop", source, data_dir=folder, k_core=0, report=lambda line: None)
    assert len(corpus.read_catalogue("shop", folder)) == 20
    histories = corpus.train_histories("shop", folder)
    counts = corpus.train_item_counts("shop", folder)
    np.testing.assert_array_equal(np.bincount(histories[0], minlength=20), counts)
    return collaborative_codes(histories, 20, num_clusters=3, leaf_size=4)


def test_only_what_is_in_train_decides(log, tmp_path):
    codes = codes_of_a_corpus(log, tmp_path / "as_it_is")
    held_out_changed = [items[:-2] + items[:-3:-1] for items in log[:15]]
    held_out_changed += [
        items[:-2] + [(item + 1) % 20 for item in items[-2:]] for items in log[15:]
    ]
    assert held_out_changed != log
    same = codes_of_a_corpus(held_out_changed, tmp_path / "held_out_changed")
    np.testing.assert_array_equal(same, codes)
    train_changed = [
        [(item + user % 2) % 20 for item in items[:-2]] + items[-2:]
        for user, items in enumerate(log)
    ]
    other = codes_of_a_corpus(train_changed, tmp_path / "train_changed")
    assert other.shape != codes.shape or (other != codes).any()
