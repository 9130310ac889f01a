import numpy as np
import pytest

from rec_align.data import splits


def histories(users, items, ticks, **kwargs):
    ratings = np.full(len(users), np.nan, np.float32)
    return splits.to_histories(
        np.array(users), np.array(items), np.array(ticks), ratings, num_users=3, **kwargs
    )


def test_prefixes_of_each_split():
    # User 0 has 5 interactions, user 1 has 2, user 2 has 3.
    made = histories([0] * 5 + [1] * 2 + [2] * 3, range(10), range(10))
    assert made.lengths("train").tolist() == [3, 2, 1]
    assert made.lengths("validation").tolist() == [4, 0, 2]
    assert made.lengths("test").tolist() == [5, 0, 3]
    with pytest.raises(ValueError, match="choose one of train, validation, test"):
        made.lengths("dev")


def test_order_is_by_time_then_by_row():
    made = histories([1, 0, 1, 1, 2], [7, 8, 5, 6, 9], [30, 1, 20, 20, 4])
    assert made.item_indices.tolist() == [8, 5, 6, 7, 9]
    assert made.offsets.tolist() == [0, 1, 4, 5]


def test_order_keeps_milliseconds_and_storage_has_seconds():
    made = histories([0, 0], [1, 2], [1_999, 1_001], ticks_per_second=1000)
    assert made.item_indices.tolist() == [2, 1]
    assert made.timestamps.tolist() == [1, 1]


def test_train_item_counts_leave_out_targets():
    made = histories([0] * 4 + [1] * 2, [0, 0, 1, 2, 2, 3], range(6))
    assert made.train_item_counts(5).tolist() == [2, 0, 1, 1, 0]
