"""What the catalogue costs: beam search within it against the same search over all tokens.

Both take the same steps of the same network with random weights, in turn in one process: every
item has the same length, so that neither stops early. The table also has the steps alone, without
any search. Vocabulary 32,128.

  python bench/decoding.py --models tiny small --out bench/results/decoding.json
  python bench/decoding.py --models tiny --items 10000000
"""

import argparse
import functools
import itertools
import statistics

import jax
import jax.numpy as jnp
import measuring
import numpy as np
from catalogues import VOCAB_SIZE, synthetic_items
from jax import lax

from rec_align.decoding.beam_search import beam_search
from rec_align.decoding.trie import EOS_ID, CatalogueTrie
from rec_align.models.config_files import read_config
from rec_align.models.t5 import Transformer, empty_cache
from rec_align.training.state import init_params

NUM_TOKENS = 8
INPUTS_LENGTH = 128
USERS = {"tiny": 16, "small": 4, "base": 1}
BEAMS = (20, 50)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
GOALS = {1_000_000: 1.03, 10_000_000: 1.05}


def search_all_tokens(step_fn, cache, *, batch_size: int, beam_size: int, num_steps: int):
    """Beam search without a catalogue: [batch, beam] tokens' log-probabilities, and the ended's."""

    def advance(state):
        step, tokens, scores, ended, cache = state
        logits, cache = step_fn(tokens, cache, step)
        log_probs = scores[..., None] + jax.nn.log_softmax(logits.astype(jnp.float32))
        ended = lax.top_k(jnp.concatenate([ended, log_probs[..., EOS_ID]], axis=1), beam_size)[0]
        # Of each beam first, then of all: a top_k of beams x vocabulary at once takes longer.
        best, chosen = lax.top_k(log_probs.at[..., EOS_ID].set(-jnp.inf), beam_size)
        best, chosen = map(lax.optimization_barrier, (best, chosen))
        scores, place = map(
            lax.optimization_barrier, lax.top_k(best.reshape(batch_size, -1), beam_size)
        )
        tokens = jnp.take_along_axis(chosen.reshape(batch_size, -1), place, axis=1)
        parent = place // beam_size
        cache = jax.tree.map(lambda leaf: jax.vmap(lambda x, i: x[i])(leaf, parent), cache)
        return step + 1, tokens, scores, ended, cache

    state = advance(
        (
            jnp.int32(0),
            jnp.zeros((batch_size, 1), jnp.int32),
            jnp.zeros((batch_size, 1), jnp.float32),
            jnp.full((batch_size, beam_size), -jnp.inf, jnp.float32),
            cache,
        )
    )
    state = lax.while_loop(lambda state: state[0] < num_steps, advance, state)
    return state[2], state[3]


def take_steps(step_fn, cache, *, batch_size: int, beam_size: int, num_steps: int):
    """As many steps of as many beams without a search; every beam goes on with its own token."""

    def advance(state):
        step, total, tokens, cache = state
        logits, cache = step_fn(tokens, cache, step)
        # Every logit must be needed, or XLA would leave it out.
        total += jax.nn.logsumexp(logits, axis=-1).sum()
        return step + 1, total, tokens + 1, cache

    tokens = jnp.ones((batch_size, beam_size), jnp.int32)
    state = (jnp.int32(0), jnp.float32(0), tokens, cache)
    return lax.while_loop(lambda state: state[0] < num_steps, advance, state)[1]


def compile_ways(network: Transformer, beam_size: int, batch_size: int):
    """Functions of (params, encoded users) and, within the catalogue, the trie."""
    num_steps = NUM_TOKENS + 1
    sizes = {"batch_size": batch_size, "beam_size": beam_size}

    def step_of(params, context):
        def step(tokens, cache, number):
            return network.apply({"params": params}, tokens, cache, context, number, method="step")

        return step

    def cache(beam: int):
        return empty_cache(network.config, batch_size, beam, num_steps)

    return {
        "steps alone": jax.jit(
            lambda params, context: take_steps(
                step_of(params, context), cache(beam_size), num_steps=num_steps, **sizes
            )
        ),
        "all tokens": jax.jit(
            lambda params, context: search_all_tokens(
                step_of(params, context), cache(1), num_steps=num_steps, **sizes
            )
        ),
        "catalogue": jax.jit(
            lambda params, context, trie: beam_search(
                step_of(params, context), cache(1), trie, num_results=beam_size, **sizes
            )
        ),
    }


def _finish(way, *arguments):
    return jax.block_until_ready(way(*arguments))


def measure(model: str, beam: int, tries: dict[int, CatalogueTrie], rounds: int):
    """Yields each catalogue's size with the seconds of every call of each way."""
    users = USERS[model]
    network = Transformer(
        read_config(model, vocab_size=VOCAB_SIZE, item_age_bias=False, repeat_bias=False)
    )
    params = init_params(network, 0)
    tokens = np.random.default_rng(0).integers(2, VOCAB_SIZE, (users, INPUTS_LENGTH))
    encode = jax.jit(lambda params: network.apply({"params": params}, tokens, method="start"))
    context = jax.block_until_ready(encode(params))
    ways = compile_ways(network, beam, users)
    for num_items, trie in tries.items():
        calls = {
            name: functools.partial(
                _finish, way, params, context, *([trie] if name == "catalogue" else [])
            )
            for name, way in ways.items()
        }
        found = {name: call() for name, call in calls.items()}["catalogue"]
        assert (found.item_indices >= 0).all()
        yield num_items, measuring.take_turns(calls, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(USERS), choices=list(USERS))
    parser.add_argument("--beams", nargs="+", type=int, default=list(BEAMS))
    parser.add_argument("--items", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="also write the result as JSON")
    args = parser.parse_args()
    tries = {n: CatalogueTrie.build(synthetic_items(n, NUM_TOKENS)) for n in args.items}
    tries = jax.device_put(tries)
    rows = []
    print(f"{'model':6} {'users':>5} {'beam':>4} {'items':>10} ", end="")
    print(f"{'steps alone':>12} {'all tokens':>11} {'catalogue':>10} {'ratio':>6}   ms a step")
    for model, beam in itertools.product(args.models, args.beams):
        for num_items, seconds in measure(model, beam, tries, args.rounds):
            row = {"model": model, "users": USERS[model], "beam": beam, "items": num_items}
            for name, times in seconds.items():
                row[name] = statistics.median(times) / (NUM_TOKENS + 1)
            row["ratio"] = measuring.ratio(seconds["catalogue"], seconds["all tokens"])
            row["over_steps"] = measuring.ratio(seconds["catalogue"], seconds["steps alone"])
            rows.append(row)
            print(f"{model:6} {USERS[model]:5} {beam:4} {num_items:10,} ", end="")
            print(
                f"{row['steps alone'] * 1e3:12.2f} {row['all tokens'] * 1e3:11.2f} "
                f"{row['catalogue'] * 1e3:10.2f} {row['ratio']:6.3f}",
                flush=True,
            )
    goals = {str(size): goal for size, goal in GOALS.items()}
    measuring.write_record(args.out, ["jax"], {"rows": rows, "goals": goals})
    for num_items in args.items:
        worst = max(row["ratio"] for row in rows if row["items"] == num_items)
        print(f"ratio: catalogue_over_all_tokens_{num_items}_items {worst:.3f}")


if __name__ == "__main__":
    main()
