"""Ways of writing items: text and tokens, there and back, in every task."""

import gin
import numpy as np
import pytest
import seqio
import small_corpus
from small_corpus import item_index

from rec_align.data import item_codes, new_items
from rec_align.data.corpus import read_catalogue
from rec_align.decoding.trie import CatalogueTrie
from rec_align.pipeline import item_writing
from rec_align.pipeline.item_index import open_item_index
from rec_align.pipeline.item_writing import using
from rec_align.pipeline.vocabulary import CorpusVocabulary

LENGTHS = {"inputs": 256, "targets": 64}
# One item has a further code, one has none at the middle level.
CODES = np.array([[i % 3, i // 3, -1] for i in range(12)])
CODES[[4, 7]] = [[1, 1, 0], [1, -1, 1]]
NAMES = ("title", "title+brand+category", "atomic", "codes", "codes+title", "title+codes")


@pytest.fixture
def shop(small_shop):
    index = item_codes.ItemCodes.fitted(CODES, (3, 4, 8), "semantic", {})
    index.write(item_codes.folder_of(small_shop, "codes"))
    item_writing.reload()
    yield small_shop
    gin.clear_config()


@pytest.mark.parametrize("name", NAMES)
def test_every_item_comes_back_from_its_tokens(shop, name):
    with using(name):
        vocabulary = CorpusVocabulary(shop)
        index = open_item_index(shop, vocabulary)
        trie = CatalogueTrie.build(index.item_tokens)
        for item, tokens in enumerate(index.item_tokens):
            assert trie.walk(tokens) == item
            assert index.item_of(vocabulary.decode(tokens[tokens > 1].tolist())) == item
        assert index.item_of("Red Ketle") == -1
        # Sentinels stay where T5 has them, and the index's tokens stand behind.
        assert vocabulary.encode("<extra_id_0>") == [vocabulary.sentinels_end - 1]
        tokens = item_writing.open_writing(shop).tokens
        assert vocabulary.vocab_size == vocabulary.sentinels_end + len(tokens)
        assert vocabulary.tokenizer.IdToPiece(vocabulary.sentinels_end - 1) == "▁<extra_id_0>"


def test_codes_by_hand(shop):
    with using("codes"):
        vocabulary = CorpusVocabulary(shop)
        index = open_item_index(shop, vocabulary)
        assert index.texts[5] == "<codes_0_2><codes_1_1>"
        assert index.texts[4] == "<codes_0_1><codes_1_1><codes_2_0>"
        assert index.texts[7] == "<codes_0_1><codes_2_1>"
        first = vocabulary.sentinels_end
        assert index.item_tokens[4].tolist() == [first + 1, first + 3 + 1, first + 7, 1]
        assert index.item_tokens[5].tolist() == [first + 2, first + 3 + 1, 1, 0]


def test_words_and_hybrids_by_hand(shop):
    kettle, chair = item_index("k1"), item_index("c1")
    with using("title+brand+category"):
        texts = item_writing.open_writing(shop).texts
        assert texts[kettle] == "Red Kettle, Acme, Kettles"
        assert texts[chair] == "Garden Chair"
    with using("title+atomic"):
        assert item_writing.open_writing(shop).texts[kettle] == f"Red Kettle <item_{kettle}>"


def first_example(task: str, split: str = "test") -> dict:
    dataset = seqio.get_mixture_or_task(task).get_dataset(LENGTHS, split, shuffle=False, seed=0)
    return next(iter(dataset.as_numpy_iterator()))


@pytest.mark.parametrize("name", ["atomic", "codes", "codes+title"])
def test_a_retrieval_example_holds_the_very_tokens_of_its_items(shop, name):
    with using(name):
        example = first_example(f"{shop}_retrieval")
        tokens = open_item_index(shop, CorpusVocabulary(shop)).item_tokens
        target = tokens[example["target_item_index"]]
        assert example["targets"].tolist() == target[target > 0].tolist()
        # Codes and single tokens need no separator in a list; words do.
        separator = [] if name != "codes+title" else CorpusVocabulary(shop).encode("a;")[-1:]
        history = [
            token
            for item in example["history_item_indices"]
            for token in [*tokens[item][tokens[item] > 1].tolist(), *separator]
        ]
        if name != "codes+title":  # a piece may hold the word's end and the separator
            assert example["inputs"].tolist()[-len(history) :] == history


@pytest.mark.parametrize(
    "family",
    ["retrieval", "ranking", "rating", "mim", "mlm", "bpr", "item_embedding", "entity_infilling"],
)
def test_every_task_writes_items_by_the_index(shop, family):
    with using("codes"), gin.unlock_config():
        gin.bind_parameter("ranking_candidates.num_candidates", 4)
        vocabulary = CorpusVocabulary(shop)
        example = first_example(f"{shop}_{family}", "train")
        both = np.concatenate([example["inputs"], example["targets"]])
        assert (both >= vocabulary.sentinels_end).any()
        assert vocabulary.tokenizer.unk_id() not in both


def test_masked_spans_use_the_sentinels(shop):
    with using("codes"):
        end = CorpusVocabulary(shop).sentinels_end
        example = first_example(f"{shop}_mlm", "train")
        assert end - 1 in example["inputs"]
        assert end - 1 in example["targets"]


def test_codes_are_told_what_they_mean(shop):
    """With codes, `item_embedding` names the title; with titles it must not."""
    with using("codes"):
        found = _item_embedding_texts(shop)
        titles = read_catalogue(shop).texts
        assert any(f"title: {name};" in text for text in found for name in titles)
    assert not any("title:" in text for text in _item_embedding_texts(shop))


def _item_embedding_texts(shop: str) -> list[str]:
    task = seqio.get_mixture_or_task(f"{shop}_item_embedding")
    texts = []
    for seed in range(2):
        dataset = task.get_dataset(LENGTHS, "train", shuffle=False, seed=seed)
        for example in dataset.as_numpy_iterator():
            texts += [
                example["inputs_pretokenized"].decode(),
                example["targets_pretokenized"].decode(),
            ]
    return texts


def test_the_digest_tells_indices_apart(shop):
    digests = {}
    for name in NAMES:
        with using(name):
            digests[name] = CorpusVocabulary(shop).sha256
    assert len(set(digests.values())) == len(NAMES)
    with using("codes"):
        changed = CODES.copy()
        changed[[2, 3]] = CODES[[3, 2]]
        index = item_codes.ItemCodes.fitted(changed, (3, 4, 8), "semantic", {})
        index.write(item_codes.folder_of(shop, "codes"))
        item_writing.reload()
        assert CorpusVocabulary(shop).sha256 != digests["codes"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brand", "have the same tokens"),
        ("title+title", "twice"),
        ("title+", "or none"),
        ("nothing", "no item index 'nothing'"),
    ],
)
def test_names_that_do_not_write_items_are_refused(shop, name, message):
    with using(name), pytest.raises(ValueError, match=message):
        _ = open_item_index(shop, CorpusVocabulary(shop)).item_tokens


def test_codes_outside_their_codebooks_are_refused():
    for bad in ([[3, 0, -1]], [[-1, 0, 0]], [[0, -2, 0]]):
        with pytest.raises(ValueError, match="codebooks"):
            item_codes.ItemCodes.fitted(np.array(bad), (3, 4, 8), "semantic", {})


def test_new_items_join_the_catalogue_and_titles_write_them(tmp_path, monkeypatch):
    small_corpus.build(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    before = read_catalogue("small_shop")
    known = item_codes.ItemCodes.fitted(CODES, (3, 4, 8), "semantic", {})
    known.write(item_codes.folder_of("small_shop", "codes"))
    with using("codes"):
        digest = CorpusVocabulary("small_shop").sha256
    file = tmp_path / "new.csv"
    file.write_text(
        "item_id,title,brand,year\nn1,Red Kettle,Lumo,2020\nn2,Gold Lamp,,\nk1,Other,,\n"
    )
    catalogue, num_new = new_items.add_items("small_shop", file)
    assert num_new == 2
    assert catalogue.texts[:12] == before.texts
    assert set(catalogue.texts[12:]) == {"Red Kettle (2020)", "Gold Lamp"}
    assert new_items.add_items("small_shop", file)[1] == 0

    index = open_item_index("small_shop", CorpusVocabulary("small_shop"))
    assert index.item_of("Red Kettle (2020)") in (12, 13)
    for name in ("atomic", "codes"):  # write those alone that they know
        with using(name):
            assert len(open_item_index("small_shop", CorpusVocabulary("small_shop")).texts) == 12
            assert (first_example("small_shop_retrieval")["history_item_indices"] < 12).all()
    with using("codes"):
        vocabulary = CorpusVocabulary("small_shop")
        assert (
            open_item_index("small_shop", vocabulary).item_of("<codes_0_2><codes_1_3><codes_2_1>")
            < 0
        )
        known.extended(np.array([[0, 0, 0], [2, 3, 1]])).write(
            item_codes.folder_of("small_shop", "codes")
        )
        item_writing.reload()
        index = open_item_index("small_shop", vocabulary)
        assert index.item_of("<codes_0_2><codes_1_3><codes_2_1>") == 13
        assert vocabulary.sha256 == digest  # a trained run still fits


def test_new_items_that_cannot_be_used_change_nothing(tmp_path, monkeypatch):
    small_corpus.build(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    file = tmp_path / "new.csv"
    for text, message in [
        ("item_id,title\nn1,Łódź\n", "do not come back"),
        ("item_id,title\n,Gold Lamp\n", "without an id"),
        ("title\nGold Lamp\n", "item"),
    ]:
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            new_items.add_items("small_shop", file)
        assert len(read_catalogue("small_shop")) == 12
