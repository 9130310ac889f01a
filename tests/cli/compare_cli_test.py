"""`rec-align compare` as it is typed, on runs whose lists are known; its refusals."""

import json
import shutil

import numpy as np
import pytest

from rec_align import scored_runs
from rec_align.baselines.popularity import Popularity
from rec_align.baselines.registry import BASELINES
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
        lines, num_hits = [], 0
        for example in examples:
            *history, target = map(int, example["item_indices"])
            hit = name == "first" and example["user_index"] % 3 == 0
            num_hits += hit
            others = [item for item in range(30) if item != target]
            # Two items of the history and more of others than places.
            items = [*([target] if hit else []), *history[-2:], *others]
            record = {"user_index": example["user_index"], "item_indices": items, "num_exact": 10}
            lines.append(json.dumps(record) + "\n")
        scored = folder / name / "eval_test"
        scored.mkdir(parents=True)
        (scored / "predictions_retrieval.jsonl").write_text("".join(lines))
        context = {"corpus": "ml_100k", "corpus_manifest": manifest, "num_items": 1349}
        context |= {"beam_size": 20, "checkpoint_step": 7}
        scores = {"retrieval": {"full/hr@10": num_hits / len(examples)}}
        saved = {"context": context, "results": {"rec_align": scores}}
        (scored / "metrics.json").write_text(json.dumps(saved))
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
    assert [len(found["runs"][name]) for name in ("first", "pair")] == [1, 2]
    assert found["runs"]["first"][0]["checkpoint_step"] == 7
    assert metrics["first"]["unseen/short@10"] == 0 and metrics["first"]["proven@10"] == 1
    out = capsys.readouterr().out
    assert "popularity" in out and "o/compare.html" in out
    markdown = (runs / "o/compare.md").read_text()
    assert markdown.startswith("## ml_100k, test split")
    assert "history excluded" in markdown and "Against first" in markdown
    assert (runs / "o/compare.html").read_text().count("<img") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first", "first"], "two systems are called 'first'"),
        (["popularity=first"], "two systems are called 'popularity'"),
        (["first", "--baselines", "popularity,popularity"], "two systems are called 'popularity'"),
        (["a=first,first"], "names a run twice"),
        (["a=first,"], "or none"),
        (["missing"], "run python -m rec_align.eval with MODEL_DIR missing and SPLIT test"),
        (["first", "--split", "validation"], "SPLIT validation"),
        (["first", "--baselines", "magic"], "there is no 'magic'; choose of popularity"),
    ],
)
def test_what_it_cannot_do_is_told(runs, capsys, arguments, message):
    assert rec_align(["compare", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_may_be_called_as_it_likes(runs, capsys):
    shutil.copytree(runs / "first", runs / "lr=0.1,b")
    assert rec_align(["compare", "lr=0.1,b", "--baselines", "", "--out", "o2"]) == 0
    assert list(json.loads((runs / "o2/compare.json").read_text())["systems"]) == ["lr=0.1,b"]


def test_a_baseline_may_have_seeds(runs):
    arguments = ["compare", "first", "--baselines", "bpr_mf,item_knn", "--seeds", "0,1"]
    pytest.importorskip("implicit", reason="pip install 'rec_align[baselines]'")
    assert rec_align([*arguments, "--out", "o3"]) == 0
    found = json.loads((runs / "o3/compare.json").read_text())["systems"]
    assert [found[name]["num_runs"] for name in ("bpr_mf", "item_knn")] == [2, 1]
    assert found["bpr_mf"]["metrics"]["full/hr@10_sd"] > 0


def test_baselines_learn_from_train_and_are_stopped_by_validation(runs, monkeypatch):
    """No user's test target is in what they are given."""
    given = {}

    def fit(histories, num_items, *, validation, seed, report=print):
        given.update(histories=histories, validation=validation, seed=seed)
        return Popularity.fit(histories, num_items)

    monkeypatch.setitem(BASELINES, "popularity", fit)
    monkeypatch.setattr(scored_runs, "WITHOUT_SEED", ())
    assert rec_align(["compare", "first", "--seeds", "5", "--out", "o4"]) == 0
    assert given["seed"] == 5
    validation = given["validation"]
    targets = dict(zip(validation.users.tolist(), validation.targets.tolist(), strict=True))
    histories = dict(zip(validation.users.tolist(), validation.histories, strict=True))
    for example in read_histories("ml_100k", "test"):
        user, items = example["user_index"], example["item_indices"].tolist()
        assert given["histories"][user].tolist() == items[:-2] == histories[user].tolist()
        assert targets[user] == items[-2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "other"}, "compare runs of one corpus"),
        ({"corpus_manifest": {}}, "another build of corpus 'ml_100k'"),
        ({"num_items": 1000}, "recommends 1,000 items, the catalogue has 1,349"),
        ({"corpus_manifest": None}, "does not say corpus_manifest, as older ones"),
    ],
)
def test_runs_of_other_data_are_refused(runs, tmp_path, capsys, change, message):
    shutil.copytree(runs / "first", tmp_path / "changed")
    path = tmp_path / "changed/eval_test/metrics.json"
    saved = json.loads(path.read_text())
    context = saved["context"] | change
    saved["context"] = {name: value for name, value in context.items() if value is not None}
    path.write_text(json.dumps(saved))
    assert rec_align(["compare", "first", str(tmp_path / "changed")]) == 1
    assert message in capsys.readouterr().err


def test_seeds_scored_with_other_beams_are_refused(runs, tmp_path, capsys):
    shutil.copytree(runs / "first", tmp_path / "changed")
    path = tmp_path / "changed/eval_test/metrics.json"
    path.write_text(path.read_text().replace('"beam_size": 20', '"beam_size": 50'))
    assert rec_align(["compare", f"a=first,{tmp_path / 'changed'}"]) == 1
    assert "score them alike" in capsys.readouterr().err


def test_predictions_that_were_not_scored_are_refused(runs, tmp_path, capsys):
    shutil.copytree(runs / "first", tmp_path / "changed")
    folder = tmp_path / "changed/eval_test"
    path = folder / "predictions_retrieval.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    assert rec_align(["compare", str(tmp_path / "changed")]) == 1
    assert "has 942 users, not those 943" in capsys.readouterr().err
    shutil.copy(runs / "none/eval_test/predictions_retrieval.jsonl", path)
    assert rec_align(["compare", str(tmp_path / "changed")]) == 1
    assert "not of one scoring" in capsys.readouterr().err
    path.unlink()
    assert rec_align(["compare", str(tmp_path / "changed")]) == 1
    assert "score the retrieval task" in capsys.readouterr().err
    saved = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(saved | {"results": {"rec_align": {}}}))
    assert rec_align(["compare", str(tmp_path / "changed")]) == 1
    assert "no scores of the retrieval task" in capsys.readouterr().err
