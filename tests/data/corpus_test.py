"""Built corpora, on real data: counts, no leak, no order in the indices, open to TFDS and SeqIO."""

import json

import numpy as np
import pytest
import seqio
import tensorflow_datasets as tfds

from rec_align.data import catalogue as catalogue_lib
from rec_align.data import corpus, movielens, sources

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def splits(ml_100k_dir):
    """split -> user_index -> example, of ML-100K, as `tfds.load` gives them."""
    loaded = tfds.load("ml_100k", data_dir=ml_100k_dir)
    return {
        split: {int(example["user_index"]): example for example in tfds.as_numpy(loaded[split])}
        for split in SPLITS
    }


def test_counts_of_ml_100k(ml_100k_dir):
    manifest = corpus.read_manifest("ml_100k", ml_100k_dir)
    assert manifest["after_k_core"] == {"users": 943, "items": 1_349, "interactions": 99_287}
    assert manifest["skipped"] == [] and manifest["has_ratings"]
    assert len(corpus.read_catalogue("ml_100k", ml_100k_dir)) == 1_349
    # Every user gives two interactions to the targets.
    assert corpus.train_item_counts("ml_100k", ml_100k_dir).sum() == 99_287 - 2 * 943


def test_counts_of_beauty(beauty_dir):
    manifest = corpus.read_manifest("amazon_beauty", beauty_dir)
    counts = {"users": 22_363, "items": 12_101, "interactions": 198_502}
    assert manifest["after_k_core"] == counts and manifest["skipped"] == []
    assert manifest["num_rated"] == 48_658
    assert manifest["title_fallbacks"] == {"key_phrase": 7}
    catalogue = corpus.read_catalogue("amazon_beauty", beauty_dir)
    assert len(set(catalogue.texts)) == 12_101


def test_leave_one_out_against_the_raw_log(ml_100k_wheel, ml_100k_dir, splits):
    raw, _ = movielens.read_ml_100k(ml_100k_wheel)
    catalogue = corpus.read_catalogue("ml_100k", ml_100k_dir)
    index = {item_id: i for i, item_id in enumerate(catalogue.item_ids)}
    logs = {}
    for user, item, time in zip(raw.users, raw.items, raw.ticks, strict=True):
        if raw.item_ids[item] in index:
            logs.setdefault(raw.user_ids[user], []).append((time, index[raw.item_ids[item]]))
    logs = {
        user: [item for _, item in sorted(log, key=lambda e: e[0])] for user, log in logs.items()
    }
    for user_index, user_id in enumerate(catalogue_lib.hash_order(logs)):
        log = logs[user_id]
        assert splits["train"][user_index]["item_indices"].tolist() == log[:-2]
        assert splits["validation"][user_index]["item_indices"].tolist() == log[:-1]
        assert splits["test"][user_index]["item_indices"].tolist() == log


def test_no_train_example_holds_a_target(splits):
    for user, train in splits["train"].items():
        test = splits["test"][user]
        assert not set(train["item_indices"]) & set(test["item_indices"][-2:])
        assert (np.diff(test["timestamps"]) >= 0).all()
        assert len(test["ratings"]) == len(test["timestamps"]) == len(test["item_indices"])
        assert {test[key].dtype.name for key in test} == {"int64", "int32", "float32"}


def spearman(x, y):
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (x, y)]
    return np.corrcoef(*ranks)[0, 1]


def test_indices_carry_no_popularity_time_or_user(ml_100k_dir, splits):
    counts = corpus.train_item_counts("ml_100k", ml_100k_dir)
    tests = splits["test"].values()
    items = np.concatenate([example["item_indices"] for example in tests])
    times = np.concatenate([example["timestamps"] for example in tests])
    first_seen = np.full(len(counts), np.iinfo(np.int64).max)
    np.minimum.at(first_seen, items, times)
    # Four standard errors of a rank correlation of independent orders.
    bound = 4 / np.sqrt(len(counts))
    assert abs(spearman(np.arange(len(counts)), counts)) < bound
    assert abs(spearman(np.arange(len(counts)), first_seen)) < bound
    users = sorted(splits["test"])
    starts = [splits["test"][user]["timestamps"][0] for user in users]
    assert abs(spearman(users, starts)) < 4 / np.sqrt(len(users))
    # The check can fail: counts against themselves.
    assert spearman(counts, counts) > 0.99


def test_seqio_and_tfds_open_it_without_our_code(ml_100k_dir, splits):
    source = seqio.TfdsDataSource("ml_100k:1.0.0", tfds_data_dir=str(ml_100k_dir))
    assert source.num_input_examples("validation") == 943
    first = next(source.get_dataset("validation", shuffle=False).as_numpy_iterator())
    expected = splits["validation"][int(first["user_index"])]
    np.testing.assert_array_equal(first["item_indices"], expected["item_indices"])
    builder = tfds.builder_from_directory(str(corpus.corpus_dir("ml_100k", ml_100k_dir)))
    assert set(builder.info.splits) == set(SPLITS)
    assert "user_id" not in builder.info.features


def test_every_text_passes_the_vocabulary(ml_100k_dir):
    path = corpus.vocabulary_path("ml_100k", ml_100k_dir)
    vocabulary = seqio.SentencePieceVocabulary(str(path), extra_ids=100)
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    for text in corpus.read_catalogue("ml_100k", ml_100k_dir).texts:
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids) == text and not {0, 1, 2} & set(ids)


LOG = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{item},{100 * user + item}\n" for user in range(6) for item in range(5)
)


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    return sources.Tables(interactions=tmp_path / "log.csv")


def build(source, tmp_path, **kwargs):
    kwargs = {"vocab_size": 200, "report": lambda line: None} | kwargs
    return corpus.build_corpus("my_shop", source, data_dir=tmp_path / "out", **kwargs)


def test_second_build_is_at_once_and_changes_rebuild(shop, tmp_path):
    lines = []
    assert build(shop, tmp_path)[1]
    assert not build(shop, tmp_path, report=lines.append)[1]
    assert "already built" in lines[0]
    assert build(shop, tmp_path, force=True)[1]
    assert build(shop, tmp_path, k_core=3)[1]
    (tmp_path / "log.csv").write_text(LOG + "u1,i1,999\n")
    manifest, built = build(shop, tmp_path, k_core=3)
    assert built and manifest["after_k_core"]["interactions"] == 31
    assert corpus.list_corpora(tmp_path / "out") == ["my_shop"]


def test_the_same_inputs_give_the_same_bytes(shop, tmp_path):
    directory = tmp_path / "out/my_shop/1.0.0"

    def files():
        return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    build(shop, tmp_path)
    first = files()
    build(shop, tmp_path, force=True)
    assert files() == first and len(first) > 6


def test_an_interrupted_build_leaves_the_old_corpus(shop, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus.histories_tfds, "write_histories", fail)
    with pytest.raises(KeyboardInterrupt):
        build(shop, tmp_path)
    assert corpus.list_corpora(tmp_path / "out") == [] and not any((tmp_path / "out").iterdir())
    monkeypatch.undo()
    build(shop, tmp_path)
    before = corpus.read_manifest("my_shop", tmp_path / "out")
    monkeypatch.setattr(corpus.histories_tfds, "write_histories", fail)
    with pytest.raises(KeyboardInterrupt):
        build(shop, tmp_path, k_core=2)
    assert corpus.read_manifest("my_shop", tmp_path / "out") == before
    assert [path.name for path in (tmp_path / "out/my_shop").iterdir()] == ["1.0.0"]


def test_unknown_items_are_skipped_and_named(tmp_path):
    (tmp_path / "log.csv").write_text(LOG + "u1,ghost,5\n")
    items = "".join(json.dumps({"item_id": f"i{i}", "title": f"Tea {i}"}) + "\n" for i in range(5))
    (tmp_path / "items.jsonl").write_text(items)
    source = sources.Tables(interactions=tmp_path / "log.csv", items=tmp_path / "items.jsonl")
    manifest, _ = build(source, tmp_path)
    (note,) = manifest["skipped"]
    assert note["count"] == 1 and note["where"] == "log.csv, line 32"
    assert "no item row" in note["reason"]
    catalogue = corpus.read_catalogue("my_shop", tmp_path / "out")
    assert sorted(catalogue.texts) == [f"Tea {i}" for i in range(5)]


def test_refusals(shop, tmp_path):
    with pytest.raises(ValueError, match="lower --k-core"):
        build(shop, tmp_path, k_core=50)
    with pytest.raises(ValueError, match="small letters"):
        corpus.build_corpus("My-Shop", shop, data_dir=tmp_path)
    with pytest.raises(ValueError, match="'movielens' is a dataset of TFDS"):
        corpus.build_corpus("movielens", shop, data_dir=tmp_path)
    with pytest.raises(ValueError, match="Give another --vocab-size"):
        build(shop, tmp_path, vocab_size=20)
    with pytest.raises(ValueError, match="rec-align data build nothing"):
        corpus.read_catalogue("nothing", tmp_path)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_default_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert corpus.corpus_dir("a") == tmp_path / "a/1.0.0"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert str(corpus.default_data_dir()).endswith("/tensorflow_datasets")
