"""Beam search over the catalogue trie: every output is an item, scored by its true log-probability.

A beam is a node of the trie. Each step scores only the children of the live nodes, against the
log-sum-exp over the *whole* vocabulary, so scores are the model's own and comparable between items
(T5X's masked logits would be renormalised over the children). Items that end go to a pool apart
from the beams, which may be longer than the beam is wide.

How the children are scored: by a gather of at most `max_degree` logits a beam. A dense mask over
the vocabulary is never cheaper, because a node has at most as many children as there are tokens
and the mask would have to be scattered from the same edges (160 beams, vocabulary 4096, CPU: 1.6
against 2.0 ms with 4096 children, 0.1 against 1.1 ms with 64). What does vary is the degree, from
the thousands below a title's "The" to 1 further down, so that one static width would pay for the
fattest node at every step: `_widths` compiles a short ladder of widths and each step runs the
narrowest that holds its live nodes, chosen on the device.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rec_align.decoding.trie import EOS_ID, PAD_ID, CatalogueTrie

BOS_ID = PAD_ID  # T5 starts its decoder with padding

# (tokens [batch, beam] int32, cache, step [] int32) -> (logits [batch, beam, vocab], cache)
StepFn = Callable[[jax.Array, Any, jax.Array], tuple[jax.Array, Any]]


class BeamResults(NamedTuple):
    """The best items of each user, best first.

    Attributes:
      item_indices: [batch, num_results] int32, -1 where fewer items were finished.
      log_probs: [batch, num_results] float32, natural log, -inf where fewer were finished. Equal
        scores stand in ascending item index.
      num_exact: [batch] int32, so many leading results are proven to be the model's top: each
        scores strictly above every prefix that was dropped or left unfinished.
    """

    item_indices: jax.Array
    log_probs: jax.Array
    num_exact: jax.Array


class _State(NamedTuple):
    """The search after `step` tokens. A dead beam has score -inf and node 0."""

    step: jax.Array  # [] int32
    nodes: jax.Array  # [batch, beam] int32
    scores: jax.Array  # [batch, beam] float32, best first
    items: jax.Array  # [batch, num_results] int32, the pool of finished items, best first
    item_scores: jax.Array  # [batch, num_results] float32
    dropped: jax.Array  # [batch] float32, the best prefix ever pruned from the beams
    cache: Any


def beam_search(
    step_fn: StepFn,
    cache: Any,
    trie: CatalogueTrie,
    *,
    batch_size: int,
    beam_size: int,
    num_results: int,
) -> BeamResults:
    """Finds each user's most probable items; jit-able, with no host round trip.

    Stops when no live beam of any user can still enter its pool (scores only fall), at the latest
    after `trie.max_depth` steps. A user's results do not depend on the other users. With
    a beam as wide as the catalogue they are the exact top.

    Args:
      step_fn: one decoder step, `(tokens [batch, beam] int32, cache, step [] int32) -> (logits
        [batch, beam, vocab], cache)`; the first tokens are BOS (0). The first call has beam 1, as
        all beams are the root then; the others `beam_size`. Logits may be bfloat16: scores are
        float32. Close over what is per user, such as cross-attention keys and values.
      cache: pytree of arrays [batch, 1 or beam, ...], per beam; only beam 0 is read. `step_fn`
        must keep its shapes and dtypes. Re-ordered along axis 1 as beams move.
      trie: the catalogue; under `jit` pass it as an argument.
      batch_size: users.
      beam_size: live prefixes a user.
      num_results: items to return a user; may exceed `beam_size`.

    Returns:
      `BeamResults`.

    Raises:
      ValueError: a size below 1, a cache leaf without [batch, beam] in front, or a vocabulary too
        small for the trie's tokens.
    """
    for name, size in [("beam_size", beam_size), ("num_results", num_results)]:
        if size < 1:
            raise ValueError(f"{name}={size}; it must be at least 1")
    check_cache(cache, batch_size, (1, beam_size))
    trie = jax.tree.map(jnp.asarray, trie)
    root = _State(
        step=jnp.int32(0),
        nodes=jnp.zeros((batch_size, 1), jnp.int32),
        scores=jnp.zeros((batch_size, 1), jnp.float32),
        items=jnp.full((batch_size, num_results), -1, jnp.int32),
        item_scores=jnp.full((batch_size, num_results), -jnp.inf, jnp.float32),
        dropped=jnp.full(batch_size, -jnp.inf, jnp.float32),
        cache=jax.tree.map(lambda leaf: leaf[:, :1], cache),
    )
    state = _advance(step_fn, trie, root, beam_size, (trie.root_degree,))

    def may_improve(state: _State) -> jax.Array:
        # An equal score still counts: it could finish as an item of lower index.
        best_live = state.scores[:, 0]
        open_users = (best_live >= state.item_scores[:, -1]) & (best_live > -jnp.inf)
        return (state.step < trie.max_depth) & open_users.any()

    if trie.max_depth > 1:
        widths = _widths(trie.max_degree)
        state = lax.while_loop(
            may_improve, lambda s: _advance(step_fn, trie, s, beam_size, widths), state
        )
    # Beams left alive score below the whole pool, by `may_improve`: only the dropped can disprove.
    num_exact = (state.item_scores > state.dropped[:, None]).sum(axis=1, dtype=jnp.int32)
    return BeamResults(state.items, state.item_scores, num_exact)


def _advance(
    step_fn: StepFn, trie: CatalogueTrie, state: _State, beam_size: int, widths: tuple[int, ...]
) -> _State:
    """One token further: leaf children join the pool, the best inner children are the new beams."""
    nodes, scores = state.nodes, state.scores
    alive = scores > -jnp.inf
    # The root's token is padding, which is BOS.
    logits, cache = step_fn(trie.tokens[nodes], state.cache, state.step)  # [batch, beam, vocab]
    if logits.shape[:2] != nodes.shape or logits.shape[2] <= trie.max_token:
        raise ValueError(
            f"step_fn returned logits of shape {logits.shape} for tokens {nodes.shape}; it must be "
            f"[batch, beam, vocab] with vocab > {trie.max_token}, the trie's largest token: use "
            "the tokenizer that the model was trained with"
        )
    log_norm = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1, keepdims=True)

    def child_scores(child_tokens: jax.Array) -> jax.Array:  # [batch, beam, k] -> the same
        chosen = jnp.take_along_axis(logits, child_tokens, axis=-1).astype(jnp.float32)
        # At most 0 whatever the rounding, because num_exact rests on falling scores.
        return scores[..., None] + jnp.minimum(chosen - log_norm, 0.0)

    first, stop = trie.begin[nodes], trie.end[nodes]  # [batch, beam]
    has_leaf = alive & (trie.tokens[first] == EOS_ID)
    leaf_scores = child_scores(jnp.full((*nodes.shape, 1), EOS_ID))[..., 0]
    leaf_scores = jnp.where(has_leaf, leaf_scores, -jnp.inf)
    leaf_items = jnp.where(leaf_scores > -jnp.inf, trie.begin[first], -1)
    items, item_scores = _merge(state.items, state.item_scores, leaf_items, leaf_scores)

    first = first + has_leaf  # of the children that are no leaves
    degree = jnp.where(alive, stop - first, 0)

    def best_children(width: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        offset = jnp.arange(width)
        places = jnp.minimum(first[..., None] + offset, trie.tokens.size - 1)
        children = child_scores(trie.tokens[places])  # [batch, beam, width]
        children = jnp.where(offset < degree[..., None], children, -jnp.inf)
        flat = children.reshape(children.shape[0], -1)
        # One more than the beams, for the best of the dropped; small tries have fewer children.
        missing = max(beam_size + 1 - flat.shape[1], 0)
        flat = jnp.pad(flat, ((0, 0), (0, missing)), constant_values=-jnp.inf)
        # The barriers: sliced directly, XLA turns top_k into a full sort (91 against 4 ms on CPU).
        # One for both would give XLA's partitioner the pair as a whole, at which it aborts.
        top, place = map(lax.optimization_barrier, lax.top_k(flat, beam_size + 1))
        parent = jnp.minimum(place // width, nodes.shape[1] - 1)
        return top, parent, place % width

    if len(widths) == 1:
        top, parent, offset = best_children(widths[0])
    else:
        rung = (jnp.max(degree) > jnp.array(widths[:-1])).sum()
        top, parent, offset = lax.switch(
            rung, [lambda width=width: best_children(width) for width in widths]
        )
    top, parent, offset, lost = top[:, :-1], parent[:, :-1], offset[:, :-1], top[:, -1]
    children = jnp.take_along_axis(first, parent, axis=1) + offset
    return _State(
        step=state.step + 1,
        nodes=jnp.where(top > -jnp.inf, children, 0),
        scores=top,
        items=items,
        item_scores=item_scores,
        dropped=jnp.maximum(state.dropped, lost),
        cache=jax.tree.map(lambda leaf: jax.vmap(lambda x, i: x[i])(leaf, parent), cache),
    )


def _merge(
    items: jax.Array, scores: jax.Array, new_items: jax.Array, new_scores: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Keeps the best [batch, num_results] of pool and newcomers, ties by ascending item index."""
    falling, items = lax.sort(
        (
            -jnp.concatenate([scores, new_scores], axis=1),
            jnp.concatenate([items, new_items], axis=1),
        ),
        dimension=1,
        num_keys=2,
    )
    return items[:, : scores.shape[1]], -falling[:, : scores.shape[1]]


def _widths(max_degree: int) -> tuple[int, ...]:
    """The ladder of static widths, each 8 times the one before: 300 -> (5, 38, 300)."""
    widths = [max(max_degree, 1)]
    while widths[0] > 8:
        widths.insert(0, -(-widths[0] // 8))
    return tuple(widths)


def check_cache(cache: Any, batch_size: int, beams: tuple[int, ...]) -> None:
    """Raises ValueError where a leaf of `cache` does not lead with [batch, one of `beams`]."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(cache):
        if leaf.ndim < 2 or leaf.shape[0] != batch_size or leaf.shape[1] not in beams:
            raise ValueError(
                f"cache{jax.tree_util.keystr(path)} has shape {leaf.shape}; each leaf must lead "
                f"with [batch_size={batch_size}, beam={' or '.join(map(str, beams))}, ...]: keep "
                "the step counter out of it, step_fn is given the step"
            )
