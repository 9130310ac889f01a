"""What is opened as what, and what is said where nothing can be."""

import pathlib
import shutil

import optax
import pytest

from rec_align.models.t5 import Transformer
from rec_align.pretrained import converting
from rec_align.pretrained.opening import open_checkpoint
from rec_align.pretrained.sizes import config_of
from rec_align.training import sharding
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.state import abstract_state

FIXTURE = pathlib.Path(__file__).parent / "fixtures/hf_v1_1_untied"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("runs") / "imported"
    converting.import_checkpoint(FIXTURE, out)
    return out


def test_a_run_and_its_steps(run):
    first = open_checkpoint(run)
    assert first.kind == "rec_align"
    assert first.shapes == open_checkpoint(run / "checkpoints/0").shapes
    assert first.shapes == open_checkpoint(FIXTURE).shapes
    with pytest.raises(ValueError, match=r"no checkpoint of step 7 .* there are \[0\]"):
        open_checkpoint(run, step=7)


def test_training_does_not_go_on_from_an_imported_run(run):
    """It has no optimizer state; the message says how to start from it."""
    config = config_of(open_checkpoint(run).shapes)
    like, _ = abstract_state(Transformer(config), optax.adam(1e-3), sharding.make_mesh())
    checkpoints = Checkpoints(run, create=False)
    with pytest.raises(ValueError, match=r"holds parameters alone.*INITIAL_CHECKPOINT_PATH"):
        checkpoints.restore(like)
    checkpoints.close()


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match=r"which does not exist\. Looked for checkpoints/"):
        open_checkpoint(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"Looked for checkpoints/.* config\.json .* state/"):
        open_checkpoint(tmp_path)


def test_a_model_dir_of_t5x_names_its_checkpoints(tmp_path):
    for step in (900, 1000):
        (tmp_path / f"checkpoint_{step}").mkdir()
    (tmp_path / "checkpoint_1000.tmp-17").mkdir()
    with pytest.raises(ValueError, match=r"/checkpoint_900 or \S+/checkpoint_1000$"):
        open_checkpoint(tmp_path)


def test_a_checkpoint_of_tensorflow(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-1000"\n')
    with pytest.raises(ValueError, match="no index of a T5X checkpoint"):
        open_checkpoint(tmp_path)


def test_an_unfinished_orbax_directory(tmp_path):
    (tmp_path / "state").mkdir()
    with pytest.raises(ValueError, match="was not finished"):
        open_checkpoint(tmp_path)


def test_weights_of_torch_alone(tmp_path):
    shutil.copy(FIXTURE / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor .* save_pretrained"):
        open_checkpoint(tmp_path)


def test_a_run_need_not_be_imported(run, tmp_path):
    with pytest.raises(ValueError, match="is a run of rec_align already"):
        converting.import_checkpoint(run, tmp_path / "out")


def test_a_kind_that_was_named_must_be_found(tmp_path):
    with pytest.raises(ValueError, match="of kind hf, not t5x"):
        converting.import_checkpoint(FIXTURE, tmp_path / "out", "t5x")


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        converting.import_checkpoint(FIXTURE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_was_interrupted_is_not_there(tmp_path, monkeypatch):
    """And the same command, given again, does it."""

    def full_disk(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(converting, "save_params", full_disk)
        with pytest.raises(OSError, match="no space"):
            converting.import_checkpoint(FIXTURE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    converting.import_checkpoint(FIXTURE, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert open_checkpoint(tmp_path / "out").kind == "rec_align"
