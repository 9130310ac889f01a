"""Batches of examples of varying length, and parts that are looked up."""

import numpy as np
import tensorflow as tf

from rec_align.pipeline.known_parts import open_tokenizer
from rec_align.pipeline.ragged import BATCH_SIZE, Rows, as_ragged, map_batches
from rec_align.pipeline.vocabulary import CorpusVocabulary


def test_map_batches_keeps_order_and_the_kind_of_each_feature():
    count = 2 * BATCH_SIZE + 3

    def example(number):
        return {"number": number, "varying": tf.range(number % 4), "pair": tf.stack([number, 7])}

    def double(batch):
        assert isinstance(batch["varying"], tf.RaggedTensor)
        pair = as_ragged(batch["pair"])
        return batch | {"varying": batch["varying"] * 2, "pair": pair.with_values(pair.values + 1)}

    dataset = map_batches(tf.data.Dataset.range(count).map(example), double)
    assert {k: v.shape.rank for k, v in dataset.element_spec.items()} == {
        "number": 0,
        "varying": 1,
        "pair": 1,
    }
    assert all(isinstance(spec, tf.TensorSpec) for spec in dataset.element_spec.values())
    for number, found in enumerate(dataset.as_numpy_iterator()):
        assert found["number"] == number
        assert found["varying"].tolist() == [2 * i for i in range(number % 4)]
        assert found["pair"].tolist() == [number + 1, 8]
    assert number == count - 1


def test_rows_against_numpy():
    lengths, values = [2, 0, 3, 0, 1], np.array([5, -1, 4, 4, 2, 9], np.int32)
    rows = Rows.of_lengths(tf.constant(lengths))
    cut = np.split(values, np.cumsum(lengths)[:-1])
    assert rows.numbers.numpy().tolist() == np.repeat(range(5), lengths).tolist()
    assert rows.lengths.numpy().tolist() == lengths
    assert rows.positions.numpy().tolist() == [i for n in lengths for i in range(n)]
    assert rows.sums(values).numpy().tolist() == [int(row.sum()) for row in cut]
    found = rows.maxima(values).numpy().tolist()
    assert found == [row.max() if len(row) else np.iinfo(np.int32).min for row in cut]
    expected = np.concatenate([np.cumsum(row) for row in cut])
    assert rows.running_sums(values).numpy().tolist() == expected.tolist()


def test_known_and_unknown_parts_have_the_vocabularys_own_tokens(small_shop):
    vocabulary = CorpusVocabulary(small_shop)
    parts = [
        "Red Kettle;",
        "never seen before",
        "Iron Pan",
        "1. Iron Pan;",
        "",
        "Red Kettle;",
        "4;",
    ]
    for some in (parts, parts[:1], parts[1:2], []):
        tokens, begins, ends = open_tokenizer(vocabulary).tokenize(tf.constant(some, tf.string))
        written = [tokens[a:b].numpy().tolist() for a, b in zip(begins, ends, strict=True)]
        assert written == [[*vocabulary.encode(part), 1] for part in some]
    assert open_tokenizer(CorpusVocabulary(small_shop)) is open_tokenizer(vocabulary)
