"""The source of reviews: what it gives, and what it says where there are none."""

import json

import pytest
import seqio

from rec_align.data import corpus, sources
from rec_align.pipeline.review_source import ReviewSource
from rec_align.pipeline.sources import CorpusSource

NUM_USERS = 8


@pytest.fixture
def review_shop(tmp_path, monkeypatch):
    """The name of a corpus with four items a user; nobody wrote of the last but one."""
    lines = [
        json.dumps(
            {"reviewerID": f"u{user}", "asin": f"i{item}", "unixReviewTime": 10 + item}
            | {"reviewText": "" if item == 2 else f"User {user} likes the sound of item {item}."}
            | {"overall": 4.0, "summary": f"Item {item}"}
        )
        for user in range(NUM_USERS)
        for item in range(4)
    ]
    (tmp_path / "reviews.json").write_text("\n".join(lines))
    source = sources.Amazon2014(reviews_path=tmp_path / "reviews.json")
    corpus.build_corpus(
        "review_shop", source, data_dir=tmp_path, k_core=0, vocab_size=300, report=len
    )
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return "review_shop"


def test_examples(review_shop):
    source = ReviewSource(review_shop)
    assert source.splits == ("train", "test")
    assert source.num_input_examples("train") == 2 * NUM_USERS
    dataset = source.get_dataset("test", shuffle=False)
    assert {key: spec.dtype.name for key, spec in dataset.element_spec.items()} == {
        "user_index": "int64",
        "item_index": "int32",
        "rating": "float32",
        "timestamp": "int64",
        "text": "string",
        "summary": "string",
        "explanation": "string",
        "feature": "string",
        "held_out_item_index": "int32",
    }
    assert "held_out_item_index" not in source.get_dataset("train").element_spec
    examples = list(dataset.as_numpy_iterator())
    assert sorted(example["user_index"] for example in examples) == list(range(NUM_USERS))
    texts = {f"User {user} likes the sound of item 3.".encode() for user in range(NUM_USERS)}
    assert {example["text"] for example in examples} == texts
    for example in examples:
        assert example["explanation"] == example["text"] and example["feature"] == b"sound"
        assert (example["timestamp"], example["rating"], example["summary"]) == (13, 4, b"Item 3")


def test_shuffling_follows_the_seed_and_shards_share_the_examples(review_shop):
    source = ReviewSource(review_shop)

    def texts(**kwargs):
        dataset = source.get_dataset("train", **kwargs)
        return [example["text"] for example in dataset.as_numpy_iterator()]

    in_order = texts(shuffle=False)
    assert len(set(in_order)) == 2 * NUM_USERS == len(in_order)
    assert texts(seed=1) == texts(seed=1) != texts(seed=2)
    assert sorted(texts(seed=1)) == sorted(in_order)
    shards = [texts(shuffle=False, shard_info=seqio.ShardInfo(i, 2)) for i in range(2)]
    assert all(shards) and sorted([*shards[0], *shards[1]]) == sorted(in_order)


def test_without_reviews_no_split_is_usable(small_shop):
    source = ReviewSource(small_shop)
    assert source.splits == ("none_without_reviews",)
    with pytest.raises(ValueError, match=r"'small_shop' has no reviews.* amazon2014 --reviews"):
        source.get_dataset("train")


def test_a_split_nobody_wrote_for(review_shop):
    with pytest.raises(ValueError, match="split='validation': this task has train, test"):
        ReviewSource(review_shop).get_dataset("validation")


def test_a_corpus_of_before_has_no_reviews(review_shop):
    path = corpus.corpus_dir(review_shop) / "corpus.json"
    manifest = json.loads(path.read_text())
    for key in ("has_reviews", "num_reviews", "num_explanations"):
        del manifest[key]
    path.write_text(json.dumps(manifest))
    assert ReviewSource(review_shop).splits == ("none_without_reviews",)
    assert len(list(CorpusSource(review_shop).get_dataset("test"))) == NUM_USERS
