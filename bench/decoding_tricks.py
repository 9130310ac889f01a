"""What each trick of the catalogue's beam search gains: all of them, against all but one.

A trained run recommends to real users of ML-100K's test split, each way in turn in one process. A
trick is taken out by an edit of the search's source or of the step function, so that the library
has no switches. All ways must find the same items. The cost of moving the cache with its beams,
which has no other way here, is timed by itself.

  bash launch/quickstart.sh
  TFDS_DATA_DIR=runs/data python bench/decoding_tricks.py --run runs/quickstart_4000 \\
    --out bench/results/decoding_tricks.json
"""

import argparse
import functools
import inspect
import itertools
import statistics
import types

import jax
import jax.numpy as jnp
import measuring
import numpy as np
import seqio
from jax import lax

import tasks
from rec_align import runs
from rec_align.decoding import beam_search
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.config_files import read_config
from rec_align.models.t5 import Transformer, empty_cache
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.training.prediction import user_inputs

TASK = "ml_100k_retrieval"
LENGTHS = {"inputs": 512, "targets": 64}
# Each trick: what takes its place in the source of the search.
WITHOUT = {
    "stopping when proven": [
        ("(state.step < trie.max_depth) & open_users.any()", "state.step < trie.max_depth")
    ],
    "ladder of widths": [("_widths(trie.max_degree)", "(max(trie.max_degree, 1),)")],
    "partial sort kept partial": [
        ("map(lax.optimization_barrier, lax.top_k(flat, beam_size + 1))",
         "lax.top_k(flat, beam_size + 1)")
    ],
    "first step on one beam": [
        ("jnp.zeros((batch_size, 1), jnp.int32)", "jnp.zeros((batch_size, beam_size), jnp.int32)"),
        ("jnp.zeros((batch_size, 1), jnp.float32)",
         "jnp.zeros((batch_size, 1)) + jnp.where(jnp.arange(beam_size) > 0, -jnp.inf, 0.0)"),
        ("lambda leaf: leaf[:, :1]", "lambda leaf: jnp.repeat(leaf[:, :1], beam_size, axis=1)"),
    ],
    "proof of exactness": [
        ("lax.top_k(flat, beam_size + 1)", "lax.top_k(flat, beam_size)"),
        ("max(beam_size + 1 - flat.shape[1], 0)", "max(beam_size - flat.shape[1], 0)"),
        ("top[:, :-1], parent[:, :-1], offset[:, :-1], top[:, -1]",
         "top, parent, offset, state.dropped"),
    ],
}  # fmt: skip
SHARED_CROSS_ATTENTION = "cross-attention keys of a user shared by its beams"


def edited_search(edits):
    """`beam_search` from its module's source with the edits made."""
    source = inspect.getsource(beam_search)
    for old, new in edits:
        assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in beam_search.py"
        source = source.replace(old, new)
    module = types.ModuleType("edited_beam_search")
    exec(compile(source, "edited_beam_search", "exec"), module.__dict__)
    return module.beam_search


def step_with_copies(network, params, context, beam_size: int):
    """A step whose beams are users of their own, as decoders do that know of no beams."""
    copied = {
        beam: jax.tree.map(lambda leaf, beam=beam: jnp.repeat(leaf, beam, axis=0), context)
        for beam in (1, beam_size)
    }

    def step(tokens, cache, number):
        users, beam = tokens.shape

        def apart(leaf):
            return leaf.reshape(users * beam, 1, *leaf.shape[2:])

        def together(leaf):
            return leaf.reshape(users, beam, *leaf.shape[2:])

        logits, cache = network.apply(
            {"params": params},
            apart(tokens),
            jax.tree.map(apart, cache),
            copied[beam],
            number,
            method="step",
        )
        return together(logits), jax.tree.map(together, cache)

    return step


def make_way(network: Transformer, search, copies: bool, beam_size: int, num_results: int):
    @jax.jit
    def way(params, context, trie):
        users = context["bias"].shape[0]
        if copies:
            step = step_with_copies(network, params, context, beam_size)
        else:
            step = functools.partial(_step, network, params, context)
        cache = empty_cache(network.config, users, 1, trie.max_depth)
        sizes = {"batch_size": users, "beam_size": beam_size, "num_results": num_results}
        return search(step, cache, trie, **sizes)

    return way


def _step(network, params, context, tokens, cache, number):
    return network.apply({"params": params}, tokens, cache, context, number, method="step")


def seconds_of_moving(network, users: int, beam_size: int, num_steps: int, rounds: int) -> float:
    """As a search of `num_steps` moves the cache, and nothing else."""
    cache = empty_cache(network.config, users, beam_size, num_steps)
    parents = np.sort(np.random.default_rng(0).integers(0, beam_size, (users, beam_size)))

    @jax.jit
    def move(cache):
        def once(_, cache):
            return jax.tree.map(lambda leaf: jax.vmap(lambda x, i: x[i])(leaf, parents), cache)

        return lax.fori_loop(0, num_steps, once, cache)

    jax.block_until_ready(move(cache))
    call = functools.partial(_finish, move, cache)
    return statistics.median(measuring.take_turns({"move": call}, rounds)["move"])


def draw_users(count: int):
    dataset = seqio.get_dataset(
        TASK,
        LENGTHS,
        RecFeatureConverter(pack=False, apply_length_check=False),
        dataset_split="test",
        shuffle=False,
        verbose=False,
    )
    return user_inputs(next(dataset.batch(count).as_numpy_iterator()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, metavar="MODEL_DIR")
    parser.add_argument("--model", default="tiny", help="the run's file of gin/models")
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--beams", nargs="+", type=int, default=[20, 50])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", help="also write the result as JSON")
    args = parser.parse_args()
    tasks.register_built_corpora()
    vocabulary = runs.corpus_vocabulary(TASK)
    network = Transformer(read_config(args.model).with_vocab_size(vocabulary.vocab_size))
    _, params = runs.load_run(network, args.run)
    trie = jax.device_put(CatalogueTrie.build(runs.item_tokens(vocabulary)))
    inputs = draw_users(args.users)
    start = jax.jit(lambda params: network.apply({"params": params}, *inputs, method="start"))
    context = jax.block_until_ready(start(params))
    rows = []
    print(f"{'beam':>4} {'without':52} {'ms':>8} {'gain':>6}")
    for beam in args.beams:
        ways = {"nothing": make_way(network, beam_search.beam_search, False, beam, 50)}
        for name, edits in WITHOUT.items():
            ways[name] = make_way(network, edited_search(edits), False, beam, 50)
        ways[SHARED_CROSS_ATTENTION] = make_way(network, beam_search.beam_search, True, beam, 50)
        calls = {
            name: functools.partial(_finish, way, params, context, trie)
            for name, way in ways.items()
        }
        found = {name: np.asarray(call().item_indices[:, :10]) for name, call in calls.items()}
        for name, items in found.items():
            same = (items == found["nothing"]).mean()
            assert same > 0.99, f"without {name}: {same:.1%} are the same"
        proven = float((calls["nothing"]().num_exact >= 10).mean())
        seconds = measuring.take_turns(calls, args.rounds)
        for name, times in seconds.items():
            gain = measuring.ratio(times, seconds["nothing"])
            rows.append({"beam": beam, "without": name, "gain": gain})
            rows[-1] |= {"seconds": statistics.median(times), "top_10_proven": proven}
            print(f"{beam:4} {name:52} {statistics.median(times) * 1e3:8.2f} {gain:6.3f}")
        moving = seconds_of_moving(network, args.users, beam, trie.max_depth, args.rounds)
        share = moving / statistics.median(seconds["nothing"])
        rows.append({"beam": beam, "moving_share_at_most": share})
        print(f"{beam:4} moving the cache takes at most {share:.1%} of it")
        print(f"{beam:4} the top 10 is proven for {proven:.1%} of the users", flush=True)
    measuring.write_record(
        args.out, ["jax"], {"users": args.users, "trie_depth": trie.max_depth, "rows": rows}
    )
    for row, name in itertools.product(rows, WITHOUT | {SHARED_CROSS_ATTENTION: None}):
        if row.get("without") == name:
            print(f"ratio: beam_{row['beam']}_{name.replace(' ', '_')} {row['gain']:.3f}")


def _finish(way, *arguments):
    return jax.block_until_ready(way(*arguments))


if __name__ == "__main__":
    main()
