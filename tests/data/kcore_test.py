import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rec_align.data import kcore

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


def naive_k_core(pairs, k):
    """Removes one offending row at a time."""
    kept = list(range(len(pairs)))
    while True:
        users = collections.Counter(pairs[i][0] for i in kept)
        items = collections.Counter(pairs[i][1] for i in kept)
        bad = [i for i in kept if users[pairs[i][0]] < k or items[pairs[i][1]] < k]
        if not bad:
            return kept
        kept.remove(bad[0])


@given(PAIRS, st.integers(0, 5))
def test_equals_removing_one_row_at_a_time(pairs, k):
    users, items = np.array(pairs).T
    assert np.flatnonzero(kcore.k_core(users, items, k)).tolist() == naive_k_core(pairs, k)


def test_iterates():
    # User 1 falls, which leaves item 0 with one row, which leaves user 0 with one row.
    assert not kcore.k_core(np.array([0, 0, 1]), np.array([0, 1, 0]), 2).any()


def test_negative_k_is_refused():
    with pytest.raises(ValueError, match="k_core is -1"):
        kcore.k_core(np.array([0]), np.array([0]), -1)
