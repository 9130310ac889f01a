"""The converter, packing, batches and SeqIO's evaluator."""

import re

import gin
import numpy as np
import pytest
import seqio
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rec_align.pipeline import packing
from rec_align.pipeline.batches import padding_share, train_batches
from rec_align.pipeline.features import RecFeatureConverter

CAUSAL = {
    "inputs": [7, 8, 5],
    "inputs_blocks": [0, 0, 1],
    "targets": [3, 1, 5, 1],
    "targets_blocks": [1, 1, 2, 2],
}
PLAIN = {"inputs": [9, 1], "inputs_blocks": [0, 0], "targets": [4, 1], "targets_blocks": [1, 1]}


def dataset_of(*examples: dict) -> tf.data.Dataset:
    spec = {name: tf.TensorSpec([None], tf.int32) for name in examples[0]}
    return tf.data.Dataset.from_generator(lambda: iter(examples), output_signature=spec)


def convert(*examples: dict, pack: bool, inputs: int = 6, targets: int = 7) -> list[dict]:
    converter = RecFeatureConverter(pack=pack)
    converted = converter(dataset_of(*examples), {"inputs": inputs, "targets": targets})
    return [
        {k: v.tolist() for k, v in example.items()} for example in converted.as_numpy_iterator()
    ]


def test_packed_example_by_hand():
    assert convert(CAUSAL, PLAIN, pack=True) == [
        {
            "encoder_input_tokens": [7, 8, 5, 9, 1, 0],
            "encoder_blocks": [0, 0, 1, 0, 0, 0],
            "encoder_segment_ids": [1, 1, 1, 2, 2, 0],
            "encoder_positions": [0, 1, 2, 0, 1, 0],
            "decoder_target_tokens": [3, 1, 5, 1, 4, 1, 0],
            "decoder_input_tokens": [0, 3, 0, 5, 0, 4, 0],
            "decoder_loss_weights": [1, 1, 1, 1, 1, 1, 0],
            "decoder_blocks": [1, 1, 2, 2, 1, 1, 0],
            "decoder_segment_ids": [1, 1, 1, 1, 2, 2, 0],
            "decoder_positions": [0, 1, 2, 3, 0, 1, 0],
        }
    ]


def test_unpacked_example_by_hand():
    assert convert(CAUSAL, pack=False, inputs=4, targets=6) == [
        {
            "encoder_input_tokens": [7, 8, 5, 0],
            "encoder_blocks": [0, 0, 1, 0],
            "decoder_target_tokens": [3, 1, 5, 1, 0, 0],
            "decoder_input_tokens": [0, 3, 0, 5, 0, 0],
            "decoder_loss_weights": [1, 1, 1, 1, 0, 0],
            "decoder_blocks": [1, 1, 2, 2, 0, 0],
        }
    ]


def test_masks_that_follow_from_the_blocks():
    """The four rules of who sees whom, applied to the packed example above by hand."""
    (e,) = convert(CAUSAL, PLAIN, pack=True)
    segments, blocks = np.array(e["encoder_segment_ids"]), np.array(e["encoder_blocks"])
    own = np.array(e["decoder_segment_ids"]), np.array(e["decoder_blocks"])
    encoder = (segments[:, None] == segments) & (blocks <= blocks[:, None]) & (segments > 0)
    cross = (own[0][:, None] == segments) & (blocks < own[1][:, None]) & (segments > 0)
    x, o = True, False
    assert encoder[:5].tolist() == [
        [x, x, o, o, o, o],  # the prompt does not see the item
        [x, x, o, o, o, o],
        [x, x, x, o, o, o],  # the item sees the prompt
        [o, o, o, x, x, o],  # the other example is apart, and bidirectional
        [o, o, o, x, x, o],
    ]
    assert cross[:6].tolist() == [
        [x, x, o, o, o, o],  # the first target sees the prompt, not its own item
        [x, x, o, o, o, o],
        [x, x, x, o, o, o],  # the second sees the item before it
        [x, x, x, o, o, o],
        [o, o, o, x, x, o],
        [o, o, o, x, x, o],
    ]


def test_candidates_and_catalogue_flag_pass_where_they_are():
    extra = {"candidate_tokens": tf.ones([3, 5], tf.int32), "in_catalogue": tf.constant(1)}
    dataset = dataset_of(PLAIN).map(lambda e: e | extra)
    converter = RecFeatureConverter(pack=False)
    converted = converter(dataset, {"inputs": 4, "targets": 4})
    assert converted.element_spec["candidate_tokens"].shape == [3, 5]
    (e,) = converted.as_numpy_iterator()
    assert e["in_catalogue"] == 1 and e["candidate_tokens"].shape == (3, 5)
    # The same converter then serves a task without them, and packing leaves them out.
    (e,) = converter(dataset_of(PLAIN), {"inputs": 4, "targets": 4}).as_numpy_iterator()
    assert "in_catalogue" not in e
    (e,) = RecFeatureConverter()(dataset, {"inputs": 4, "targets": 4}).as_numpy_iterator()
    assert "in_catalogue" not in e


def test_first_fit_by_hand():
    lengths = tf.constant([[3, 1], [3, 1], [2, 1], [1, 4], [1, 4]])
    assert packing.first_fit(lengths, tf.constant([5, 5])).numpy().tolist() == [0, 1, 0, 1, 2]


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=40),
    group=st.sampled_from([4, 512]),
)
def test_packing_keeps_every_example_whole(sizes, group):
    examples = [
        {
            "inputs": np.full(a, n + 1),
            "inputs_blocks": np.arange(a),
            "targets": np.full(b, n + 1),
            "targets_blocks": np.arange(b),
        }
        for n, (a, b) in enumerate(sizes)
    ]
    beside = {"inputs_blocks": "inputs", "targets_blocks": "targets"}
    original = packing.GROUP_SIZE
    packing.GROUP_SIZE = group
    try:
        packed = packing.pack(dataset_of(*examples), {"inputs": 9, "targets": 6}, beside)
    finally:
        packing.GROUP_SIZE = original
    seen = []
    for row in packed.as_numpy_iterator():
        for name, length in (("inputs", 9), ("targets", 6)):
            assert row[name].shape == (length,)
            segments = row[f"{name}_segment_ids"]
            assert ((segments > 0) == (row[name] > 0)).all()
            assert (np.diff(segments[segments > 0]) >= 0).all()
        for segment in range(1, row["inputs_segment_ids"].max() + 1):
            where = row["inputs_segment_ids"] == segment
            (number,) = set(row["inputs"][where].tolist())
            where_target = row["targets_segment_ids"] == segment
            assert set(row["targets"][where_target].tolist()) == {number}
            assert where.sum() == sizes[number - 1][0]
            assert where_target.sum() == sizes[number - 1][1]
            assert row["inputs_blocks"][where].tolist() == list(range(where.sum()))
            assert row["inputs_positions"][where].tolist() == list(range(where.sum()))
            seen.append(number)
    assert sorted(seen) == list(range(1, len(sizes) + 1))


LENGTHS = {"inputs": 64, "targets": 48}


@pytest.fixture
def two_candidates():
    with gin.unlock_config():
        gin.bind_parameter("ranking_candidates.num_candidates", 2)
        gin.bind_parameter("unlisted_candidates.num_candidates", 2)
    yield
    gin.clear_config()


def take(count: int, **options) -> list[dict]:
    arguments = {"task_feature_lengths": LENGTHS, "batch_size": 2, "seed": 3, "round_steps": 3}
    arguments |= {"mixture_name": "small_shop_recommendation"} | options
    stream = train_batches(**arguments)
    return [next(stream) for _ in range(count)]


def assert_equal(ours: list[dict], theirs: list[dict]) -> None:
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(ours, theirs, strict=True) for k in a)


def test_batches_are_fixed_by_the_seed_and_resume_at_any_step(small_shop, two_candidates):
    batches = take(5)
    assert_equal(take(1, start_step=4), batches[4:])  # inside the second round
    other = take(1, seed=4)[0]
    assert any(not np.array_equal(other[k], batches[0][k]) for k in other)
    tokens = [batch["encoder_input_tokens"].tobytes() for batch in batches]
    assert len(set(tokens)) == 5
    assert all(batch["encoder_input_tokens"].shape == (2, 64) for batch in batches)


def test_hosts_read_different_shards(small_shop, two_candidates):
    first, second = (
        take(1, mixture_name="small_shop_retrieval", shard=seqio.ShardInfo(index=i, num_shards=2))[
            0
        ]
        for i in range(2)
    )
    assert not np.array_equal(first["encoder_input_tokens"], second["encoder_input_tokens"])


def test_bad_batch_arguments_are_named():
    with pytest.raises(ValueError, match="batch_size=0"):
        take(1, batch_size=0)


def test_padding_share():
    batch = {"encoder_input_tokens": np.array([[1, 0], [1, 1]])}
    batch["decoder_target_tokens"] = np.array([[1, 0, 0, 0]])
    assert padding_share(batch) == (0.25, 0.75)


@pytest.mark.parametrize("family", ["retrieval", "candidates", "ranking", "rating", "mim"])
def test_tasks_run_in_seqios_evaluator(small_shop, two_candidates, family):
    """With a predict function that always gives the first user's answer."""
    evaluator = seqio.Evaluator(
        f"small_shop_{family}", RecFeatureConverter(pack=False), "test", sequence_length=LENGTHS
    )
    (task,) = evaluator.eval_tasks
    seen = {}

    def predict(dataset):
        answers = []
        for number, example in dataset.as_numpy_iterator():
            seen.update({name: value.shape for name, value in example.items()})
            answers.append((number, example["decoder_target_tokens"].tolist()))
        return answers

    def predict_with_aux(dataset):
        answers = predict(dataset)
        aux = {
            "item_indices": [[0, 1, 2]] * len(answers),
            "candidate_scores": [[0.5, 0.1]] * len(answers),
        }
        return answers, aux

    metrics, _ = evaluator.evaluate(
        compute_metrics=True, predict_fn=predict, predict_with_aux_fn=predict_with_aux
    )
    scores = metrics.result()[task.name]
    assert seen["encoder_blocks"] == (64,) and seen["decoder_blocks"] == (48,)
    assert ("candidate_tokens" in seen) == (family in ("ranking", "candidates"))
    assert ("in_catalogue" in seen) == (family in ("retrieval", "candidates"))
    if family in ("rating", "mim"):  # the answers themselves were predicted
        assert scores["mae" if family == "rating" else "exact_match"] == (family == "mim")
    else:
        assert 0 <= scores["full/hr@10" if family == "retrieval" else "hr@1"] <= 1
    evaluator.close()


def test_entities_are_converted_where_they_are_asked_for():
    """Packed, each example keeps the numbers of its own entities."""
    examples = [CAUSAL | {"inputs_entities": [0, 1, 1]}, PLAIN | {"inputs_entities": [1, 0]}]
    lengths = {"inputs": 6, "targets": 7}
    (packed,) = RecFeatureConverter(entities=True)(dataset_of(*examples), lengths)
    assert packed["encoder_entities"].numpy().tolist() == [0, 1, 1, 1, 0, 0]
    converter = RecFeatureConverter(pack=False, entities=True)
    dataset = dataset_of(*examples).map(lambda e: e | {"in_catalogue": 1})
    unpacked = [e["encoder_entities"].numpy().tolist() for e in converter(dataset, lengths)]
    assert unpacked == [[0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]]
    (without,) = RecFeatureConverter()(dataset_of(*examples), lengths)
    assert "encoder_entities" not in without


@pytest.mark.parametrize("family", ["rating", "ranking", "mlm"])
def test_tasks_number_their_entities(small_shop, two_candidates, family):
    """What stands between two numbers is the very text of the entities, in order."""
    task = seqio.get_mixture_or_task(f"small_shop_{family}")
    dataset = task.get_dataset(LENGTHS, "train", shuffle=False, num_epochs=1, seed=0)
    decode = task.output_features["inputs"].vocabulary.decode
    for example in dataset.take(4).as_numpy_iterator():
        entities, tokens = example["inputs_entities"], example["inputs"]
        numbers = entities[entities > 0]
        assert sorted(set(numbers.tolist())) == list(range(1, numbers.max() + 1))
        assert (np.diff(numbers) >= 0).all()
        pieces = [decode(tokens[entities == n].tolist()) for n in range(1, numbers.max() + 1)]
        text = example["inputs_pretokenized"].decode()
        if family == "mlm":
            continue  # its text is masked after it was written
        for piece in pieces:
            assert piece in text
        if family == "rating":
            assert all(re.fullmatch(r".+(: [1-5];|;)", piece) for piece in pieces[:-1]), pieces
        if family == "ranking":
            assert sum(piece.startswith(("1. ", "2. ")) for piece in pieces) == 2
