"""Batched prediction, jitted: items within the catalogue, candidate scores, free text.

Every method encodes a user once. Batches are model features as `RecFeatureConverter` gives them
unpacked; the block of the target to decode is that of its first token.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rec_align.decoding.beam_search import BeamResults, beam_search
from rec_align.decoding.greedy import greedy_decode
from rec_align.decoding.scoring import score_items
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.t5 import Transformer, empty_cache
from rec_align.training.state import Batch


class Predictor:
    """A trained network, ready to recommend.

    Args:
      network: the network.
      params: its parameters.
      trie: the catalogue.
      beam_size: prefixes kept alive a user.
      num_results: items returned a user; more than `beam_size` costs almost nothing.
      max_text_tokens: where free text is cut, in tokens.
    """

    def __init__(
        self,
        network: Transformer,
        params: Any,
        trie: CatalogueTrie,
        *,
        beam_size: int = 20,
        num_results: int = 50,
        max_text_tokens: int = 16,
    ):
        self._params = params
        self._trie = jax.device_put(trie)
        self._recommend = jax.jit(
            functools.partial(_recommend, network, beam_size=beam_size, num_results=num_results)
        )
        self._rank = jax.jit(functools.partial(_rank, network))
        self._generate = jax.jit(functools.partial(_generate, network, max_steps=max_text_tokens))

    def recommend(self, batch: Batch) -> BeamResults:
        """The best items of each user, best first; arrays [batch, num_results]."""
        return jax.device_get(self._recommend(self._params, _inputs(batch), self._trie))

    def rank(self, batch: Batch) -> np.ndarray:
        """Log-probabilities of `candidate_tokens` [batch, candidates, length]: [batch, candidates].

        Exact: each is the sum over the candidate's tokens and EOS.
        """
        tokens = batch["candidate_tokens"]
        # Padding to a multiple of 4 bounds the number of shapes that are compiled.
        longest = int((tokens > 0).sum(axis=-1).max())
        length = min(-(-longest // 4) * 4, tokens.shape[-1])
        scores = self._rank(self._params, _inputs(batch), tokens[..., :length])
        return jax.device_get(scores)

    def generate(self, batch: Batch) -> np.ndarray:
        """Greedy text: [batch, max_text_tokens] tokens, 0 after EOS."""
        return jax.device_get(self._generate(self._params, _inputs(batch)))


def _inputs(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tokens [batch, length], blocks [batch, length], block of the target [batch])."""
    return (
        batch["encoder_input_tokens"],
        batch["encoder_blocks"],
        batch["decoder_blocks"][:, 0],
    )


def _step_fn(network, params, inputs):
    """Encodes the users once; the decoding step of their beams."""
    context = network.apply({"params": params}, *inputs, method="start")

    def step(tokens, cache, number):
        return network.apply({"params": params}, tokens, cache, context, number, method="step")

    return step


def _recommend(network, params, inputs, trie, *, beam_size, num_results):
    batch_size = inputs[0].shape[0]
    return beam_search(
        _step_fn(network, params, inputs),
        empty_cache(network.config, batch_size, 1, trie.max_depth),
        trie,
        batch_size=batch_size,
        beam_size=beam_size,
        num_results=num_results,
    )


def _generate(network, params, inputs, *, max_steps):
    batch_size = inputs[0].shape[0]
    cache = empty_cache(network.config, batch_size, 1, max_steps)
    step_fn = _step_fn(network, params, inputs)
    return greedy_decode(step_fn, cache, batch_size=batch_size, max_steps=max_steps)


def _rank(network, params, inputs, candidate_tokens):
    """Candidates are so many targets of one encoder pass, as in training."""
    batch_size, num_candidates, length = candidate_tokens.shape
    tokens, blocks, target_block = inputs
    # [batch, candidates, length], BOS first; each BOS starts a target of its own.
    decoder_inputs = jnp.pad(candidate_tokens[..., :-1], ((0, 0), (0, 0), (1, 0)))
    # What follows EOS is padding: its scores are left out.
    logits = network.apply(
        {"params": params},
        tokens,
        decoder_inputs.reshape(batch_size, -1),
        encoder_blocks=blocks,
        decoder_blocks=jnp.broadcast_to(
            target_block[:, None], (batch_size, num_candidates * length)
        ),
    )
    logits = logits.reshape(batch_size, num_candidates, length, -1)
    return score_items(logits, candidate_tokens)
