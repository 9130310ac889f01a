"""The reader: its order, its parts, and what it refuses; on a folder written by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest

from rec_align.training.compiled import CompiledMixture, model_features, permuted

LENGTHS = {"inputs": 6, "targets": 7}
FEATURES = [
    ["encoder_input_tokens", "uint16", 6],
    ["encoder_blocks", "uint16", 6],
    ["encoder_segment_ids", "uint16", 6],
    ["decoder_target_tokens", "uint16", 7],
    ["decoder_blocks", "uint16", 7],
    ["decoder_segment_ids", "uint16", 7],
]
EPOCHS = [5, 1, 7]


@pytest.fixture
def directory(tmp_path):
    """Three epochs of rows, told apart by their first token, and two validation rows."""
    rows = np.zeros(sum(EPOCHS) + 2, [(name, kind, (size,)) for name, kind, size in FEATURES])
    rows["encoder_input_tokens"][:, 0] = 100 + np.arange(len(rows))
    rows["decoder_target_tokens"][:, :2] = [40_000, 1]
    rows[:-2].tofile(tmp_path / "train.rows")
    rows[-2:].tofile(tmp_path / "validation.rows")
    manifest = {
        "format": 1,
        "features": FEATURES,
        "rows": EPOCHS,
        "validation_rows": 2,
        "vocab_size": 50_000,
        "vocabulary_sha256": "abc",
        "task_feature_lengths": LENGTHS,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def numbers(compiled: CompiledMixture, count: int, step: int = 0, **kwargs) -> list[int]:
    """Which rows are in `count` batches."""
    batches = compiled.batches_from(step, **{"seed": 0, "batch_size": 2} | kwargs)
    taken = [next(batches)["encoder_input_tokens"][:, 0] - 100 for _ in range(count)]
    return np.concatenate(taken).tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000])
def test_a_permutation_has_every_number_once(size):
    orders = [permuted(np.arange(size), size, (seed, 0)) for seed in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(size))
        np.testing.assert_array_equal(permuted(np.arange(size)[size // 2 :], size, (0, 0)),
                                      orders[0][size // 2 :])  # fmt: skip
    if size > 4:
        assert len({tuple(order) for order in orders}) == 3


def test_permutations_look_random():
    """Correlation with the identity and of neighbours: within four standard errors of nothing."""
    size = 10_000
    for seed in range(5):
        order = permuted(np.arange(size), size, (seed,))
        for one, other in [(np.arange(size), order), (order[:-1], order[1:])]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 4 / size**0.5


def test_every_row_once_a_turn_epoch_by_epoch_and_in_a_new_order(directory):
    compiled = CompiledMixture.open(directory)
    stream = numbers(compiled, 13)  # two turns of 13 rows, in batches of 2
    for turn in (stream[:13], stream[13:]):
        assert sorted(turn[:5]) == [0, 1, 2, 3, 4]
        assert turn[5] == 5
        assert sorted(turn[6:]) == [6, 7, 8, 9, 10, 11, 12]
    assert stream[:13] != stream[13:]
    assert numbers(compiled, 13, seed=1) != stream


def test_any_batch_is_found_at_once(directory):
    compiled = CompiledMixture.open(directory)
    whole = numbers(compiled, 20, batch_size=3)
    for step in (1, 4, 5, 13, 19):
        assert numbers(compiled, 1, step, batch_size=3) == whole[3 * step : 3 * step + 3]
    assert len(numbers(compiled, 1, 10**12)) == 2


def test_the_parts_of_all_hosts_are_the_batches_of_one(directory):
    compiled = CompiledMixture.open(directory)
    whole = np.reshape(numbers(compiled, 9, batch_size=6), (9, 6))
    parts = [
        np.reshape(numbers(compiled, 9, batch_size=6, shard=(part, 3)), (9, 2)) for part in range(3)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    with pytest.raises(ValueError, match="multiple of the 4 parts"):
        numbers(compiled, 1, batch_size=6, shard=(0, 4))


def test_what_follows_from_the_targets():
    """The worked example of `RecFeatureConverter`."""
    rows = np.zeros(1, [(name, kind, (size,)) for name, kind, size in FEATURES])
    rows["decoder_target_tokens"] = [3, 1, 5, 1, 4, 1, 0]
    batch = model_features(rows)
    assert batch["decoder_input_tokens"].tolist() == [[0, 3, 0, 5, 0, 4, 0]]
    assert batch["decoder_loss_weights"].tolist() == [[1, 1, 1, 1, 1, 1, 0]]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.uint16)}


def test_validation_rows_come_in_order_and_fill_the_last_batch(directory):
    compiled = CompiledMixture.open(directory)
    (batch,) = compiled.validation_batches(3)
    assert batch["encoder_input_tokens"][:, 0].tolist() == [113, 114, 0]
    assert batch["decoder_target_tokens"][0, 0] == 40_000  # not read as negative
    assert batch["decoder_loss_weights"][2].sum() == 0
    assert len(compiled.validation_batches(1)) == 2


def test_what_does_not_fit_is_refused_with_both_values(directory):
    compiled = CompiledMixture.open(directory)
    compiled.check_fits(vocabulary_sha256="abc", task_feature_lengths=LENGTHS)
    with pytest.raises(ValueError, match="vocabulary_sha256 is abc, the model's is def"):
        compiled.check_fits(vocabulary_sha256="def")
    with pytest.raises(ValueError, match=r"'inputs': 6.*'inputs': 512"):
        compiled.check_fits(task_feature_lengths={"inputs": 512, "targets": 7})
    compiled.check_rows(50_048)
    with pytest.raises(ValueError, match=r"vocab_size 50000, .* 50048 rows, .* has 32128"):
        compiled.check_rows(32_128)


def test_what_is_not_whole_is_refused(directory):
    with pytest.raises(ValueError, match=r"no compiled mixture in .*rec-align compile"):
        CompiledMixture.open(directory / "elsewhere")
    path = directory / "train.rows"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train.rows has 1,013 bytes, its manifest says 1,014"):
        CompiledMixture.open(directory)
    manifest = json.loads((directory / "manifest.json").read_text()) | {"format": 2}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="format 2, this rec_align reads 1"):
        CompiledMixture.open(directory)


def test_reading_loads_neither_tensorflow_nor_jax():
    script = (
        "import sys, rec_align.training.compiled\n"
        "print({'tensorflow', 'seqio', 'gin', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
