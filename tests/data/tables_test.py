"""User tables in all their forms, and what is said when they are broken."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib

FRAME = pd.DataFrame(
    {
        "user_id": ["u1", "u1", "u2"],
        "item_id": ["7", "8", "7"],
        "timestamp": [1_300_000_000, 1_300_000_001, 1_300_000_002],
        "rating": [5.0, np.nan, 3.5],
    }
)


def write(path, data, zipped=False):
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", ["comma", "tab", "jsonl", "parquet"])
def test_every_form_gives_the_same(tmp_path, form, zipped):
    data = {
        "comma": lambda: FRAME.to_csv(index=False),
        "tab": lambda: FRAME.to_csv(index=False, sep="\t"),
        "jsonl": lambda: FRAME.to_json(orient="records", lines=True),
        "parquet": lambda: FRAME.to_parquet(),
    }[form]()
    read = interactions_lib.read_interactions(write(tmp_path / "no_ending", data, zipped))
    assert [read.user_ids[code] for code in read.users] == ["u1", "u1", "u2"]
    assert [read.item_ids[code] for code in read.items] == ["7", "8", "7"]
    assert read.ticks.tolist() == FRAME["timestamp"].tolist()
    np.testing.assert_array_equal(read.ratings, np.array([5, np.nan, 3.5], np.float32))
    assert read.skipped == ()


@pytest.mark.parametrize(
    "header",
    [
        "userId,movieId,rating,timestamp",
        "reviewerID,asin,overall,unixReviewTime",
        "user_id:token,item_id:token,rating:float,timestamp:float",
        "user_id,parent_asin,rating,timestamp",
    ],
)
def test_aliases(tmp_path, header):
    read = interactions_lib.read_interactions(write(tmp_path / "a.csv", f"{header}\n1,2,3,4\n"))
    assert (read.user_ids, read.item_ids) == (["1"], ["2"])
    assert (read.ratings.tolist(), read.ticks.tolist()) == ([3], [4])


def test_named_columns_encoding_and_dates(tmp_path):
    text = "wer;was;wann\nJosé;a;2014-02-28\nJosé;b;2014-03-01T12:00:00Z\n"
    path = write(tmp_path / "a.csv", text.encode("latin-1"))
    columns = {"user": "wer", "item": "was", "time": "wann"}
    read = interactions_lib.read_interactions(path, columns, encoding="latin-1")
    assert read.user_ids == ["José"]
    assert (read.ticks // read.ticks_per_second).tolist() == [1393545600, 1393675200]


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
def test_time_units(tmp_path, factor):
    text = f"user_id,item_id,timestamp\na,b,{1_300_000_000 * factor + factor // 2}\n"
    read = interactions_lib.read_interactions(write(tmp_path / "a.csv", text))
    assert read.ticks_per_second == factor
    assert read.ticks[0] // factor == 1_300_000_000


def test_reviews_with_line_breaks_keep_line_numbers(tmp_path):
    text = 'user_id,item_id,timestamp,text\na,b,1,"two\nlines"\na,c,soon,x\n'
    with pytest.raises(ValueError, match=r"a.csv, line 4: time 'soon'"):
        interactions_lib.read_interactions(write(tmp_path / "a.csv", text))


HEADER = "user_id,item_id,timestamp,rating\n"
BROKEN = {
    "missing column": ("user_id,item_id\na,b\n", r"line 1: no column for the time.*--time-column"),
    "two columns": ("user_id,asin,movieId,time\na,b,c,1\n", r"asin, movieId.*--item-column"),
    "ragged": (HEADER + "a,b,1,2\na,b,3\n", r"line 3: 3 fields where the header has 4"),
    "rating": (HEADER + "a,b,1,2\n\na,b,3,good\n", r"line 4: rating 'good' is not a number"),
    "time": (HEADER + "a,b,1,2\na,b,then,2\n", r"line 3: time 'then' is not a Unix time"),
    "date": (HEADER + "a,b,2014-01-01,2\na,b,then,2\n", r"line 3: time 'then' is not"),
    "off the scale": (HEADER + "a,b,1,5\na,b,2,8\n", r"line 3: rating 8 is not on the 1-5 scale"),
    "infinite": (HEADER + "a,b,1,inf\n", r"line 2: rating inf is not finite"),
    "units": (
        HEADER + "a,b,1300000000,2\na,c,1300000000000,2\n",
        r"lines 2 and 3: times in seconds and in milliseconds",
    ),
    "empty": (" \n", r"is empty"),
    "no rows": (HEADER, r"no rows"),
    "array": ('[{"user_id": 1}]', r"one JSON array.*jq"),
    "json": ('{"user_id":"a","item_id":"b","timestamp":1}\n{"user_id":\n', r"line 2 is not a JSON"),
    "latin": (b"user_id,item_id,timestamp\nJos\xe9,a,1\n", r"line 2: byte 0xe9.*--encoding"),
    "gzip": (gzip.compress(b"user_id,item_id,timestamp\n" * 99)[:40], r"cut off or damaged"),
    "zip": (b"PK\x03\x04....", r"packed with zip: unpack"),
    "parquet": (b"PAR1 broken", r"damaged Parquet"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_are_refused_with_place_and_mend(tmp_path, case):
    data, message = BROKEN[case]
    with pytest.raises(ValueError, match=message) as caught:
        interactions_lib.read_interactions(write(tmp_path / "bad.file", data))
    assert "bad.file" in str(caught.value)


def test_a_named_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "a.csv", HEADER + "a,b,1,2\n")
    with pytest.raises(ValueError, match=r"no column 'who' .--user-column.; it has: user_id"):
        interactions_lib.read_interactions(path, {"user": "who"})


def test_rows_without_ids_or_times_are_counted(tmp_path):
    text = HEADER + "a,b,1,2\n,b,1,2\na,,1,2\na,b,,2\na,c,2,\n"
    read = interactions_lib.read_interactions(write(tmp_path / "a.csv", text))
    assert read.rows.tolist() == [0, 4]
    (note,) = read.skipped
    assert (note.count, note.where) == (3, "a.csv, lines 3, 4 and 5")


def test_duplicates_are_same_user_item_and_time(tmp_path):
    text = HEADER + "a,b,1,2\na,b,2,2\na,b,1,5\nb,b,1,2\n"
    read = interactions_lib.read_interactions(write(tmp_path / "a.csv", text)).without_duplicates()
    assert read.rows.tolist() == [0, 1, 3]
    assert (read.skipped[0].count, read.skipped[0].where) == (1, "a.csv, line 4")


def test_items_whose_keys_come_late_and_ids_repeat(tmp_path):
    records = [{"item_id": i, "title": f"t{i}", "categories": [["A"], "B"]} for i in range(200)]
    records += [{"item_id": 200, "key_phrase": "late", "brand": "Unknown"}, {"item_id": 3}]
    lines = "\n".join(json.dumps(record) for record in records)
    items = items_lib.read_items(write(tmp_path / "items.jsonl", lines))
    assert len(items) == 201
    assert items.key_phrases[200] == "late" and items.brands[200] == ""
    assert items.titles[3] == "t3" and items.categories[3] == ("A", "B")
    assert (items.skipped[0].count, items.skipped[0].where) == (1, "items.jsonl, line 202")


def test_parquet_types_of_pandas(tmp_path):
    frame = FRAME.astype({"user_id": "category", "item_id": "int64"})
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s")
    read = interactions_lib.read_interactions(write(tmp_path / "a", frame.to_parquet()))
    assert (list(read.user_ids), list(read.item_ids)) == (["u1", "u2"], ["7", "8"])
    assert (read.ticks // read.ticks_per_second).tolist() == FRAME["timestamp"].tolist()
    nested = frame.assign(item_id=[["7"], ["8"], ["7"]])
    with pytest.raises(ValueError, match="'item_id' for the item holds lists"):
        interactions_lib.read_interactions(write(tmp_path / "b", nested.to_parquet()))
