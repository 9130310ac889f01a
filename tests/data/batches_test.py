"""A log read in many small batches gives what it gives at once, and errors keep their lines."""

import gzip

import numpy as np
import pandas as pd
import pytest

from rec_align.data import corpus, sources, table_bytes, table_forms, user_parts
from rec_align.data import interactions as interactions_lib
from rec_align.data.catalogue import hash_order


def make_small(monkeypatch):
    """Batches of a few rows: CSV blocks of 64 bytes, Parquet batches of 3 rows."""
    monkeypatch.setattr(table_forms, "_BLOCK_BYTES", 256)
    monkeypatch.setattr(table_forms, "_BATCH_ROWS", 3)
    monkeypatch.setattr(table_bytes, "_READ_BYTES", 7)


@pytest.fixture
def small(monkeypatch):
    make_small(monkeypatch)


def frame(num_rows=400):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": [f"\u00fcser {u}" for u in rng.integers(0, 30, num_rows)],
            "item_id": [f"{' ' * (i % 2)}i{i // 2}" for i in rng.integers(0, 40, num_rows)],
            "timestamp": 1_300_000_000 + rng.integers(0, 50, num_rows),
            "rating": rng.integers(1, 6, num_rows),
        }
    )


def write(path, form):
    log = frame()
    if form == "parquet":
        log.to_parquet(path)
    else:
        text = log.to_csv(index=False).replace("i7,", ",").encode("utf-8-sig")
        path.write_bytes(gzip.compress(text) if form == "gzip" else text)
    return path


@pytest.mark.parametrize("form", ["csv", "gzip", "parquet"])
def test_small_batches_give_the_same_corpus(tmp_path, monkeypatch, form):
    source = sources.Tables(interactions=write(tmp_path / "log", form))

    def files(folder):
        manifest, _ = corpus.build_corpus(
            "shop", source, data_dir=folder, k_core=3, vocab_size=200, report=lambda line: None
        )
        found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return manifest, found

    at_once = files(tmp_path / "a")
    make_small(monkeypatch)
    assert len(list(interactions_lib.batches(interactions_lib.open_log(source.interactions)))) > 50
    assert files(tmp_path / "b") == at_once
    assert at_once[0]["skipped"]


def test_rows_and_lines_go_on_from_batch_to_batch(tmp_path, small):
    lines = ["user_id,item_id,timestamp,rating", *[f"u{i},i{i % 7},{i},3" for i in range(200)]]
    long = "x" * 150  # more than a small block
    lines[90], lines[120], lines[151] = f"u,{long},89,3", ",i,119,3", "u150,i3,150,9"
    (tmp_path / "log.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"log.csv, line 152: rating 9 is not on the 1-5 scale"):
        interactions_lib.read_interactions(tmp_path / "log.csv")
    lines[151] = lines[150]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    read = interactions_lib.read_interactions(tmp_path / "log.csv").without_duplicates()
    assert read.rows.tolist() == [row for row in range(200) if row not in (119, 150)]
    assert long in read.item_ids
    assert [note.where for note in read.skipped] == ["log.csv, line 121", "log.csv, line 152"]
    lines[180] = "a,b,3"
    (tmp_path / "log.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="line 181: 3 fields where the header has 4"):
        interactions_lib.read_interactions(tmp_path / "log.csv")


@pytest.mark.parametrize("late", ["1300000000000000001", "nan"])
def test_one_late_time_decides_how_all_are_read(tmp_path, small, late):
    exact = 1300000000000000001  # no double is that
    rows = [f"u{i},i,{exact}" for i in range(60)] + [f"u60,i,{late}"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    read = interactions_lib.read_interactions(tmp_path / "log.csv")
    assert set(read.ticks.tolist()) == {int(float(exact)) if late == "nan" else exact}


def test_a_late_date_among_numbers_is_refused(tmp_path, small):
    rows = [f"u{i},i,1300000000" for i in range(60)] + ["u60,i,2014-01-01"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    with pytest.raises(ValueError, match=r"line 2: time '1300000000' is not.*as other rows have"):
        interactions_lib.read_interactions(tmp_path / "log.csv")


def test_bad_bytes_far_in_are_named(tmp_path, small):
    text = b"user_id,item_id,timestamp\n" + "\u00fc,a,1\n".encode() * 20 + b"\xe9,a,1\n"
    (tmp_path / "log.csv").write_bytes(text)
    offset = text.index(b"\xe9,")
    with pytest.raises(ValueError, match=f"line 22: byte 0xe9 at offset {offset} is not utf-8"):
        interactions_lib.read_interactions(tmp_path / "log.csv")


def test_equal_rows_are_found_and_no_others():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 8, 3000) * scale for scale in (1, 1, 10**12)]
    expected = pd.DataFrame(dict(enumerate(columns))).duplicated().tolist()
    assert interactions_lib._is_repeat(*columns).tolist() == expected
    assert any(expected) and not all(expected)


def test_parts_have_the_users_in_order_of_their_hash(tmp_path, small):
    path = write(tmp_path / "log.parquet", "parquet")
    parts = user_parts.UserParts(
        tmp_path, interactions_lib.batches(interactions_lib.open_log(path))
    )
    log = frame()
    found = [user for part in parts for user in log.user_id[np.sort(part.rows)].unique()]
    assert sorted(found) == sorted(log.user_id.unique())  # each user in one part
    by_rank = [
        log.user_id[part.rows[part.users == rank][0]]
        for part in parts
        for rank in np.unique(part.users)
    ]
    assert by_rank == hash_order(log.user_id.unique())
