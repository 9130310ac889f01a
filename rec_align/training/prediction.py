"""Batched prediction: items within the catalogue, candidate scores, free text.

Every function encodes a user once. Batches are model features as `RecFeatureConverter` gives them
unpacked; the block of the target to decode is that of its first token. The functions are pure, for
any engine to jit; `Predictor` is the built-in engine's.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rec_align.decoding.beam_search import BeamResults, beam_search
from rec_align.decoding.entity_tries import EntityTries
from rec_align.decoding.greedy import greedy_decode
from rec_align.decoding.live_trie import LiveTrie
from rec_align.decoding.scoring import score_items
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.rating_head import predicted_ratings
from rec_align.models.t5 import Transformer, empty_cache
from rec_align.rating_scale import RATINGS
from rec_align.training.sharding import make_mesh, num_batch_shards, replicate, shard_whole_batch
from rec_align.training.state import Batch

# Tokens [batch, length] of each row's best answer, and values [batch, ...] by name for the metrics.
Outputs = tuple[Any, dict[str, Any]]

_SHORTEST_INPUTS = 32  # tokens; below that a shorter encoder saves less than its compiling takes


class UserInputs(NamedTuple):
    """What `Transformer.start` takes, in its order.

    Attributes:
      tokens: [batch, length] int32.
      blocks: [batch, length] int32.
      target_block: [batch] int32, the block of the target.
      entities: [batch, length] int32, where the network reads them, else None.
    """

    tokens: Any
    blocks: Any
    target_block: Any
    entities: Any = None


class Predictor:
    """A trained network, ready to recommend.

    Each power of two of tokens, from 32 on, that the longest of a batch needs is compiled once.

    Args:
      network: the network.
      params: its parameters.
      trie: the catalogue. Of a live one each call searches the newest snapshot, and what was
        removed meanwhile is struck; on several devices give it the sharding `NamedSharding(mesh,
        PartitionSpec())`, or each call copies it to all of them.
      mesh: where the parameters live; batches are split over it. None: all devices are data.
      beam_size: prefixes kept alive a user.
      num_results: items returned a user; more than `beam_size` costs almost nothing.
      max_text_tokens: where free text is cut, in tokens.
      open_entity_tries: gives the values of each kind of entity, once `fill` is called.
    """

    def __init__(
        self,
        network: Transformer,
        params: Any,
        trie: CatalogueTrie | LiveTrie,
        *,
        mesh: Mesh | None = None,
        beam_size: int = 20,
        num_results: int = 50,
        max_text_tokens: int = 16,
        open_entity_tries: Callable[[], EntityTries] = dict,
    ):
        self._params = params
        self._mesh = mesh or make_mesh()
        self._trie = trie if isinstance(trie, LiveTrie) else replicate(trie, self._mesh)
        # Results are whole on every device, so that every host can read them.
        jit = functools.partial(jax.jit, out_shardings=NamedSharding(self._mesh, PartitionSpec()))
        self._recommend = jit(
            functools.partial(recommend, network, beam_size=beam_size, num_results=num_results)
        )
        self._rank = jit(functools.partial(rank, network))
        self._generate = jit(functools.partial(generate, network, max_steps=max_text_tokens))
        self._rate = jit(functools.partial(rate, network))
        self.config = network.config
        self._fill = jit(functools.partial(fill, network, beam_size=beam_size))
        self._open_entity_tries = open_entity_tries

    def recommend(self, batch: Batch) -> BeamResults:
        """The best items of each user, best first; arrays [batch, num_results]."""
        if not isinstance(self._trie, LiveTrie):
            return self._call(self._recommend, batch, (), self._trie)
        found = self._call(self._recommend, batch, (), self._trie.snapshot())
        return self._trie.without_removed(found)

    def rank(self, batch: Batch) -> np.ndarray:
        """Log-probabilities of `candidate_tokens` [batch, candidates, length]: [batch, candidates].

        Exact: each is the sum over the candidate's tokens and EOS.
        """
        return self._call(self._rank, batch, (batch["candidate_tokens"],))

    def generate(self, batch: Batch) -> np.ndarray:
        """Greedy text: [batch, max_text_tokens] tokens, 0 after EOS."""
        return self._call(self._generate, batch)

    def rate(self, batch: Batch) -> np.ndarray:
        """What a network with a rating head predicts: [batch] float32, 1-5."""
        return self._call(self._rate, batch)

    @functools.cached_property
    def _entity_tries(self) -> EntityTries:
        return replicate(self._open_entity_tries(), self._mesh)

    def fill(self, batch: Batch) -> np.ndarray:
        """The best value of each row's `entity_kind` [batch]: [batch, length] tokens."""
        return self._call(self._fill, batch, (batch["entity_kind"],), self._entity_tries)

    def _call(self, function, batch: Batch, further: tuple[Any, ...] = (), *rest: Any):
        """Splits the rows over the mesh, without most of their padding; returns the real rows."""
        inputs = _without_padding(user_inputs(batch))
        num_rows = len(inputs.tokens)
        missing = -num_rows % num_batch_shards(self._mesh)

        def filled(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])

        with jax.set_mesh(self._mesh):
            placed = shard_whole_batch(jax.tree.map(filled, (inputs, further)), self._mesh)
            found = function(self._params, placed[0], *placed[1], *rest)
            return jax.tree.map(lambda array: array[:num_rows], jax.device_get(found))


def user_inputs(batch: Mapping[str, Any]) -> UserInputs:
    """What a network reads of a batch of users, not packed."""
    tokens, blocks = batch["encoder_input_tokens"], batch["encoder_blocks"]
    target_block = batch["decoder_blocks"][:, 0]
    return UserInputs(tokens, blocks, target_block, batch.get("encoder_entities"))


def _without_padding(inputs: UserInputs) -> UserInputs:
    """Cuts columns that are padding for all, to a power of two: few lengths are to be compiled."""
    longest = int(inputs.tokens.any(axis=0).nonzero()[0].max(initial=0)) + 1
    length = max(_SHORTEST_INPUTS, 1 << (longest - 1).bit_length())
    return inputs._replace(
        tokens=inputs.tokens[:, :length],
        blocks=inputs.blocks[:, :length],
        entities=None if inputs.entities is None else inputs.entities[:, :length],
    )


def _step_fn(network, params, inputs):
    """Encodes the users once; the decoding step of their beams."""
    context = network.apply({"params": params}, *inputs, method="start")

    def step(tokens, cache, number):
        return network.apply({"params": params}, tokens, cache, context, number, method="step")

    return step


def recommend(
    network: Transformer,
    params: Any,
    inputs: UserInputs,
    trie: CatalogueTrie,
    *,
    beam_size: int,
    num_results: int,
) -> BeamResults:
    """The best items of each user, best first; see `Predictor` for the sizes."""
    batch_size = inputs.tokens.shape[0]
    return beam_search(
        _step_fn(network, params, inputs),
        empty_cache(network.config, inputs.tokens.shape, 1, trie.max_depth),
        trie,
        batch_size=batch_size,
        beam_size=beam_size,
        num_results=num_results,
    )


def generate(network: Transformer, params: Any, inputs: UserInputs, *, max_steps: int) -> jax.Array:
    """Greedy text: [batch, max_steps] int32 tokens, 0 after EOS."""
    batch_size = inputs.tokens.shape[0]
    cache = empty_cache(network.config, inputs.tokens.shape, 1, max_steps)
    step_fn = _step_fn(network, params, inputs)
    return greedy_decode(step_fn, cache, batch_size=batch_size, max_steps=max_steps)


def fill(
    network: Transformer,
    params: Any,
    inputs: UserInputs,
    kinds: jax.Array,
    tries: EntityTries,
    *,
    beam_size: int,
) -> jax.Array:
    """The best value of the kind of entity that each row asks for.

    Every kind is searched for every row, after one pass of the encoder.

    Args:
      network: the network.
      params: its parameters.
      inputs: of `user_inputs`.
      kinds: [batch] int32, keys of `tries`.
      tries: the values of each kind.
      beam_size: prefixes kept alive a row.

    Returns:
      [batch, length] int32 tokens, 0 after EOS; only 0 where a kind has no trie.
    """
    batch_size = inputs.tokens.shape[0]
    step_fn = _step_fn(network, params, inputs)
    length = max((values.tokens.shape[1] for values in tries.values()), default=1)
    answers = jnp.zeros((batch_size, length), jnp.int32)
    for kind, values in tries.items():
        found = beam_search(
            step_fn,
            empty_cache(network.config, inputs.tokens.shape, 1, values.trie.max_depth),
            values.trie,
            batch_size=batch_size,
            beam_size=beam_size,
            num_results=1,
        )
        best = jnp.asarray(values.tokens)[found.item_indices[:, 0]]
        best = jnp.pad(best, ((0, 0), (0, length - best.shape[1])))
        answers = jnp.where((kinds == kind)[:, None], best, answers)
    return answers


def rank(network: Transformer, params: Any, inputs: UserInputs, candidate_tokens: Any) -> jax.Array:
    """Exact log-probabilities of candidates [batch, candidates, length]: [batch, candidates]."""
    cache = empty_cache(network.config, inputs.tokens.shape, 1, candidate_tokens.shape[-1])
    return score_items(_step_fn(network, params, inputs), cache, candidate_tokens)


def rate(network: Transformer, params: Any, inputs: UserInputs) -> jax.Array:
    """The rating head's predictions: [batch] float32, 1-5."""
    outputs = network.apply(
        {"params": params},
        inputs.tokens,
        jnp.zeros((inputs.tokens.shape[0], 1), jnp.int32),  # BOS
        encoder_blocks=inputs.blocks,
        decoder_blocks=inputs.target_block[:, None],
        encoder_entities=inputs.entities,
        method="rate",
    )
    return predicted_ratings(network.config.rating_head, outputs[:, 0])


def rating_outputs(rating_tokens: tuple[tuple[int, ...], ...], ratings: np.ndarray) -> Outputs:
    """The tokens of the nearest whole rating, and `predicted_rating`, which is scored.

    Args:
      rating_tokens: see `T5Config`.
      ratings: [batch] float32, from `rate`.
    """
    tokens = np.zeros((len(RATINGS), max(map(len, rating_tokens))), np.int32)
    for row, written in zip(tokens, rating_tokens, strict=True):
        row[: len(written)] = written
    nearest = np.rint(ratings).astype(int) - RATINGS[0]
    return tokens[nearest], {"predicted_rating": ratings}


def ranking_outputs(candidate_tokens: Any, scores: Any) -> Outputs:
    """The best candidate's tokens, and `candidate_scores`; NumPy or JAX arrays.

    Args:
      candidate_tokens: [batch, candidates, length] int32.
      scores: [batch, candidates] float32, from `rank`.
    """
    rows = np.arange(len(scores))
    return candidate_tokens[rows, scores.argmax(axis=1)], {"candidate_scores": scores}


def retrieval_outputs(item_tokens: Any, found: BeamResults) -> Outputs:
    """The best item's tokens, and the list of items for the metrics; NumPy or JAX arrays.

    Lists are best first and padded with -1 to one length: `num_returned` is the real one.

    Args:
      item_tokens: [num_items, length] int32, how each item is written.
      found: from `recommend`.
    """
    best = item_tokens[found.item_indices[:, 0].clip(0)]
    return best, {
        "item_indices": found.item_indices,
        "scores": found.log_probs,
        "num_returned": (found.item_indices >= 0).sum(axis=1),
        "num_exact": found.num_exact,
    }
