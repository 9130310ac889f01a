"""The reader of Amazon's files of 2014: lines as they are published, broken lines, flat memory."""

import gzip
import json
import math
import tracemalloc

import pytest

from rec_align.data import amazon2014, catalogue, corpus, interactions, items, sources


def review(user, item, time, **more):
    """A line as in the public files."""
    record = {"reviewerID": user, "asin": item, "reviewerName": "J", "helpful": [1, 2]}
    record |= {"reviewText": f"{user} on {item}", "overall": 5.0, "summary": "Ok"}
    record |= {"unixReviewTime": time, "reviewTime": "02 28, 2014"}
    return json.dumps(record | more)


def log():
    return [review(f"u{u}", f"i{i}", 100 * u + i) for u in range(6) for i in range(5)]


def write(path, lines, pack=True):
    data = "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n"
    path.write_bytes(gzip.compress(data) if pack else data)
    return path


def build(source, tmp_path):
    return corpus.build_corpus(
        "shop", source, data_dir=tmp_path / "out", vocab_size=300, report=lambda line: None
    )[0]


@pytest.mark.parametrize("pack", [True, False])
def test_a_review_is_read(tmp_path, pack):
    lines = [review("u1", " i1 ", 7, reviewText="Tom\u2019s"), "", review("u2", "i2", 8, overall=2)]
    lines += [json.dumps({"reviewerID": "u3", "asin": "i3", "unixReviewTime": 9})]
    found = dict(amazon2014.read_reviews(write(tmp_path / "reviews.json", lines, pack)))
    assert found[0] == ("u1", "i1", 7, 5.0, "Tom\u2019s", "Ok")
    assert found[2].rating == 2 and sorted(found) == [0, 2, 3]
    assert math.isnan(found[3].rating) and found[3].text == found[3].summary == ""


BROKEN = {
    review("u9", "i1", 1)[:-9]: interactions.NO_OBJECT,
    "[1, 2]": interactions.NO_OBJECT,
    '{"asin": "caf\udce9"}': interactions.NO_OBJECT,
    "{'a': " + "[" * 9999: interactions.NO_OBJECT,
    review("", "i1", 1): interactions.NOT_WHOLE,
    review("u9", None, 1): interactions.NOT_WHOLE,
    review("u9", "i1", None): interactions.NOT_WHOLE,
    review("u9", "i1", "02 28, 2014"): interactions.NOT_WHOLE,
    review("u9", "i1", 10**12): interactions.NOT_WHOLE,
    review("u9", "i1", 1, overall=9): interactions.OFF_SCALE,
    review("u9", "i1", 1, overall="five"): interactions.OFF_SCALE,
    review("u9", "i1", 1, overall=math.nan): interactions.OFF_SCALE,
}


def test_broken_lines_are_counted_and_located(tmp_path):
    lines = [*log()[:3], "", *BROKEN, *log()[3:], log()[0]]
    source = sources.Amazon2014(reviews_path=write(tmp_path / "reviews.json.gz", lines))
    reasons = [why for _, why in amazon2014.read_reviews(source.reviews_path) if type(why) is str]
    assert reasons == list(BROKEN.values())
    manifest = build(source, tmp_path)
    assert [(note["reason"], note["count"], note["where"]) for note in manifest["skipped"]] == [
        (interactions.NO_OBJECT, 4, "reviews.json.gz, lines 5, 6, 7 and 8"),
        (interactions.NOT_WHOLE, 5, "reviews.json.gz, lines 9, 10, 11, 12 and 13"),
        (interactions.OFF_SCALE, 3, "reviews.json.gz, lines 14, 15 and 16"),
        (interactions.REPEATED, 1, "reviews.json.gz, line 44"),
    ]
    assert manifest["num_rows_read"] == len(lines) - 1
    assert manifest["after_k_core"] == {"users": 6, "items": 5, "interactions": 30}


def test_small_batches_give_the_same_notes_and_rows(tmp_path, monkeypatch):
    path = write(tmp_path / "reviews.json.gz", [*log()[:3], "", *BROKEN, *log()[3:]])
    (at_once,) = amazon2014.batches(path)
    monkeypatch.setattr(amazon2014, "_BATCH_LINES", 2)
    parts = list(amazon2014.batches(path))
    assert len(parts) == 21 and [row for part in parts for row in part.rows] == [*at_once.rows]
    notes = interactions.merge_skipped(note for part in parts for note in part.skipped)
    assert [(note.count, note.where) for note in notes] == [
        (note.count, note.where) for note in at_once.skipped
    ]


def test_a_file_that_is_cut_off_is_read_to_there_and_refused(tmp_path):
    path = write(tmp_path / "reviews.json.gz", log() * 999)
    path.write_bytes(path.read_bytes()[:-100])
    assert next(amazon2014.read_reviews(path))[1].user_id == "u0"  # nothing is read beforehand
    words = "reviews.json.gz: the gzip file is cut off or damaged .*download it again"
    with pytest.raises(ValueError, match=words):
        build(sources.Amazon2014(reviews_path=path), tmp_path)
    assert not list((tmp_path / "out").rglob("*"))


def test_no_more_than_a_line_is_held(tmp_path):
    lines = (review(f"u{n}", "i1", n, reviewText=f"{n} " * 4_000) for n in range(800))
    path = write(tmp_path / "reviews.json.gz", lines)
    tracemalloc.start()
    assert sum(map(len, amazon2014.batches(path))) == 800
    assert sum(len(review.text) for _, review in amazon2014.read_reviews(path)) > 12_000_000
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def meta(**record):
    """A line as in the public files: a Python literal."""
    return repr({"related": {"also_bought": ["i3"]}, "price": 9.5, "salesRank": {}} | record)


def test_meta_is_python_literals(tmp_path):
    trap = tmp_path / "trap"
    lines = [
        meta(asin="i0", title='Bob\'s "Tea" &amp; Pot', brand="Ac'me", categories=[["A", "B"]]),
        meta(asin="i1", title="Caf\u00e9\u0301 \u2615", brand=None, categories=[["A"], ["A", "C"]]),
        meta(asin="i2", title=None, description="his 'asin': 'i9' is not it", categories=7),
        f"{{'asin': 'i3', 'title': open({str(trap)!r}, 'w')}}",
        meta(asin="i3", title="Cup")[:-4],
        meta(title="no id"),
        "",
        meta(asin="i0", title="Another"),
        meta(asin="elsewhere", title="Not asked for")[:-4],
        json.dumps({"asin": "i4", "title": "In JSON", "brand": "Unknown"}),
    ]
    reviews_path = write(tmp_path / "reviews.json.gz", log())
    meta_path = write(tmp_path / "meta.json.gz", lines)
    source = sources.Amazon2014(reviews_path=reviews_path, meta_path=meta_path)
    report = []
    manifest = corpus.build_corpus(
        "shop", source, data_dir=tmp_path / "out", vocab_size=300, report=report.append
    )[0]
    assert [(note["reason"], note["where"]) for note in manifest["skipped"]] == [
        (amazon2014.NO_LITERAL, "meta.json.gz, lines 4 and 5"),
        (items.NAMELESS, "meta.json.gz, line 6"),
        (items.REPEATED, "meta.json.gz, line 8"),
    ]
    assert not trap.exists()
    assert "it has no line of 1 of 5 items" in report
    assert set(manifest["inputs"]) == {"reviews", "meta", "reading"}
    found = corpus.read_catalogue("shop", tmp_path / "out")
    texts = dict(zip(found.item_ids, found.texts, strict=True))
    assert texts == {"i0": "Bob's \"Tea\" & Pot", "i1": "Caf\u00e9\u0301 \u2615", "i2": "Item i2",
                     "i3": "Item i3", "i4": "In JSON"}  # fmt: skip
    assert found.brands[found.index_of("i0")] == "Ac'me"
    assert found.categories[found.index_of("i1")] == ("A", "C")
    assert manifest["title_fallbacks"] == {"item id": 2}
    assert found.brands[found.index_of("i4")] == found.brands[found.index_of("i1")] == ""
    assert list(found.item_ids) == catalogue.hash_order(found.item_ids)


def test_the_wrong_file_is_refused(tmp_path):
    reviews_path = write(tmp_path / "reviews.json.gz", log())
    other = write(tmp_path / "meta.json.gz", [meta(asin="z", title="Z")])
    with pytest.raises(ValueError, match=r"meta.json.gz has none of the 5 items.* same category"):
        build(sources.Amazon2014(reviews_path=reviews_path, meta_path=other), tmp_path)
    with pytest.raises(ValueError, match=r"meta.json.gz has no reviews; meta.json.gz, line 1: "):
        build(sources.Amazon2014(reviews_path=other), tmp_path)
    with pytest.raises(ValueError, match="is a directory: give one file"):
        next(amazon2014.read_reviews(tmp_path))
    packed = tmp_path / "reviews.zip"
    packed.write_bytes(b"PK\x03\x04" + b"\0" * 99)
    with pytest.raises(ValueError, match=r"reviews.zip is packed with zip: unpack it first"):
        next(amazon2014.read_reviews(packed))
