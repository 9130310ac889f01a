"""The network against what Hugging Face's T5 computed (`hf_models.reference`)."""

import jax
import numpy as np

from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.t5 import T5Config, Transformer
from rec_align.pretrained.opening import load_params, open_checkpoint
from rec_align.pretrained.sizes import config_of
from rec_align.training.prediction import Predictor
from rec_align.training.state import init_params


def abstract(config: T5Config):
    return jax.eval_shape(lambda: init_params(Transformer(config), 0))


def load(path):
    """The network of the checkpoint's own size, and its parameters."""
    config = config_of(open_checkpoint(path).shapes)
    return Transformer(config), load_params(path, abstract(config))


def assert_same_logits(path, reference, atol: float = 1e-4) -> None:
    network, params = load(path)
    tokens, targets = reference["encoder_input_tokens"], reference["decoder_input_tokens"]
    logits = jax.jit(network.apply)({"params": params}, tokens, targets)
    np.testing.assert_allclose(logits, reference["logits"], atol=atol, rtol=0)


def assert_same_decoding(path, reference, atol: float = 1e-3) -> None:
    """Greedy tokens and the items of beam searches are the same, their scores within `atol`."""
    network, params = load(path)
    tokens = reference["encoder_input_tokens"]
    batch = {
        "encoder_input_tokens": tokens,
        "encoder_blocks": np.zeros(tokens.shape, np.int32),
        "decoder_blocks": np.ones((len(tokens), 1), np.int32),
    }
    for name in ("ragged", "level"):
        beam = reference[f"{name}_indices"].shape[1]
        predictor = Predictor(
            network,
            params,
            CatalogueTrie.build(reference[f"{name}_items"]),
            beam_size=beam,
            num_results=beam,
            max_text_tokens=reference["greedy"].shape[1],
        )
        found = predictor.recommend(batch)
        np.testing.assert_array_equal(found.item_indices, reference[f"{name}_indices"])
        np.testing.assert_allclose(found.log_probs, reference[f"{name}_scores"], atol=atol)
    np.testing.assert_array_equal(predictor.generate(batch), reference["greedy"])


def assert_same_params(first, second) -> None:
    """Equal to the last bit."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_array_equal(
            np.asarray(one).view(np.uint32), np.asarray(other).view(np.uint32)
        )
