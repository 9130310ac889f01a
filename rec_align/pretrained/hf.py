"""Hugging Face T5 directories: T5 v1.0, v1.1 and FLAN, read, and written from our parameters."""

import json
from typing import Any

import numpy as np
from etils import epath

from rec_align.models.t5 import T5Config
from rec_align.pretrained import hf_names, safetensors
from rec_align.pretrained.checkpoint import Checkpoint, Index

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARD_BYTES = 5 * 10**9
# The published T5 v1.0 files hold it; Hugging Face's own model drops it, as T5 never used it.
_NEVER_USED = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}
_EMBEDDING_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# What the network computes, and so what a config.json may say; the second is for absent keys.
_COMPUTED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "model_type": (("t5",), None),
    "feed_forward_proj": (("relu", "gated-gelu"), "relu"),
    "relative_attention_num_buckets": ((32,), 32),
    "relative_attention_max_distance": ((128,), 128),
    "layer_norm_epsilon": ((1e-6,), 1e-6),
    "decoder_start_token_id": ((0,), 0),
    "pad_token_id": ((0,), 0),
    "eos_token_id": ((1,), 1),
}


def is_hf(path: epath.Path) -> bool:
    return (path / CONFIG).exists()


def open_hf(path: epath.Path) -> Checkpoint:
    """Opens a directory that `save_pretrained` wrote, of any float type, in one file or in shards.

    Raises:
      ValueError: the weights are not safetensors or not complete; the config asks for what the
        network does not compute; or there are tensors that are not T5's.
    """
    config = _checked_config(path / CONFIG)
    tensors = _tensors(path)
    # Transformers 5 writes `scale_decoder_outputs`, and always that the embeddings are tied.
    is_v5 = "scale_decoder_outputs" in config
    is_tied = config["scale_decoder_outputs"] if is_v5 else config.get("tie_word_embeddings", True)
    # One parameter may lie there several times; the copies must be equal.
    found: dict[str, list[safetensors.Tensor]] = {}
    strangers = []
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0] in _EMBEDDING_COPIES):
        if name in _EMBEDDING_COPIES or (is_tied and name == hf_names.LM_HEAD):
            ours = hf_names.EMBEDDING
        else:
            ours = hf_names.from_hf(name)
        if ours:
            found.setdefault(ours, []).append(tensor)
        elif name not in _NEVER_USED:
            strangers.append(f"{name}: {tensor.shape}")
    if strangers:
        raise ValueError(
            f"{path} holds {len(strangers)} tensors that are not of a T5ForConditionalGeneration, "
            "which is wanted.\n  " + "\n  ".join(strangers)
        )
    if is_v5 and not is_tied and hf_names.EMBEDDING in found:
        # Version 5 leaves out an output layer that is equal to the embedding.
        found.setdefault(hf_names.LOGITS, found[hf_names.EMBEDDING][:1])

    def read(name: str, index: Index = ()) -> np.ndarray:
        transposed = hf_names.is_transposed(name)
        first, *copies = (
            safetensors.read(tensor, index[::-1] if transposed else index) for tensor in found[name]
        )
        if any(not np.array_equal(first, copy) for copy in copies):
            raise ValueError(
                f"{path}: its copies of {name} differ; the network has only one. Is "
                "tie_word_embeddings in its config.json right?"
            )
        return np.ascontiguousarray(first.T) if transposed else first

    shapes = {
        name: tensor.shape[::-1] if hf_names.is_transposed(name) else tensor.shape
        for name, (tensor, *_) in found.items()
    }
    return Checkpoint(kind="hf", path=str(path), shapes=shapes, read=read)


def _checked_config(file: epath.Path) -> dict[str, Any]:
    """The config, where it asks for nothing that the network does not compute."""
    try:
        config = json.loads(file.read_text())
        rows = [
            f"{key} is {config.get(key, default)!r}, not {' or '.join(map(repr, known))}"
            for key, (known, default) in _COMPUTED.items()
            if config.get(key, default) not in known
        ]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{file} is no model's config: {error}") from error
    if rows:
        raise ValueError(
            f"{file} describes what the network does not compute: {'; '.join(rows)}. T5 v1.0, T5 "
            "v1.1 and FLAN-T5 can be imported."
        )
    return config


def _tensors(path: epath.Path) -> dict[str, safetensors.Tensor]:
    """All tensors of the directory, whose files must be complete."""
    if (path / SINGLE).exists():
        return safetensors.tensors_of(path / SINGLE)
    if not (path / INDEX).exists():
        raise ValueError(
            f"{path} has neither {SINGLE} nor {INDEX}: load it with transformers and write it with "
            "save_pretrained(DIR, safe_serialization=True)."
        )
    weight_map = json.loads((path / INDEX).read_text())["weight_map"]
    files = sorted(set(weight_map.values()))
    missing = [name for name in files if not (path / name).exists()]
    if missing:
        raise ValueError(f"{path / INDEX} names files that are not there: {', '.join(missing)}")
    tensors: dict[str, safetensors.Tensor] = {}
    for name in files:
        tensors |= safetensors.tensors_of(path / name)
    absent = sorted(weight_map.keys() - tensors.keys())
    if absent:
        raise ValueError(f"{path / INDEX} names tensors that are in no file: {', '.join(absent)}")
    return tensors


def check_exportable(checkpoint: Checkpoint) -> None:
    """Raises ValueError that names the parameters for which Hugging Face's T5 has no place."""
    rows = [
        f"{name}: {shape}"
        for name, shape in checkpoint.shapes.items()
        if hf_names.to_hf(name) is None
    ]
    if rows:
        raise ValueError(
            f"{checkpoint.path} holds {len(rows)} parameters for which Hugging Face's T5 has no "
            "place; train without them to export (item_age_slope comes from "
            "T5Config.item_age_bias, repeat_bias from T5Config.repeat_bias).\n  "
            + "\n  ".join(sorted(rows))
        )


def write_hf(
    checkpoint: Checkpoint,
    config: T5Config,
    out: epath.Path,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes config.json, generation_config.json and float32 safetensors into a directory.

    The directory computes what the network computes without blocks. One parameter is in memory at
    a time, whatever the size of a shard.

    Args:
      checkpoint: passed `check_exportable`.
      config: its size.
      out: an existing directory.
      max_shard_bytes: a file holds no more, unless a single tensor is larger.
    """
    names = {hf_names.to_hf(name): name for name in checkpoint.shapes}

    def shape(theirs: str) -> tuple[int, ...]:
        ours = checkpoint.shapes[names[theirs]]
        return ours[::-1] if hf_names.is_transposed(names[theirs]) else ours

    def read(theirs: str) -> np.ndarray:
        array = checkpoint.read(names[theirs], ())
        return array.T if hf_names.is_transposed(names[theirs]) else array

    def num_bytes(theirs: str) -> int:
        return 4 * int(np.prod(shape(theirs), dtype=np.int64))

    shards: list[list[str]] = [[]]
    filled = 0
    for theirs in sorted(names):
        if shards[-1] and filled + num_bytes(theirs) > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(theirs)
        filled += num_bytes(theirs)
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        many = len(shards) > 1
        name = f"model-{number:05}-of-{len(shards):05}.safetensors" if many else SINGLE
        safetensors.write(out / name, {theirs: shape(theirs) for theirs in shard}, read)
        weight_map |= dict.fromkeys(shard, name)
    if len(shards) > 1:
        metadata = {"total_size": sum(map(num_bytes, names))}
        _write_json(out / INDEX, {"metadata": metadata, "weight_map": weight_map})
    _write_json(out / "generation_config.json", _TOKENS)
    _write_json(out / CONFIG, hf_config(config))


_TOKENS = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def hf_config(config: T5Config) -> dict[str, Any]:
    """The config.json of a network of this size."""
    is_gated = config.mlp_activations == ("gelu", "linear")
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.emb_dim,
        "d_kv": config.head_dim,
        "d_ff": config.mlp_dim,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "num_heads": config.num_heads,
        "feed_forward_proj": "gated-gelu" if is_gated else "relu",
        "tie_word_embeddings": config.logits_via_embedding,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "dropout_rate": config.dropout_rate,
        "initializer_factor": 1.0,
        "torch_dtype": "float32",
        "use_cache": True,
    } | _TOKENS


def _write_json(file: epath.Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
