"""The two names of each T5 parameter: the network's (T5X's) and Hugging Face's.

Hugging Face's linear layers hold [out, in] where ours hold [in, out], and its position biases
[buckets, heads] where ours hold [heads, buckets]; so all but the embedding and the scales are
transposed.
"""

import re

EMBEDDING = "token_embedder/embedding"
LOGITS = "decoder/logits_dense/kernel"
LM_HEAD = "lm_head.weight"
SHARED = "shared.weight"

_ONES = {
    EMBEDDING: SHARED,
    LOGITS: LM_HEAD,
    "encoder/encoder_norm/scale": "encoder.final_layer_norm.weight",
    "decoder/decoder_norm/scale": "decoder.final_layer_norm.weight",
} | {
    f"{stack}/relpos_bias/rel_embedding": (
        f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    )
    for stack in ("encoder", "decoder")
}


def _sublayer(number: int, norm: str, ours: str, theirs: str, kernels: dict[str, str]):
    """One residual branch of a block: its norm and its kernels."""
    return {f"{norm}/scale": f"layer.{number}.layer_norm.weight"} | {
        f"{ours}/{ours_kernel}/kernel": f"layer.{number}.{theirs}.{their_kernel}.weight"
        for ours_kernel, their_kernel in kernels.items()
    }


_ATTENTION = {"query": "q", "key": "k", "value": "v", "out": "o"}
_MLP = {name: name for name in ("wi", "wi_0", "wi_1", "wo")}
# What a layer (ours) or block (theirs) holds.
_BLOCKS = {
    "encoder": _sublayer(0, "pre_attention_layer_norm", "attention", "SelfAttention", _ATTENTION)
    | _sublayer(1, "pre_mlp_layer_norm", "mlp", "DenseReluDense", _MLP),
    "decoder": _sublayer(
        0, "pre_self_attention_layer_norm", "self_attention", "SelfAttention", _ATTENTION
    )
    | _sublayer(
        1,
        "pre_cross_attention_layer_norm",
        "encoder_decoder_attention",
        "EncDecAttention",
        _ATTENTION,
    )
    | _sublayer(2, "pre_mlp_layer_norm", "mlp", "DenseReluDense", _MLP),
}
_INVERSE_ONES = {theirs: ours for ours, theirs in _ONES.items()}
_INVERSE_BLOCKS = {
    stack: {theirs: ours for ours, theirs in table.items()} for stack, table in _BLOCKS.items()
}


def to_hf(name: str) -> str | None:
    """Hugging Face's name of a parameter; None where its T5 has no such parameter.

    Example: encoder/layers_3/mlp/wo/kernel -> encoder.block.3.layer.1.DenseReluDense.wo.weight.
    """
    match = re.fullmatch(r"(encoder|decoder)/layers_(\d+)/(.+)", name)
    if not match:
        return _ONES.get(name)
    stack, layer, rest = match.groups()
    theirs = _BLOCKS[stack].get(rest)
    return theirs and f"{stack}.block.{layer}.{theirs}"


def from_hf(name: str) -> str | None:
    """The network's name of a Hugging Face tensor; None where the network has no such parameter."""
    if name in _INVERSE_ONES:
        return _INVERSE_ONES[name]
    match = re.fullmatch(r"(encoder|decoder)\.block\.(\d+)\.(.+)", name)
    if not match:
        return None
    stack, block, rest = match.groups()
    ours = _INVERSE_BLOCKS[stack].get(rest)
    return ours and f"{stack}/layers_{block}/{ours}"


def is_transposed(name: str) -> bool:
    """Whether Hugging Face holds this parameter of the network transposed."""
    return name.endswith(("/kernel", "/rel_embedding"))
