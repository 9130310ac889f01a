"""`rec-align compare` as it is typed, on runs whose lists are known; its refusals."""

import json
import shutil

import numpy as np
import pytest

from rec_align.cli.main import main as rec_align
from rec_align.data import corpus
from rec_align.eval import read_histories


@pytest.fixture(scope="module")
def folder(ml_100k_dir, tmp_path_factory):
    """Holds the runs `first`, where every third user has his target first, and `none`."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
        manifest = corpus.read_manifest("ml_100k")
        examples = read_histories("ml_100k", "test")
    for name in ("first", "none"):
        scored = folder / name / "eval_test"
        scored.mkdir(parents=True)
        context = {"corpus": "ml_100k", "corpus_manifest": manifest}
        (scored / "metrics.json").write_text(json.dumps({"context": context}))
        with (scored / "predictions_retrieval.jsonl").open("w") as file:
            for example in examples:
                hit = name == "first" and example["user_index"] % 3 == 0
                items = [int(example["item_indices"][-1])] if hit else []
                record = {"user_index": example["user_index"], "item_indices": items}
                file.write(json.dumps(record) + "\n")
    return folder


@pytest.fixture
def runs(folder, ml_100k_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
    monkeypatch.chdir(folder)
    return folder


def test_it_writes_and_prints_what_it_found(runs, capsys):
    arguments = ["compare", "first", "pair=first,none", "--baselines", "popularity", "--out", "o"]
    assert rec_align(arguments) == 0
    found = json.loads((runs / "o/compare.json").read_text())
    assert list(found["systems"]) == ["first", "pair", "popularity"]
    users = np.arange(943)
    share = float((users % 3 == 0).mean())
    metrics = {name: system["metrics"] for name, system in found["systems"].items()}
    assert metrics["first"]["full/hr@5"] == pytest.approx(share)
    assert metrics["pair"]["full/hr@5"] == pytest.approx(share / 2)
    assert metrics["popularity"]["full/hr@10"] == pytest.approx(47 / 943)
    assert metrics["popularity"]["unseen/hr@10"] > 60 / 943
    assert found["runs"] == {"first": ["first"], "pair": ["first", "none"]}
    out = capsys.readouterr().out
    assert "popularity" in out and "o/compare.html" in out
    markdown = (runs / "o/compare.md").read_text()
    assert markdown.startswith("## ml_100k, test split")
    assert "history excluded" in markdown and "Against first" in markdown
    assert "<svg" in (runs / "o/compare.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first", "first"], "two systems are called 'first'"),
        (["missing"], "run python -m rec_align.eval with MODEL_DIR missing and SPLIT test"),
        (["first", "--split", "validation"], "SPLIT validation"),
        (["first", "--baselines", "magic"], "there is no 'magic'; choose of popularity"),
    ],
)
def test_what_it_cannot_do_is_told(runs, capsys, arguments, message):
    assert rec_align(["compare", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda context: context | {"corpus": "other"}, "compare runs of one corpus"),
        (lambda context: context | {"corpus_manifest": {}}, "another build of corpus 'ml_100k'"),
    ],
)
def test_runs_of_other_data_are_refused(runs, tmp_path, capsys, change, message):
    shutil.copytree(runs / "first", tmp_path / "changed")
    path = tmp_path / "changed/eval_test/metrics.json"
    path.write_text(json.dumps({"context": change(json.loads(path.read_text())["context"])}))
    assert rec_align(["compare", "first", str(tmp_path / "changed")]) == 1
    assert message in capsys.readouterr().err


def test_runs_of_other_users_are_refused(runs, tmp_path, capsys):
    shutil.copytree(runs / "first", tmp_path / "changed")
    path = tmp_path / "changed/eval_test/predictions_retrieval.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert rec_align(["compare", str(tmp_path / "changed")]) == 1
    assert "has 942 users, not those 943" in capsys.readouterr().err
    path.unlink()
    assert rec_align(["compare", str(tmp_path / "changed")]) == 1
    assert "score the retrieval task" in capsys.readouterr().err
