"""The reviews of a corpus: all that have text, each in one split, word for word; nothing leaks."""

import collections
import gzip
import hashlib
import html
import json
import pathlib

import numpy as np
import pytest
import sentencepiece
import tensorflow_datasets as tfds

from rec_align.data import corpus, explanations, review_parts, sources, splits, user_log

FOLDER = pathlib.Path(__file__).parents[3] / "shared/data/amazon2014_musical_instruments"
RAW = FOLDER / "reviews_Musical_Instruments_5.json.gz"
SPLITS = ("train", "validation", "test")


def read_reviews(data_dir, name):
    """split -> reviews in order, as TFDS gives them."""
    builder = tfds.builder_from_directory(str(data_dir / name / "1.0.0/reviews"))
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    return {
        split: [
            {key: value.decode() if type(value) is bytes else value for key, value in one.items()}
            for one in tfds.as_numpy(builder.as_dataset(split=split, read_config=in_order))
        ]
        for split in builder.info.splits
    }


@pytest.fixture(scope="module")
def music_dir(tmp_path_factory):
    """A data directory that holds the corpus `music`."""
    if not RAW.exists():
        pytest.skip(f"Amazon's Musical Instruments are not in {FOLDER}")
    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    corpus.build_corpus("music", sources.Amazon2014(reviews_path=RAW), data_dir=data_dir)
    return data_dir


@pytest.fixture(scope="module")
def music(music_dir):
    return read_reviews(music_dir, "music")


@pytest.fixture(scope="module")
def raw_histories():
    """user_index -> his raw records in order of time, read without the code under test."""
    with gzip.open(RAW, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    users = collections.defaultdict(list)
    for record in sorted(records, key=lambda record: record["unixReviewTime"]):
        users[record["reviewerID"]].append(record)
    return dict(
        enumerate(
            users[u] for u in sorted(users, key=lambda u: hashlib.sha256(u.encode()).digest())
        )
    )


def test_counts_of_musical_instruments(music_dir, music):
    manifest = corpus.read_manifest("music", music_dir)
    counts = {"users": 1_429, "items": 900, "interactions": 10_261}
    assert manifest["after_k_core"] == counts and manifest["skipped"] == []
    assert manifest["has_reviews"] and manifest["has_ratings"]
    # `zgrep -c '"reviewText": ""'` counts 7.
    assert sum(manifest["num_reviews"].values()) == 10_261 - 7
    assert {split: len(reviews) for split, reviews in music.items()} == manifest["num_reviews"]
    assert corpus.num_reviews("music", music_dir) == manifest["num_reviews"]
    assert manifest["num_explanations"] == {
        split: sum(review["explanation"] != "" for review in reviews)
        for split, reviews in music.items()
    }


def test_splits_and_texts_against_the_raw_file(music_dir, music, raw_histories):
    item_ids = corpus.read_catalogue("music", music_dir).item_ids
    expected = {split: [] for split in SPLITS}
    for user, records in raw_histories.items():
        for at, record in enumerate(records):
            split = SPLITS[max(0, at - len(records) + 3)]
            if record["reviewText"].strip():
                expected[split].append((user, record))
    num_compared = 0
    for split in SPLITS:
        assert len(music[split]) == len(expected[split])
        for review, (user, record) in zip(music[split], expected[split], strict=True):
            assert review["user_index"] == user
            assert item_ids[review["item_index"]] == record["asin"]
            assert review["rating"] == record["overall"]
            assert review["timestamp"] == record["unixReviewTime"]
            for key, raw in (("text", "reviewText"), ("summary", "summary")):
                plain = " ".join(html.unescape(record[raw]).split())
                if plain.isascii():  # nothing for Unicode's normal form to change
                    assert review[key] == plain
                    num_compared += 1
    assert num_compared > 19_000


def test_no_review_is_in_two_splits(music):
    pairs = {
        split: {(review["user_index"], review["item_index"]) for review in reviews}
        for split, reviews in music.items()
    }
    assert sum(map(len, pairs.values())) == len(set().union(*pairs.values())) > 10_000
    assert max(collections.Counter(user for user, _ in pairs["test"]).values()) == 1


def test_explanations_follow_the_rule_with_train_features(music):
    counter = explanations.FeatureCounter()
    for review in music["train"]:
        counter.add(review["text"])
    features = counter.features()
    for split in SPLITS:
        explained = [review for review in music[split] if review["explanation"]]
        assert len(explained) > 0.9 * len(music[split])
        for review in explained[::40]:
            assert review["explanation"] in review["text"]
            assert review["feature"] in features
            assert review["feature"] in explanations.words(review["explanation"])
            found = explanations.explain(review["text"], features)
            assert found == (review["explanation"], review["feature"])
    assert {"guitar", "sound", "price", "strings"} < set(features)
    assert not {"great", "not", "good", "all"} & set(features)


def test_reviews_are_not_spelled_letter_by_letter(music_dir, music):
    path = corpus.vocabulary_path("music", music_dir)
    processor = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    assert processor.vocab_size() == 3 * 900 + 8_000
    texts = [review["text"] for review in music["test"]]
    pieces = processor.encode(texts)
    assert sum(map(len, texts)) > 4 * sum(map(len, pieces))  # as T5's own does on English
    unknown = sum(ids.count(processor.unk_id()) for ids in pieces)
    assert unknown < 1e-3 * sum(map(len, pieces))


def line(user, item, time, text="", **more):
    record = {"reviewerID": user, "asin": item, "unixReviewTime": time, "reviewText": text}
    return json.dumps(record | more)


def build(tmp_path, lines, **kwargs):
    (tmp_path / "reviews.json").write_text("\n".join(lines))
    source = sources.Amazon2014(reviews_path=tmp_path / "reviews.json")
    kwargs = {"k_core": 2, "vocab_size": 300, "report": lambda line: None} | kwargs
    return corpus.build_corpus("shop", source, data_dir=tmp_path / "out", **kwargs)[0]


def test_one_interaction_has_one_review(tmp_path):
    lines = [line(f"u{u}", f"i{i}", 10 + i, f"u{u} i{i}") for u in range(3) for i in range(4)]
    lines += [
        line("u0", "i1", 11, "the same again"),  # the log keeps the first of equal rows
        line("u1", "i0", 99, "u1 i0, held out"),  # so the first review of i0 has no place
        line("u2", "i0", 5, "u2 i0, before"),  # two interactions in train, two reviews
        line("lone", "i0", 5, "not in the 2-core"),
        line("u2", "i1", 4, " \n"),
    ]
    report = []
    manifest = build(tmp_path, lines, report=report.append)
    assert [line for line in report if "left out" in line] == [
        "reviews left out, without text: 1",
        "reviews left out, of an item whose later review, by the same user, is held out: 1",
    ]
    assert [note["where"] for note in manifest["skipped"]] == ["reviews.json, line 13"]
    reviews = read_reviews(tmp_path / "out", "shop")
    found = {split: sorted(review["text"] for review in reviews[split]) for split in SPLITS}
    assert found == {
        "train": ["u0 i0", "u0 i1", "u1 i1", "u1 i2", "u2 i0", "u2 i0, before", "u2 i1"],
        "validation": ["u0 i2", "u1 i3", "u2 i2"],
        "test": ["u0 i3", "u1 i0, held out", "u2 i3"],
    }
    assert all(np.isnan(review["rating"]) for review in reviews["train"])
    assert manifest["num_reviews"] == {"train": 7, "validation": 3, "test": 3}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("abcd", [0, 0, 1, 2]),
        ("abacb", [0, -1, 0, 1, 2]),
        ("abab", [-1, -1, 1, 2]),
        ("aaa", [-1, -1, 2]),
        ("aa", [0, 0]),  # nothing is held out
    ],
)
def test_the_split_of_a_review(items, expected):
    indices = np.array([ord(item) for item in items] * 2)
    histories = splits.to_histories(
        np.repeat([0, 1], len(items)),
        indices,
        np.arange(len(indices)),
        np.ones(len(indices)),
        num_users=2,
    )
    assert review_parts.review_splits(histories).tolist() == expected * 2


def lines_with_a_word_for_each_split():
    words = ("trumpet", "trumpet", "bassoon", "clarinet")  # train, train, validation, test
    return [
        line(f"u{u}", f"i{i}", i, f"I like the {words[i]} of this one very much.")
        for u in range(6)
        for i in range(4)
    ]


def test_only_train_reviews_are_learned_from(tmp_path):
    (tmp_path / "reviews.json").write_text("\n".join(lines_with_a_word_for_each_split()))
    source = sources.Amazon2014(reviews_path=tmp_path / "reviews.json")
    log = user_log.read(
        source, tmp_path, k_core=2, report=lambda line: None, reader=user_log.Streamed()
    )
    reviews = review_parts.gather(source.reviews(), log, tmp_path, print)
    assert reviews.features == {"trumpet": 12}
    assert set(reviews.sentences) == {"I like the trumpet of this one very much."}


def test_the_sample_is_bounded_and_fair():
    def sample(most):
        drawn = review_parts._Sample(most)
        for n in range(2_000):
            drawn.add([str(n)])
        return [int(sentence) for sentence in drawn.kept]

    assert sample(5_000) == list(range(2_000))
    assert len(set(sample(500))) == 500 and sample(500) == sample(500)
    # Four standard errors of the mean of 500 numbers drawn from 2,000.
    assert abs(np.mean(sample(500)) - 999.5) < 4 * 577 / 500**0.5


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    def files():
        return {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    build(tmp_path, lines_with_a_word_for_each_split())
    first = files()
    build(tmp_path, lines_with_a_word_for_each_split(), force=True)
    assert files() == first and len([path for path in first if path.parent.name == "reviews"]) > 3


def test_a_split_without_text_is_left_out_and_so_are_no_reviews(tmp_path):
    rows = [(user, at) for user in range(3) for at in range(4)]
    in_train = [line(f"u{u}", f"i{i}", i, "Ok." if i < 2 else "") for u, i in rows]
    assert build(tmp_path, in_train)["num_reviews"] == {"train": 6, "validation": 0, "test": 0}
    assert set(read_reviews(tmp_path / "out", "shop")) == {"train"}
    manifest = build(tmp_path, [line(f"u{u}", f"i{i}", i) for u, i in rows])
    assert manifest["has_reviews"] is False
    assert corpus.num_reviews("shop", tmp_path / "out") == {}
    assert not (tmp_path / "out/shop/1.0.0/reviews").exists()
