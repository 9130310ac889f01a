import subprocess
import zipfile

import numpy as np
import pytest

from rec_align.data import movielens, sources

FOLDER = "recbole/dataset_example/ml-100k/"


def public_zip(wheel, path, drop=0):
    """Writes GroupLens's format (u.data, u.item in Latin-1) from what RecBole's wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        inter = archive.read(f"{FOLDER}ml-100k.inter").decode().splitlines()[1 + drop :]
        item = archive.read(f"{FOLDER}ml-100k.item").decode().splitlines()[1:]
    lines = []
    for line in item:
        item_id, title, year, genres = line.split("\t")
        flags = ["1" if genre in genres.split() else "0" for genre in movielens._GENRES]
        name = title if title.endswith(")") and year == "V" else f"{title} ({year})"
        name = "unknown" if title == "unkonwn" else name
        lines.append("|".join([item_id, name, "01-Jan-1995", "", "http://x", *flags]))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-100k/u.data", "\n".join(reversed(inter)) + "\n")
        archive.writestr("ml-100k/u.item", ("\n".join(lines) + "\n").encode("latin-1"))
    return path


def test_both_files_give_the_same(ml_100k_wheel, tmp_path):
    wheel, wheel_items = movielens.read_ml_100k(ml_100k_wheel)
    public, public_items = movielens.read_ml_100k(
        public_zip(ml_100k_wheel, tmp_path / "ml-100k.zip")
    )
    assert len(wheel) == len(public) == 100_000
    assert movielens.fingerprint(wheel) == movielens.fingerprint(public)
    assert wheel_items == public_items


def test_other_interactions_are_refused(ml_100k_wheel, tmp_path):
    with pytest.raises(ValueError, match="does not hold the 100,000 published"):
        movielens.read_ml_100k(public_zip(ml_100k_wheel, tmp_path / "ml-100k.zip", drop=1))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="is no zip file"):
        movielens.read_ml_100k(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="holds neither"):
        movielens.read_ml_100k(tmp_path / "other.zip")


def test_items_of_the_wheel(ml_100k_wheel):
    interactions, items = movielens.read_ml_100k(ml_100k_wheel)
    row = dict(zip(items.item_ids, range(len(items)), strict=True))
    assert (items.titles[row["12"]], items.years[row["12"]]) == ("The Usual Suspects", "1995")
    assert items.categories[row["1"]] == ("Animation", "Children's", "Comedy")
    assert items.titles[row["267"]] == "" and items.categories[row["267"]] == ()
    assert np.unique(interactions.ratings).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Usual Suspects, The (1995)", "The Usual Suspects", "1995"),
        ("Star Maker, The (Uomo delle stelle, L')", "The Star Maker (L'Uomo delle stelle)", ""),
        ("Seven (Se7en) (1995)", "Seven (Se7en)", "1995"),
        ("Land Before Time III (1995) (V)", "Land Before Time III", "1995"),
        ("Paris, Texas (1984)", "Paris, Texas", "1984"),
        ("unknown", "", ""),
    ],
)
def test_split_title(raw, title, year):
    assert movielens.split_title(raw) == (title, year)


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("python: No module named pip", "ensurepip.*--source FILE"),
        ("ERROR: Could not find a version", "no network.*--source FILE"),
    ],
)
def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path, stderr, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(ValueError, match=message):
        sources.find_ml_100k(report=lambda line: None)
