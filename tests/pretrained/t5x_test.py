"""T5X checkpoints, against what T5X's own code wrote and computed (fixtures)."""

import pathlib
import zipfile

import flax.serialization
import ml_dtypes
import numpy as np
import parity
import pytest

from rec_align.pretrained import converting
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.training.checkpoints import Checkpoints

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


@pytest.fixture
def unpack(tmp_path):
    def unpacked(name: str) -> pathlib.Path:
        zipfile.ZipFile(FIXTURES / f"{name}.zip").extractall(tmp_path / name)
        return tmp_path / name / "checkpoint_1000"

    return unpacked


@pytest.mark.parametrize("name", ["t5x_legacy", "t5x_orbax"])
def test_the_network_computes_what_t5x_computed(unpack, name):
    parity.assert_same_logits(unpack(name), np.load(FIXTURES / f"{name}.npz"), atol=2e-5)


def test_bfloat16_becomes_float32(unpack):
    exact, rounded = (
        open_checkpoint(unpack("t5x_legacy")),
        open_checkpoint(unpack("t5x_legacy_bf16")),
    )
    assert exact.shapes == rounded.shapes
    for name in exact.shapes:
        found = rounded.read(name, ())
        assert found.dtype == np.float32
        expected = exact.read(name, ()).astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(found, expected)


def test_bfloat16_written_as_uint16(unpack):
    """As T5X did before its version 3: the same bytes under another type."""
    path = unpack("t5x_legacy_bf16")
    expected = open_checkpoint(path).read("decoder/logits_dense/kernel", ())
    file = path / "target.decoder.logits_dense.kernel" / ".zarray"
    file.write_text(file.read_text().replace('"bfloat16"', '"<u2"'))
    found = open_checkpoint(path).read("decoder/logits_dense/kernel", ())
    np.testing.assert_array_equal(found, expected)


def test_arrays_inside_the_index(unpack):
    path = unpack("t5x_legacy")
    scale = np.arange(16, dtype=np.float32)
    contents = flax.serialization.msgpack_restore((path / "checkpoint").read_bytes())
    contents["optimizer"]["target"]["encoder"]["encoder_norm"]["scale"] = scale
    (path / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(contents))
    np.testing.assert_array_equal(
        open_checkpoint(path).read("encoder/encoder_norm/scale", ()), scale
    )


@pytest.mark.parametrize("name", ["t5x_legacy", "t5x_orbax"])
def test_an_imported_checkpoint_is_a_run(unpack, tmp_path, name):
    path = unpack(name)
    done = converting.import_checkpoint(path, tmp_path / "run", "t5x")
    like = parity.abstract(done.config)
    checkpoints = Checkpoints(tmp_path / "run", create=False)
    step, params = checkpoints.restore_params(like)
    checkpoints.close()
    assert step == 0
    parity.assert_same_params(params, load_params(path, like))
    parity.assert_same_params(params, load_params(tmp_path / "run", like))
    parity.assert_same_params(params, load_params(tmp_path / "run/checkpoints/0", like))
