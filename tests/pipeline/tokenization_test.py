"""Templates and tokenization: parts, blocks, cutting."""

import numpy as np
import pytest
import seqio
import tensorflow as tf
from small_corpus import title

from rec_align.data.corpus import read_catalogue
from rec_align.pipeline import templates, tokenization
from rec_align.pipeline.item_index import ItemIndex, open_item_index
from rec_align.pipeline.vocabulary import CorpusVocabulary
from rec_align.prompts import FAMILIES, Family, Template


def field(name: str, parts: list[str], blocks=None, items=None) -> dict:
    zeros = np.zeros(len(parts), np.int32)
    return {
        f"{name}_parts": np.array(parts),
        f"{name}_blocks": zeros if blocks is None else np.array(blocks, np.int32),
        f"{name}_items": zeros if items is None else np.array(items, np.int32),
    }


def fill(family: Family, *, is_train: bool = False, unseen: bool = False, **fields) -> dict:
    example = {"seed": np.array([1, 2], np.int32)}
    example |= {} if is_train else {"held_out_item_index": 1}
    for name, value in fields.items():
        example |= field(name, *value)
    dataset = tf.data.Dataset.from_tensors(example)
    filled = templates.fill_template(dataset, family=family, unseen=unseen)
    return next(filled.as_numpy_iterator())


FAMILY = Family(
    name="test",
    seen=(Template("A {x} b ({y}):"), Template("{y} is in {x}")),
    unseen=Template("Never {x} {y}"),
)
FIELDS = {"x": (["x1", "x2"], [1, 2], [1, 2]), "y": (["y"],), "target": (["t"], [3])}


def test_fill_template_orders_parts_and_glues_punctuation():
    example = fill(FAMILY, **FIELDS)
    assert [part.decode() for part in example["inputs_parts"]] == ["A", "x1", "x2", "b", "(y):"]
    assert example["inputs_part_blocks"].tolist() == [0, 1, 2, 0, 0]
    assert example["inputs_part_items"].tolist() == [0, 1, 2, 0, 0]
    assert example["inputs_part_entities"].tolist() == [0, 1, 2, 0, 3]
    assert example["inputs_pretokenized"] == b"A x1 x2 b (y):"
    assert example["targets_pretokenized"] == b"t"
    assert example["targets_part_blocks"].tolist() == [3]


def test_fill_template_takes_the_unseen_one_on_demand():
    assert fill(FAMILY, unseen=True, **FIELDS)["inputs_pretokenized"] == b"Never x1 x2 y"


def test_training_draws_among_the_seen_templates():
    dataset = tf.data.Dataset.range(60).map(
        lambda i: (
            {"seed": tf.stack([tf.cast(i, tf.int32), 0])}
            | {k: tf.constant(v) for name in FIELDS for k, v in field(name, *FIELDS[name]).items()}
        )
    )
    filled = templates.fill_template(dataset, family=FAMILY)
    written = {e["inputs_pretokenized"] for e in filled.as_numpy_iterator()}
    assert written == {b"A x1 x2 b (y):", b"y is in x1 x2"}


def tokenize(vocabulary, parts, blocks, items, targets, target_blocks, lengths=None, entities=None):
    example = {
        "inputs_parts": np.array(parts),
        "inputs_part_blocks": np.array(blocks, np.int32),
        "inputs_part_items": np.array(items, np.int32),
        "targets_parts": np.array(targets),
        "targets_part_blocks": np.array(target_blocks, np.int32),
        "history_blocks": np.array([1], np.int32),
    }
    if entities:
        example["inputs_part_entities"] = np.array(entities, np.int32)
    features = {"inputs": seqio.Feature(vocabulary), "targets": seqio.Feature(vocabulary)}
    dataset = tokenization.tokenize_parts(
        tf.data.Dataset.from_tensors(example), lengths, output_features=features
    )
    return next(dataset.as_numpy_iterator())


@pytest.fixture
def vocabulary(small_shop) -> CorpusVocabulary:
    return CorpusVocabulary(small_shop)


NAMES = [title(item) for item in ("k1", "p1", "l1", "c1")]
PROMPT = "Recommend the next item. History:"


def causal(vocabulary, lengths=None) -> tuple[dict, list[int], list[int]]:
    """Prompt and 3 items; 4 targets; with the token counts of parts and of targets with EOS."""
    parts = [PROMPT, *(f"{name};" for name in NAMES[:3])]
    example = tokenize(vocabulary, parts, [0, 1, 2, 3], [0, 1, 2, 3], NAMES, [1, 2, 3, 4], lengths)
    sizes = [len(vocabulary.encode(part)) for part in parts]
    return example, sizes, [len(vocabulary.encode(name)) + 1 for name in NAMES]


def test_tokenize_parts_by_hand(vocabulary):
    example, sizes, target_sizes = causal(vocabulary)
    parts = [PROMPT, *(f"{name};" for name in NAMES[:3])]
    assert example["inputs"].tolist() == [t for part in parts for t in vocabulary.encode(part)]
    assert example["inputs_blocks"].tolist() == np.repeat([0, 1, 2, 3], sizes).tolist()
    assert example["targets"].tolist() == [
        t for name in NAMES for t in (*vocabulary.encode(name), 1)
    ]
    assert example["targets_blocks"].tolist() == np.repeat([1, 2, 3, 4], target_sizes).tolist()
    assert example["num_cut_parts"] == example["num_cut_tokens"] == 0
    assert "history_blocks" not in example and "inputs_parts" not in example


def test_plain_examples_end_with_eos(vocabulary):
    example = tokenize(vocabulary, ["a", "b"], [0, 0], [0, 1], ["c"], [1])
    assert example["inputs"].tolist() == [*vocabulary.encode("a"), *vocabulary.encode("b"), 1]
    assert example["inputs_blocks"].tolist() == [0] * len(example["inputs"])


@pytest.mark.parametrize("num_cut", [0, 1, 2, 3])
@pytest.mark.parametrize("spare", [0, 1])
def test_whole_oldest_items_are_cut_with_their_targets(vocabulary, num_cut, spare):
    _, sizes, target_sizes = causal(vocabulary)
    limit = sizes[0] + sum(sizes[1 + num_cut :]) + spare
    example, _, _ = causal(vocabulary, {"inputs": limit, "targets": 512})
    kept = [sizes[0], *[0] * num_cut, *sizes[1 + num_cut :]]
    assert example["inputs_blocks"].tolist() == np.repeat([0, 1, 2, 3], kept).tolist()
    answered = [0 if t < num_cut else size for t, size in enumerate(target_sizes)]
    assert example["targets_blocks"].tolist() == np.repeat([1, 2, 3, 4], answered).tolist()
    assert example["num_cut_parts"] == 2 * num_cut
    lost = sum(sizes[1 : 1 + num_cut]) + sum(target_sizes[:num_cut])
    assert example["num_cut_tokens"] == lost


def test_the_tail_goes_where_the_prompt_alone_is_too_long(vocabulary):
    example, sizes, _ = causal(vocabulary, {"inputs": 3, "targets": 512})
    assert sizes[0] > 3
    assert example["inputs"].tolist() == vocabulary.encode(PROMPT)[:3]
    assert set(example["targets_blocks"].tolist()) == {4}


def test_oldest_targets_go_until_the_rest_fit(vocabulary):
    _, _, sizes = causal(vocabulary)
    example, _, _ = causal(vocabulary, {"inputs": 512, "targets": sizes[2] + sizes[3]})
    assert set(example["targets_blocks"].tolist()) == {3, 4}
    assert set(example["inputs_blocks"].tolist()) == {0, 1, 2, 3}
    example, _, _ = causal(vocabulary, {"inputs": 512, "targets": 2})
    assert example["targets"].tolist() == [vocabulary.encode(NAMES[3])[0], 1]
    assert example["targets_blocks"].tolist() == [4, 4]


def test_bidirectional_histories_lose_items_but_no_target(vocabulary):
    parts = [PROMPT, *(f"{name};" for name in NAMES[:3])]
    size = len(vocabulary.encode(PROMPT)) + len(vocabulary.encode(parts[3])) + 1
    lengths = {"inputs": size, "targets": 64}
    example = tokenize(vocabulary, parts, [0] * 4, [0, 1, 2, 3], NAMES[2:], [1, 1], lengths)
    expected = [*vocabulary.encode(PROMPT), *vocabulary.encode(parts[3]), 1]
    assert example["inputs"].tolist() == expected
    assert (example["targets"] == 1).sum() == 2


def test_parts_of_one_item_are_cut_together(vocabulary):
    parts = ["Rate.", "Red Kettle:", "4;", "Iron Pan:", "5;", "Desk Lamp:"]
    args = (vocabulary, parts, [0, 1, 2, 3, 4, 5], [0, 1, 1, 2, 2, 0], ["4", "5", "3"], [2, 4, 6])
    whole = tokenize(*args)
    # One token too many: the first title would do, but its rating goes with it.
    example = tokenize(*args, {"inputs": len(whole["inputs"]) - 1, "targets": 64})
    assert sorted(set(example["inputs_blocks"].tolist())) == [0, 3, 4, 5]
    assert sorted(set(example["targets_blocks"].tolist())) == [4, 6]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_part_by_part_equals_the_whole_text_with_the_t5_vocabulary(t5_vocabulary, family):
    """Also with titles of awkward punctuation, as the catalogues have."""
    items = ["M*A*S*H;", "8 1/2 (1963);", "Crème 5% & Oil, 2 oz;", "<extra_id_0>;", "10,000 B.C.;"]
    names = {name for template in family.templates for name in template.fields}
    fields = {name: (["It's (2), Sci-Fi"],) for name in names}
    fields |= {name: (items,) for name in ("history", "candidates", "attributes")}
    for unseen in (False, True):
        example = fill(family, unseen=unseen, **fields)
        count = len(example["inputs_parts"])
        tokenized = tokenize(
            t5_vocabulary, example["inputs_parts"], [0] * count, [0] * count, ["a"], [1]
        )
        text = example["inputs_pretokenized"].decode()
        assert tokenized["inputs"].tolist() == [*t5_vocabulary.encode(text), 1]


def test_item_index(small_shop):
    vocabulary = CorpusVocabulary(small_shop)
    index = open_item_index(small_shop, vocabulary)
    assert index.texts == read_catalogue(small_shop).texts
    assert index.item_tokens.dtype == np.int32
    for text, row in zip(index.texts, index.item_tokens.tolist(), strict=True):
        size = row.index(1)
        assert vocabulary.decode(row[:size]) == text
        assert not any(row[size + 1 :])
    assert open_item_index(small_shop, vocabulary) is index
    with pytest.raises(ValueError, match="have the same tokens"):
        _ = ItemIndex(["Red Kettle", "Red  Kettle"], vocabulary).item_tokens


def test_corpus_vocabulary_is_lazy_equal_by_corpus_and_picklable(small_shop, t5_vocabulary):
    import pickle

    import gin

    assert CorpusVocabulary("not built") == CorpusVocabulary("not built")
    assert CorpusVocabulary("not built") != CorpusVocabulary(small_shop)
    vocabulary = CorpusVocabulary(small_shop)
    size = vocabulary.vocab_size
    copied = pickle.loads(pickle.dumps(vocabulary))
    assert copied == vocabulary and hash(copied) == hash(vocabulary)
    assert copied.encode("Red Kettle") == vocabulary.encode("Red Kettle")
    gin.parse_config(f"vocabulary_path.path = '{t5_vocabulary.sentencepiece_model_file}'")
    try:
        assert vocabulary.vocab_size == 32_100 != size
        assert vocabulary.encode("Red Kettle") == t5_vocabulary.encode("Red Kettle")
    finally:
        gin.clear_config()
    assert vocabulary.vocab_size == size


def test_parts_of_one_item_are_one_entity():
    """A rated item, an item without a rating, the one asked about, and a candidate after them."""
    family = Family(
        name="test", seen=(Template("Rate {x} {y} now"),), unseen=Template("Never {x} {y}")
    )
    parts, items = ["A:", "4;", "B;", "", "C:", ""], [1, 1, 2, 2, 0, 0]
    fields = {"x": (parts, [0] * 6, items), "y": (["1. D;"], [0], [0]), "target": (["3"], [1])}
    found = fill(family, **fields)["inputs_part_entities"].tolist()
    assert found == [0, 1, 1, 2, 0, 3, 0, 4, 0]


def test_entities_are_numbered_anew_where_items_were_cut(vocabulary):
    parts = ["Desk Lamp;", "Rate.", "Red Kettle:", "4;", "Iron Pan:", "5;"]
    blocks, items, entities = [0] * 6, [0, 0, 1, 1, 2, 2], [1, 0, 2, 2, 3, 3]
    sizes = [len(vocabulary.encode(part)) for part in parts]
    for cut, kept in ((0, [1, 0, 2, 2, 3, 3]), (1, [1, 0, None, None, 2, 2])):
        limit = sum(sizes) + 1 - cut
        example = tokenize(
            vocabulary, parts, blocks, items, ["3"], [1], {"inputs": limit, "targets": 9}, entities
        )
        numbers = [n for n, size in zip(kept, sizes, strict=True) for _ in range(size)]
        assert example["inputs_entities"].tolist() == [n for n in numbers if n is not None] + [0]
    without = tokenize(vocabulary, parts, blocks, items, ["3"], [1])
    assert set(without["inputs_entities"].tolist()) == {0}
