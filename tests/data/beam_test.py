"""A corpus built on Beam's local runner is the streamed build's, byte for byte."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rec_align import prompts
from rec_align.cli import main
from rec_align.data import corpus, kcore, sources

try:
    importlib.import_module("apache_beam")
    MISSING = None
except ModuleNotFoundError:
    MISSING = "Apache Beam is not installed: pip install -e '.[test,beam]'"
needs_beam = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def build(source, folder, beam_options=None, **kwargs):
    """Returns the manifest, each file's bytes by name, and the lines reported of the data."""
    lines = []
    kwargs = {"vocab_size": 200, "data_dir": folder, "report": lines.append} | kwargs
    manifest, _ = corpus.build_corpus("shop", source, beam_options=beam_options, **kwargs)
    found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path in (folder / "shop").iterdir()] == ["1.0.0"]
    return manifest, found, [line for line in lines if "times" in line]


def records(folder, split):
    builder = tfds.builder_from_directory(str(folder / "shop/1.0.0"))
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split=split, read_config=in_order)
    return [
        {name: value.tolist() for name, value in record.items() if name != "ratings"}
        for record in tfds.as_numpy(dataset)
    ]


@needs_beam
def test_ml_100k_is_the_same_corpus(ml_100k_wheel, tmp_path):
    source = sources.MovieLens100K(path=ml_100k_wheel)
    kwargs = {"vocab_size": None, "texts": prompts.all_texts()}
    streamed = build(source, tmp_path / "a", **kwargs)
    assert build(source, tmp_path / "b", ["--runner=DirectRunner"], **kwargs) == streamed
    manifest, files, _ = streamed
    assert manifest["after_k_core"] == {"users": 943, "items": 1_349, "interactions": 99_287}
    assert len([name for name in files if "tfrecord" in name]) == 48
    tests = records(tmp_path / "b", "test")
    assert [record["user_index"] for record in tests] == list(range(943))
    assert tests == records(tmp_path / "a", "test")


HEADER = "user_id,item_id,timestamp,rating"
START = 1_300_000_000_000  # milliseconds


@pytest.fixture
def shop(tmp_path):
    """Three files: rows repeated within and across files, missing values, an item without a row,
    equal times, and a chain of users and items which a 2-core takes apart end by end."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 40, 600), rng.integers(0, 30, 600)
    times, ratings = START + 1000 * rng.integers(0, 9, 600), rng.integers(0, 6, 600)
    lines = [
        f"\u00fc{user},i{item},{time},{rating or ''}"
        for user, item, time, rating in zip(users, items, times, ratings, strict=True)
    ]
    lines[5], lines[300], lines[301] = f",i1,{START},", f"u1,,{START},3", "u1,i1,,3"
    lines += lines[10:13]
    chain = [f"c{i + side},x{i},{START + i}," for i in range(10) for side in (0, 1)]
    for name, rows in (("1", lines[:250]), ("2", lines[250:]), ("3", chain)):
        (tmp_path / f"day{name}.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    titles = [f"i{item},Tea {item // 2}" for item in range(29)] + [f"x{i},Pot" for i in range(10)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title", *titles]))
    return sources.Tables(
        interactions=[tmp_path / "day1.csv", tmp_path / "day[23].csv"],
        items=tmp_path / "items.csv",
    )


@needs_beam
def test_a_log_in_files_is_the_same_corpus(shop, tmp_path, monkeypatch):
    rounds = []
    shrink = kcore.shrink

    def counted(counts, num_items, k):
        return shrink(lambda kept: rounds.append(kept.sum()) or counts(kept), num_items, k)

    monkeypatch.setattr(kcore, "shrink", counted)
    streamed = build(shop, tmp_path / "a", k_core=2)
    assert len(rounds) > 5
    assert build(shop, tmp_path / "b", [], k_core=2) == streamed
    num_rounds = len(rounds) // 2
    assert rounds[:num_rounds] == rounds[num_rounds:]
    manifest, _, report = streamed
    assert report == ["times are in milliseconds: stored in seconds"]
    not_whole, unknown, repeated = manifest["skipped"]
    assert not_whole["where"] == "day1.csv, line 7; day2.csv, lines 52 and 53"
    assert unknown["count"] and "day2.csv" in repeated["where"]
    assert sum(manifest["after_k_core"].values()) > 500
    with pytest.raises(ValueError, match="k_core is -1"):
        build(dataclasses.replace(shop, items=None), tmp_path / "c", [], k_core=-1)
    assert build(shop, tmp_path / "c", [], k_core=2) == streamed  # nothing is left of that
    for split in ("train", "validation", "test"):
        assert records(tmp_path / "a", split) == records(tmp_path / "b", split)


def test_several_files_are_one_log(shop, tmp_path):
    text = [(tmp_path / f"day{day}.csv").read_text(encoding="utf-8") for day in "123"]
    rows = "".join(part.removeprefix(HEADER) for part in text)
    (tmp_path / "all.csv").write_text(HEADER + rows, encoding="utf-8")
    one = dataclasses.replace(shop, interactions=tmp_path / "all.csv")
    manifest, files, _ = build(shop, tmp_path / "a", k_core=2)
    manifest_of_one, files_of_one, _ = build(one, tmp_path / "b", k_core=2)
    assert manifest["after_k_core"] == manifest_of_one["after_k_core"]
    assert {**files, "corpus.json": b""} == {**files_of_one, "corpus.json": b""}


ON = [None, pytest.param([], marks=needs_beam)]


@pytest.mark.parametrize("beam_options", ON)
def test_what_is_refused_streamed_is_refused_on_beam(shop, tmp_path, beam_options):
    def refused(words, source=shop, **kwargs):
        with pytest.raises(ValueError, match=words):
            build(source, tmp_path / "out", beam_options, **kwargs)
        assert not list((tmp_path / "out").rglob("*"))

    refused("nothing is left of .* after the 90-core", k_core=90)
    refused("no file fits .*week", dataclasses.replace(shop, interactions=tmp_path / "week*"))
    day3 = tmp_path / "day3.csv"
    day3.write_text(f"{HEADER}\nu1,i1,1300000000,\n")
    refused("in milliseconds in day1.csv and in seconds in day3.csv")
    day3.write_text(f"{HEADER}\nu1,i1,{START},3\nu1,i2,{START},9\n")
    refused("day3.csv, line 3: rating 9 is not on the 1-5 scale")


@needs_beam
def test_the_command(shop, tmp_path, capsys):
    files = [str(tmp_path / f"day{day}.csv") for day in "12"]
    command = ["data", "build", "my_shop", "--interactions", *files, "--vocab-size", "200"]
    command += ["--out", str(tmp_path / "out"), "--beam", "--beam-options=--runner=DirectRunner"]
    assert main.main(command) == 3
    assert corpus.list_corpora(tmp_path / "out") == ["my_shop"]
    assert "day2.csv" in capsys.readouterr().err


def test_what_is_missing_is_said(shop, tmp_path, monkeypatch, capsys):
    files = ["--interactions", str(tmp_path / "day1.csv")]
    assert main.main(["data", "build", "my_shop", *files, "--beam-options=--runner=X"]) == 1
    assert "give both" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "rec_align.data.beam_build", raising=False)
    monkeypatch.delattr("rec_align.data.beam_build", raising=False)
    assert main.main(["data", "build", "my_shop", *files, "--beam"]) == 1
    assert "pip install 'rec_align[beam]'" in capsys.readouterr().err
