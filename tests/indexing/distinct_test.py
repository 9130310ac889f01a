"""Further codes: every item its own sequence, and none changes when others come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rec_align.indexing.distinct import distinct, further_codes

# Few values: most rows meet others.
CODES = hnp.arrays(np.int32, st.tuples(st.integers(0, 30), st.just(2)), elements=st.integers(-1, 2))


def test_a_worked_example():
    codes = np.array([[3, 1], [4, 0], [3, 1], [3, -1], [3, 1]], np.int32)
    expected = [[3, 1, 0], [4, 0, -1], [3, 1, 1], [3, -1, -1], [3, 1, 2]]
    assert distinct(codes).tolist() == expected
    known = np.array([[3, 1, -1], [4, 0, 0], [4, 0, 2]], np.int32)
    new = np.array([[3, 1], [4, 0], [5, 5], [4, 0], [3, 1], [5, 5]], np.int32)
    assert further_codes(known, new).tolist() == [
        [3, 1, 0], [4, 0, 1], [5, 5, -1], [4, 0, 3], [3, 1, 1], [5, 5, 0],
    ]  # fmt: skip


@given(CODES)
def test_rows_are_unique_and_begin_with_the_codes(codes):
    result = distinct(codes)
    assert result.dtype == np.int32 and result.shape == (len(codes), 3)
    assert len(set(map(tuple, result.tolist()))) == len(codes)
    np.testing.assert_array_equal(result[:, :2], codes)
    rows = list(map(tuple, codes.tolist()))
    for row in set(rows):
        further = result[[other == row for other in rows], 2].tolist()
        assert further == ([-1] if len(further) == 1 else list(range(len(further))))


@given(CODES, CODES, CODES)
def test_newcomers_never_meet_the_known_ones(codes, new, newer):
    known = distinct(codes)
    for batch in (new, newer):
        added = further_codes(known, batch)
        np.testing.assert_array_equal(added[:, :2], batch)
        known = np.concatenate([known, added])
    assert len(set(map(tuple, known.tolist()))) == len(known)
    # One at a time or all at once: the same.
    np.testing.assert_array_equal(
        known[len(codes) :], further_codes(distinct(codes), np.concatenate([new, newer]))
    )


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="got the shape"):
        distinct(np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="must have one more"):
        further_codes(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.int32))
