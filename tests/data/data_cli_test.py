import argparse
import json
import subprocess
import sys
import time

import pytest

from rec_align.cli import data as data_cli


def run(*arguments):
    parser = argparse.ArgumentParser()
    data_cli.add_arguments(parser)
    return data_cli.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def log(tmp_path):
    rows = [f"u{user},i{item},{100 * user + item}" for user in range(6) for item in range(5)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user_id,item_id,timestamp", *rows, ""]))
    return path


def test_build_and_list(log, tmp_path, capsys):
    build = ("build", "my_shop", "--interactions", log, "--out", tmp_path, "--vocab-size", 300)
    assert run("list", "--out", tmp_path) == 0
    assert "no corpora" in capsys.readouterr().out
    assert run(*build) == 0
    out = capsys.readouterr().out
    assert f"next: TFDS_DATA_DIR={tmp_path} rec-align show my_shop_retrieval" in out
    assert "5 items without a title" in out
    assert run(*build) == 0
    assert "already built" in capsys.readouterr().out
    assert run("list", "--out", tmp_path) == 0
    assert "my_shop" in capsys.readouterr().out


def test_skipped_rows_give_code_3_and_are_counted_on_stderr(log, tmp_path, capsys):
    log.write_text(log.read_text() + "u0,i0,0\n")
    build = ("build", "my_shop", "--interactions", log, "--out", tmp_path, "--vocab-size", 300)
    assert run(*build) == 3
    assert "skipped 1 duplicate rows" in (err := capsys.readouterr().err) and "line 32" in err


def test_contradicting_options(tmp_path):
    with pytest.raises(ValueError, match="not built in: give --interactions"):
        run("build", "my_shop", "--out", tmp_path)
    with pytest.raises(ValueError, match="takes --source, not --items"):
        run("build", "ml_100k", "--items", "x")
    with pytest.raises(ValueError, match="takes --source, not amazon2014"):
        run("build", "ml_100k", "amazon2014", "--reviews", "x")
    with pytest.raises(ValueError, match=r"--meta is for .*`rec-align data build my_shop amazon"):
        run("build", "my_shop", "--interactions", "x", "--meta", "x")
    with pytest.raises(ValueError, match="takes --reviews and --meta, not --title-column"):
        run("build", "my_shop", "amazon2014", "--reviews", "x", "--title-column", "x")
    with pytest.raises(ValueError, match=r"give --reviews reviews_X_5.json.gz"):
        run("build", "my_shop", "amazon2014", "--meta", "x")


def test_reviews_are_told_of(tmp_path, capsys):
    lines = [
        json.dumps({"reviewerID": f"u{user}", "asin": f"i{item}", "unixReviewTime": item}
                   | {"reviewText": "I like the sound of this one."})
        for user in range(6) for item in range(5)
    ]  # fmt: skip
    (tmp_path / "reviews.json").write_text("\n".join(lines))
    files = ("--reviews", tmp_path / "reviews.json", "--vocab-size", 300)
    assert run("build", "my_shop", "amazon2014", *files, "--out", tmp_path / "out") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "reviews 30 explanations 30" in out
    assert run("list", "--out", tmp_path / "out") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["corpus", "users", "items", "interactions", "reviews"]
    assert row.split() == ["my_shop", "6", "5", "30", "30"]


def test_help_is_quick_and_bad_input_is_one_line(tmp_path):
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import argparse, rec_align.cli.data as d\n"
         "d.add_arguments(argparse.ArgumentParser())\n"
         "import sys; assert not {'numpy', 'pandas', 'tensorflow', 'jax'} & set(sys.modules)"],
        check=True,
    )  # fmt: skip
    assert time.perf_counter() - start < 2  # half a second, on a machine at rest
