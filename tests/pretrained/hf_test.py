"""Hugging Face directories, against what Hugging Face's own code wrote and computed (fixtures)."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import parity
import pytest
from flax import traverse_util

from rec_align.models.t5 import T5Config, Transformer
from rec_align.pretrained import converting, hf, hf_names
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.pretrained.sizes import config_of
from rec_align.training.checkpoints import shapes

LOGITS = ("decoder", "logits_dense", "kernel")
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
NAMES = [
    "hf_v1_0_tied",
    "hf_v1_0_tied_f16_version_5",
    "hf_v1_1_untied",
    "hf_v1_1_untied_sharded_bf16",
    "hf_v1_1_untied_version_5",
]


@pytest.fixture
def directory(tmp_path) -> pathlib.Path:
    """A copy of a fixture, to spoil."""
    return pathlib.Path(shutil.copytree(FIXTURES / "hf_v1_1_untied", tmp_path / "copy"))


@pytest.mark.parametrize("name", NAMES)
def test_the_network_computes_what_hugging_face_computed(name):
    parity.assert_same_logits(FIXTURES / name, np.load(FIXTURES / f"{name}.npz"))


@pytest.mark.parametrize("name", ["hf_v1_0_tied", "hf_v1_1_untied"])
def test_the_network_decodes_what_hugging_face_decoded(name):
    parity.assert_same_decoding(FIXTURES / name, np.load(FIXTURES / f"{name}.npz"))


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_from_hugging_face_is_exact(name, tmp_path):
    source = open_checkpoint(FIXTURES / name)
    converting.import_checkpoint(FIXTURES / name, tmp_path / "run", "hf")
    converting.export_hf(tmp_path / "run", tmp_path / "back")
    back = open_checkpoint(tmp_path / "back")
    assert back.shapes == source.shapes
    for parameter in source.shapes:
        first, second = source.read(parameter, ()), back.read(parameter, ())
        np.testing.assert_array_equal(first.view(np.uint32), second.view(np.uint32))


def test_a_float32_file_comes_back_with_the_same_bytes(tmp_path):
    """By the file format's own words: not through the name map that is under test."""
    converting.import_checkpoint(FIXTURES / "hf_v1_1_untied", tmp_path / "run")
    converting.export_hf(tmp_path / "run", tmp_path / "back")
    first, second = (
        _bytes_by_name(folder / "model.safetensors")
        for folder in (FIXTURES / "hf_v1_1_untied", tmp_path / "back")
    )
    assert first == second


def _bytes_by_name(file: pathlib.Path) -> dict[str, bytes]:
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    offsets = {name: entry["data_offsets"] for name, entry in header.items() if name[0] != "_"}
    return {name: data[start + first : start + end] for name, (first, end) in offsets.items()}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000])
def test_round_trip_from_a_run_is_exact(tied, max_shard_bytes, tmp_path):
    config = T5Config(
        vocab_size=256,
        emb_dim=24,
        num_heads=3,
        head_dim=4,
        num_encoder_layers=1,
        num_decoder_layers=3,
        mlp_dim=40,
        mlp_activations=("relu",) if tied else ("gelu", "linear"),
        logits_via_embedding=tied,
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jax.numpy.asarray(rng.standard_normal(leaf.shape), np.float32),
        parity.abstract(config),
    )
    converting.save_params(tmp_path / "run", params)
    converting.export_hf(tmp_path / "run", tmp_path / "hf", max_shard_bytes=max_shard_bytes)
    assert (tmp_path / "hf" / hf.INDEX).exists() == (max_shard_bytes < 10**9)
    assert config_of(open_checkpoint(tmp_path / "hf").shapes) == config
    parity.assert_same_params(params, load_params(tmp_path / "hf", parity.abstract(config)))


def test_an_item_index_gets_room_for_its_tokens(tmp_path):
    source = FIXTURES / "hf_v1_1_untied"
    config = config_of(open_checkpoint(source).shapes)
    larger = dataclasses.replace(config, vocab_size=config.vocab_size + 128)
    with pytest.raises(ValueError, match="2 parameters differ"):
        load_params(source, parity.abstract(larger))
    known = load_params(source, parity.abstract(config))
    grown = load_params(source, parity.abstract(larger), more_tokens=True)
    for path, axis in ((("token_embedder", "embedding"), 0), (LOGITS, 1)):
        old, new = (np.asarray(traverse_util.flatten_dict(tree)[path]) for tree in (known, grown))
        first, rest = np.split(np.moveaxis(new, axis, 0), [config.vocab_size])
        old = np.moveaxis(old, axis, 0)
        np.testing.assert_array_equal(first, old)
        np.testing.assert_allclose(rest, np.broadcast_to(old.mean(0), rest.shape), atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_has_a_name_there_and_back(tied):
    config = T5Config(
        vocab_size=128,
        num_encoder_layers=2,
        num_decoder_layers=11,
        logits_via_embedding=tied,
        mlp_activations=("relu",) if tied else ("gelu", "linear"),
    )
    names = list(shapes(parity.abstract(config)))
    theirs = [hf_names.to_hf(name) for name in names]
    assert len(set(theirs)) == len(names)
    assert [hf_names.from_hf(name) for name in theirs] == names
    assert hf_names.to_hf("decoder/item_age_slope") is None
    assert hf_names.to_hf("decoder/layers_0/attention/query/kernel") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("feed_forward_proj", "gated-silu"),
        ("relative_attention_max_distance", 256),
        ("layer_norm_epsilon", 1e-5),
        ("model_type", "umt5"),
    ],
)
def test_a_config_that_is_not_computed_is_refused(directory, key, value):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(ValueError, match=rf"{key} is '?{value}'?, not "):
        open_checkpoint(directory)


def test_misfits_are_named_with_their_shapes():
    config = config_of(open_checkpoint(FIXTURES / "hf_v1_1_untied").shapes)
    other = T5Config(**vars(config) | {"mlp_dim": 48, "item_age_bias": True})
    with pytest.raises(ValueError) as error:
        load_params(FIXTURES / "hf_v1_1_untied", parity.abstract(other))
    message = str(error.value)
    assert "decoder/item_age_slope: checkpoint missing, network (4,)" in message
    assert "encoder/layers_1/mlp/wo/kernel: checkpoint (32, 16), network (48, 16)" in message
    assert message.count("\n") == 1 + 3 * 3  # each of three layers has wi_0, wi_1 and wo


def test_a_file_cut_short_is_refused(directory):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="cut short"):
        open_checkpoint(directory)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match="no safetensors file"):
        open_checkpoint(directory)


def test_a_missing_shard_is_named(tmp_path):
    directory = shutil.copytree(FIXTURES / "hf_v1_1_untied_sharded_bf16", tmp_path / "copy")
    (directory / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(ValueError, match=r"not there: model-00002-of-00004\.safetensors"):
        open_checkpoint(directory)


def test_tensors_of_another_model_are_named(directory):
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b"lm_head.weight", b"lm_xxxx.weight"))
    with pytest.raises(ValueError, match=r"lm_xxxx\.weight: \(128, 16\)"):
        open_checkpoint(directory)


def test_a_config_that_hides_an_output_layer_is_refused(directory):
    config = json.loads((directory / "config.json").read_text()) | {"tie_word_embeddings": True}
    (directory / "config.json").write_text(json.dumps(config))
    config = config_of(open_checkpoint(directory).shapes)
    with pytest.raises(ValueError, match="copies of token_embedder/embedding differ"):
        load_params(directory, parity.abstract(config))


def test_parts_equal_the_whole():
    checkpoint = open_checkpoint(FIXTURES / "hf_v1_1_untied_sharded_bf16")
    part = (slice(3, 9), slice(4, 16))
    for name in ("token_embedder/embedding", "encoder/layers_0/mlp/wi_0/kernel"):
        np.testing.assert_array_equal(checkpoint.read(name, part), checkpoint.read(name, ())[part])


def test_what_hugging_face_has_no_place_for_is_named(tmp_path):
    config = T5Config(
        vocab_size=128,
        emb_dim=8,
        mlp_dim=8,
        num_heads=2,
        head_dim=4,
        num_encoder_layers=1,
        num_decoder_layers=1,
        item_age_bias=True,
    )
    params = parity.abstract(config)
    params = jax.tree.map(lambda leaf: jax.numpy.ones(leaf.shape), params)
    converting.save_params(tmp_path / "run", params)
    with pytest.raises(ValueError, match=r"decoder/item_age_slope: \(2,\)"):
        converting.export_hf(tmp_path / "run", tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


def test_every_size_of_network_is_read_off_its_shapes():
    config = T5Config(vocab_size=32128, emb_dim=1024, num_heads=16, num_encoder_layers=24)
    assert config_of(
        shapes(jax.eval_shape(lambda: parity.init_params(Transformer(config), 0)))
    ) == (config)
