"""Semantic ids from text to recommendations, and new items that a trained model never saw.

The corpus is planted: users stay within one category, which only the items' text tells. So a new
item is to be recommended to the users of its category, by its text alone.
"""

import contextlib
import csv
import json

import gin
import numpy as np
import pytest
import seqio

import tasks
from rec_align import eval as eval_script
from rec_align import item_indices, runs, text_encoder, train
from rec_align.cli.main import main as rec_align_cli
from rec_align.data import corpus, item_codes, sources
from rec_align.decoding.live_trie import LiveTrie
from rec_align.eval import padded_batches
from rec_align.models import config_files
from rec_align.models.t5 import Transformer
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.training.prediction import Predictor

KINDS = {"tea": "Teapot", "bike": "Bicycle", "lamp": "Lantern", "rug": "Carpet"}
COLOURS = ["Red", "Blue", "Green", "Black", "White", "Brown", "Pink", "Grey", "Gold", "Lime"]
NUM_USERS, HISTORY = 120, 7
LENGTHS = {"inputs": 128, "targets": 64}
NAME = "planted"


def rows(colours):
    return [
        {"item_id": f"{kind}{colour}", "title": f"{colour} {noun}", "categories": [kind, noun]}
        for kind, noun in KINDS.items()
        for colour in colours
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data directory with the planted corpus, its index, and a run trained with it."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "items.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(COLOURS[:8])))
    (folder / "new.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows(COLOURS[8:])))
    rng = np.random.default_rng(0)
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for user in range(NUM_USERS):
            kind = list(KINDS)[user % len(KINDS)]
            for time, colour in enumerate(rng.permutation(COLOURS[:8])[:HISTORY]):
                writer.writerow([user, f"{kind}{colour}", time])
    source = sources.Tables(interactions=folder / "log.csv", items=folder / "items.jsonl")
    corpus.build_corpus(NAME, source, data_dir=folder, k_core=0, report=len)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        patch.setattr(text_encoder, "STEPS", 50)
        tasks.register_corpus(NAME)
        assert rec_align_cli(_index("--levels", "2", "--codes", "6")) == 0
        train_args = [
            *("--gin_file=gin/models/tiny.gin", "--gin_file=gin/runs/train.gin"),
            f"--gin.MIXTURE_OR_TASK_NAME='{NAME}_retrieval'",
            f"--gin.MODEL_DIR='{folder / 'run'}'",
            "--gin.ITEM_INDEX='semantic'",
            "--gin.TRAIN_STEPS=150",
            f"--gin.TASK_FEATURE_LENGTHS={LENGTHS}",
        ]
        assert train.main(train_args) == 0
        gin.clear_config()
    return folder


def _index(*options):
    return ["index", "build", NAME, "semantic", "--quantizer", "residual_kmeans", *options]


@pytest.fixture
def planted(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    monkeypatch.setattr(text_encoder, "STEPS", 50)
    yield folder
    gin.clear_config()


@contextlib.contextmanager
def written_by(name):
    with gin.unlock_config():
        gin.bind_parameter("item_index.name", name)
    yield


def kinds(catalogue, items):
    return [catalogue.categories[item][0] for item in items]


def test_an_index_that_is_there_is_kept_and_another_refused(planted, capsys):
    assert rec_align_cli(_index("--levels", "2", "--codes", "6")) == 0
    assert "already made" in capsys.readouterr().out
    assert rec_align_cli(_index("--levels", "3", "--codes", "6")) == 1
    assert "another --name, or --force" in capsys.readouterr().err
    assert rec_align_cli([*_index(), "--name", "title"]) == 1
    assert "none of title" in capsys.readouterr().err


def test_a_run_refuses_another_index(planted, capsys):
    with written_by("title"):
        vocabulary = runs.corpus_vocabulary(f"{NAME}_retrieval")
        network = runs.for_vocabulary(Transformer(config_files.read_config("tiny")), vocabulary)
        with pytest.raises(ValueError, match="ITEM_INDEX"):
            runs.load_predictor(network, vocabulary, planted / "run")


def test_candidates_have_the_scores_of_retrieval(planted):
    arguments = [
        *("--gin_file=gin/models/tiny.gin", "--gin_file=gin/runs/eval.gin"),
        f"--gin.MIXTURE_OR_TASK_NAME='{NAME}_next_item'",
        f"--gin.MODEL_DIR='{planted / 'run'}'",
        "--gin.ITEM_INDEX='semantic'",
        f"--gin.TASK_FEATURE_LENGTHS={LENGTHS}",
        "--gin.unlisted_candidates.num_candidates=8",
        "--gin.evaluate.beam_size=32",
    ]
    assert eval_script.main(arguments) == 0
    folder = planted / "run/eval_test"
    systems = json.loads((folder / "metrics.json").read_text())["results"]
    ours, popularity = (systems[name]["candidates"] for name in ("rec_align", "popularity"))
    assert ours["n"] == popularity["n"] == NUM_USERS
    assert ours["num_candidates"] == popularity["num_candidates"] == 8
    assert ours["hr@1"] > popularity["hr@1"]
    ranked, listed = (
        [json.loads(line) for line in (folder / f"predictions_{task}.jsonl").open()]
        for task in ("candidates", "retrieval")
    )
    task = seqio.get_mixture_or_task(f"{NAME}_candidates")
    examples = task.get_dataset(LENGTHS, "test", shuffle=False, num_epochs=1)
    asked = {
        int(example["user_index"]): example["candidate_item_indices"].tolist()
        for example in examples.as_numpy_iterator()
    }
    for one, other in zip(ranked, listed, strict=True):
        assert one["user_index"] == other["user_index"] and len(other["scores"]) == 32
        scores = dict(zip(other["item_indices"], other["scores"], strict=True))
        expected = [scores[item] for item in asked[one["user_index"]]]
        np.testing.assert_allclose(one["candidate_scores"], expected, atol=1e-3)


def test_new_items_are_recommended_by_their_text_and_removed_ones_never(planted, capsys):
    """The last test of the module that needs the corpus as it was built."""
    before = item_codes.read_item_codes(NAME, "semantic")
    assert rec_align_cli(["data", "add-items", NAME, "--items", f"{planted}/new.jsonl"]) == 0
    assert rec_align_cli(["index", "extend", NAME, "semantic"]) == 0
    assert "8 items got their codes" in capsys.readouterr().out
    after = item_codes.read_item_codes(NAME, "semantic")
    np.testing.assert_array_equal(after.codes[:32], before.codes)
    assert (after.fit_sha256, after.num_fitted) == (before.fit_sha256, 32)
    catalogue = corpus.read_catalogue(NAME)
    assert rec_align_cli(["index", "report", NAME, "semantic", "title"]) == 0
    assert "semantic: 40 items" in capsys.readouterr().out

    with written_by("semantic"):
        vocabulary = runs.corpus_vocabulary(f"{NAME}_retrieval")
        network = runs.for_vocabulary(Transformer(config_files.read_config("tiny")), vocabulary)
        _, params = runs.load_run(network, planted / "run")
        tokens = runs.item_tokens(vocabulary)
        task = seqio.get_mixture_or_task(f"{NAME}_retrieval")
        examples = task.get_dataset(LENGTHS, "test", shuffle=False, num_epochs=1)
        inputs = RecFeatureConverter(pack=False, apply_length_check=False)(examples, LENGTHS)
        _, batch = next(padded_batches(inputs.enumerate(), NUM_USERS, "users"))
        wanted = kinds(catalogue, [e["target_item_index"] for e in examples.as_numpy_iterator()])

        trie = LiveTrie(tokens[:32], vocab_size=vocabulary.vocab_size)
        predictor = Predictor(network, params, trie, beam_size=40, num_results=40)
        old = predictor.recommend(batch).item_indices
        assert np.isin(old, np.arange(-1, 32)).all()
        trie.add(np.arange(32, 40), tokens[32:])
        found = predictor.recommend(batch).item_indices
        best_new = [row[row >= 32][:2] for row in found]
        shares = [
            np.mean([kind == want for kind in kinds(catalogue, items)])
            for items, want in zip(best_new, wanted, strict=True)
        ]
        assert np.mean(shares) > 0.5  # a guess: a quarter
        trie.remove(found[:, 0][:1])
        assert found[0, 0] not in predictor.recommend(batch).item_indices


def test_codes_come_from_train_alone(tmp_path, monkeypatch):
    """The same log but for what is held out gives its items the same ids.

    Some of the items held out are in no one's train split. The text encoder is left out.
    """
    monkeypatch.setattr(item_indices.text_encoder, "train_text_encoder", lambda *_: None)
    monkeypatch.setattr(
        item_indices.text_encoder,
        "encode_texts",
        lambda _corpus, _folder, texts: np.array(
            [[hash_of(text, salt) for salt in range(8)] for text in texts], np.float32
        ),
    )
    found = {}
    for name, last in (("one", ["teaRed"] * 30), ("other", [f"tea{c}" for c in COLOURS] * 3)):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / name))
        (tmp_path / name).mkdir()
        items = tmp_path / name / "items.jsonl"
        items.write_text("".join(json.dumps(row) + "\n" for row in rows(COLOURS)))
        with (tmp_path / name / "log.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["user_id", "item_id", "timestamp"])
            for user in range(30):
                kind = list(KINDS)[user % len(KINDS)]
                history = [f"{kind}{COLOURS[(user + i) % 8]}" for i in range(4)]
                for time, item in enumerate([*history, last[user], last[user]]):
                    writer.writerow([user, item, time])
        source = sources.Tables(interactions=tmp_path / name / "log.csv", items=items)
        corpus.build_corpus(NAME, source, data_dir=tmp_path / name, k_core=0, report=len)
        semantic = item_indices.build_semantic(
            NAME, quantizer="residual_kmeans", num_levels=2, num_codes=4, report=len
        )
        collaborative = item_indices.build_collaborative(NAME, report=len)
        item_ids = corpus.read_catalogue(NAME).item_ids
        in_train = np.flatnonzero(corpus.train_item_counts(NAME))
        found[name] = [
            {item_ids[item]: tuple(index.codes[item]) for item in in_train}
            for index in (semantic, collaborative)
        ]
        assert len(item_ids) - len(in_train) == (0 if name == "one" else 2)
    assert found["one"] == found["other"]


def hash_of(text: str, salt: int) -> float:
    return float(np.random.default_rng([salt, *text.encode()]).standard_normal())
