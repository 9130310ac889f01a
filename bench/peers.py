"""The T5 of Hugging Face and of T5X with our parameters, used as their users do."""

import dataclasses
import tempfile
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from rec_align.models.config_files import read_config
from rec_align.models.t5 import T5Config, Transformer

# What all three share: T5.1.1 with its own vocabulary.
SHARED = {"vocab_size": 32_128, "item_age_bias": False, "repeat_bias": False, "dropout_rate": 0.0}


def shared_network(model: str, dtype: str = "float32") -> Transformer:
    """Our network of a file of gin/models, as far as the others have it too."""
    return Transformer(read_config(model, dtype=dtype, **SHARED))


def hugging_face_model(config: T5Config, params: Any):
    """A T5ForConditionalGeneration, through a checkpoint that we write and it reads."""
    from flax.traverse_util import flatten_dict
    from transformers import T5ForConditionalGeneration

    from rec_align.pretrained import hf
    from rec_align.pretrained.checkpoint import Checkpoint
    from rec_align.training.checkpoints import shapes

    arrays = flatten_dict(params, sep="/")
    checkpoint = Checkpoint(
        kind="random", path="", shapes=shapes(params), read=lambda name, _: np.asarray(arrays[name])
    )
    with tempfile.TemporaryDirectory() as folder:
        hf.write_hf(checkpoint, config, epath.Path(folder))
        return T5ForConditionalGeneration.from_pretrained(folder)


def t5x_model(config: T5Config, optimizer: optax.GradientTransformation):
    """T5X's EncoderDecoderModel with its example network; our parameters fit it as they are."""
    import seqio
    from t5x import models, optimizers
    from t5x.examples.t5 import network as t5x_network

    names = {field.name for field in dataclasses.fields(t5x_network.T5Config)} - {"remat_policy"}
    shared = {name: value for name, value in vars(config).items() if name in names}
    vocabulary = seqio.PassThroughVocabulary(config.vocab_size, eos_id=1)
    return models.EncoderDecoderModel(
        module=t5x_network.Transformer(
            t5x_network.T5Config(**shared | {"dtype": jnp.dtype(config.dtype)})
        ),
        input_vocabulary=vocabulary,
        output_vocabulary=vocabulary,
        optimizer_def=optimizers.OptaxWrapper(optimizer),
        z_loss=0.0,
        loss_normalizing_factor="NUM_REAL_TARGET_TOKENS",
    )
