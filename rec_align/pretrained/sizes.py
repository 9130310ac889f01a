"""The size of a T5, read off the shapes of its parameters, and its model gin file."""

import re
from collections.abc import Mapping

from rec_align.models.entities import NONE, TWO_DIMENSIONAL, WHOLE_WORD
from rec_align.models.t5 import T5Config

EMBEDDING = "token_embedder/embedding"
POSITIONS = "encoder/relpos_bias/rel_embedding"
QUERY = "encoder/layers_0/attention/query/kernel"
OUTPUT = "encoder/layers_0/mlp/wo/kernel"


# Left out of a model file where they are T5Config's own.
_OPTIONS = (
    *("mlp_activations", "logits_via_embedding", "item_age_bias"),
    *("repeat_bias", "entity_embedding", "rating_head"),
)


def config_of(shapes: Mapping[str, tuple[int, ...]]) -> T5Config:
    """The config of the network that has parameters of these shapes.

    What leaves no trace in a shape is T5's: a gated MLP has a GELU, a plain one a ReLU.

    Raises:
      ValueError: parameters that every T5 has are missing.
    """
    missing = [name for name in (EMBEDDING, POSITIONS, QUERY, OUTPUT) if name not in shapes]
    if missing:
        raise ValueError(f"these are not the parameters of a T5, missing: {', '.join(missing)}")
    vocab_size, emb_dim = shapes[EMBEDDING]
    num_heads = shapes[POSITIONS][0]
    number, place = (f"entity_embedder/{table}" in shapes for table in ("number", "place"))
    head = shapes.get("rating_head/bias")
    is_gated = "encoder/layers_0/mlp/wi_0/kernel" in shapes
    return T5Config(
        vocab_size=vocab_size,
        emb_dim=emb_dim,
        num_heads=num_heads,
        head_dim=shapes[QUERY][1] // num_heads,
        num_encoder_layers=_num_layers(shapes, "encoder"),
        num_decoder_layers=_num_layers(shapes, "decoder"),
        mlp_dim=shapes[OUTPUT][0],
        mlp_activations=("gelu", "linear") if is_gated else ("relu",),
        logits_via_embedding="decoder/logits_dense/kernel" not in shapes,
        item_age_bias="decoder/item_age_slope" in shapes,
        repeat_bias="repeat_bias/bias" in shapes,
        rating_head="none" if head is None else "regression" if head == (1,) else "classes",
        entity_embedding=TWO_DIMENSIONAL if place else WHOLE_WORD if number else NONE,
    )


def _num_layers(shapes: Mapping[str, tuple[int, ...]], stack: str) -> int:
    matches = (re.match(rf"{stack}/layers_(\d+)/", name) for name in shapes)
    return len({match[1] for match in matches if match})


def model_gin(config: T5Config, title: str) -> str:
    """The text of a model gin file for networks of this size.

    Args:
      config: the size.
      title: a line that says what it is.
    """
    sizes = {
        name: getattr(config, name)
        for name in (
            "vocab_size",
            "emb_dim",
            "num_heads",
            "head_dim",
            "num_encoder_layers",
            "num_decoder_layers",
            "mlp_dim",
            "mlp_activations",
            "logits_via_embedding",
            "item_age_bias",
            "repeat_bias",
            "entity_embedding",
            "rating_head",
            "dropout_rate",
        )
    }
    usual = T5Config()
    for name in _OPTIONS:
        if sizes[name] == getattr(usual, name):
            del sizes[name]
    lines = "\n".join(f"    {name} = {value!r}" for name, value in sizes.items())
    return (
        f"# {title}\n"
        "from __gin__ import dynamic_registration\n"
        "from rec_align.models import t5\n\n"
        "MODEL = @t5.Transformer()\n"
        "t5.Transformer.config = @t5.T5Config()\n"
        f"t5.T5Config:\n{lines}\n"
    )
