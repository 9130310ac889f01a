"""Recommending within a catalogue against Hugging Face's `generate` and T5X's beam search.

All have the same parameters, users and beams; each encodes the users and returns the best of them,
in turn in one process. Hugging Face decodes the same catalogue by `prefix_allowed_tokens_fn` over
a trie of dictionaries, and must find the same scores within 1e-3: the same items, but where two
score alike and change places. T5X knows no catalogue: it decodes as many steps over all tokens.
Each is measured where it is installed.

  python bench/decoding_peers.py --model small --out bench/results/decoding_peers_small.json
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import measuring
import numpy as np
import optax
import peers
from catalogues import VOCAB_SIZE, synthetic_items

from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.t5 import Transformer
from rec_align.training.prediction import recommend
from rec_align.training.state import init_params

GOALS = {"Hugging Face": 20.0, "T5X": 5.0}
SAME_SCORE = 1e-3
Found = tuple[np.ndarray, np.ndarray] | None  # items and log-probabilities, [users, beam] each
Search = Callable[[], Found]


def ours(network: Transformer, params: Any, tokens: np.ndarray, items, beam: int) -> Search:
    trie = jax.device_put(CatalogueTrie.build(items))

    @jax.jit
    def search(params, tokens, trie):
        inputs = (tokens, None, None)
        return recommend(network, params, inputs, trie, beam_size=beam, num_results=beam)

    def call() -> Found:
        found = search(params, tokens, trie)
        return np.asarray(found.item_indices), np.asarray(found.log_probs)

    return call


def hugging_face(network: Transformer, params: Any, tokens: np.ndarray, items, beam: int) -> Search:
    import torch

    model = peers.hugging_face_model(network.config, params).eval()
    rows = [tuple(row[row > 0].tolist()) for row in items]
    index_of = {row: index for index, row in enumerate(rows)}
    children: dict[tuple[int, ...], set[int]] = {}
    for row in rows:
        for depth in range(len(row)):
            children.setdefault(row[:depth], set()).add(row[depth])
    allowed = {prefix: sorted(tokens) for prefix, tokens in children.items()}
    input_ids = torch.tensor(tokens).long()

    def search() -> Found:
        with torch.inference_mode():
            found = model.generate(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                num_beams=beam,
                num_return_sequences=beam,
                length_penalty=0.0,  # scores are sums of log-probabilities, as ours
                early_stopping="never",
                max_new_tokens=items.shape[1],
                prefix_allowed_tokens_fn=lambda _, past: allowed.get(tuple(past[1:].tolist()), [1]),
                return_dict_in_generate=True,
                output_scores=True,
            )
        names = found.sequences[:, 1:].tolist()
        indices = np.array([index_of[tuple(row[: row.index(1) + 1])] for row in names])
        return indices.reshape(-1, beam), found.sequences_scores.numpy().reshape(-1, beam)

    return search


def t5x(network: Transformer, params: Any, tokens: np.ndarray, items, beam: int) -> Search:
    model = peers.t5x_model(network.config, optax.sgd(1.0))
    batch = {
        "encoder_input_tokens": tokens,
        "decoder_input_tokens": np.zeros((len(tokens), items.shape[1]), np.int32),
    }

    @jax.jit
    def search(params, batch):
        return model.predict_batch_with_aux(
            params, batch, num_decodes=beam, return_all_decodes=True
        )

    return lambda: jax.block_until_ready(search(params, batch)) and None


PEERS = {"Hugging Face": ("torch", hugging_face), "T5X": ("t5x", t5x)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help="a file of gin/models")
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--inputs-length", type=int, default=128)
    parser.add_argument("--beams", nargs="+", type=int, default=[20, 50])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="also write the result as JSON")
    args = parser.parse_args()
    network = peers.shared_network(args.model)
    params = jax.device_get(init_params(network, 0))
    params = jax.tree.map(jnp.asarray, params)
    items = synthetic_items(args.items)
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, VOCAB_SIZE, (args.users, args.inputs_length)).astype(np.int32)
    packages, makers = ["jax"], {"rec_align": ours}
    for name, (package, make) in PEERS.items():
        if importlib.util.find_spec(package):
            makers[name] = make
            packages += [package, "transformers"] if package == "torch" else [package]
    rows = []
    print(f"{'way':14} {'beam':>4} {'s a search':>11} {'ratio':>7}")
    for beam in args.beams:
        ways = {name: make(network, params, tokens, items, beam) for name, make in makers.items()}
        found = {name: way() for name, way in ways.items()}
        if "Hugging Face" in found:
            (items_of_ours, scores), (items_of_theirs, expected) = (
                found[name] for name in ("rec_align", "Hugging Face")
            )
            np.testing.assert_allclose(scores, expected, atol=SAME_SCORE)
            same = float((items_of_ours == items_of_theirs).mean())
            assert same > 0.95, f"{1 - same:.1%} of the places differ"
            print(f"{same:.1%} of the places have the same item, all the same score")
        seconds = measuring.take_turns(ways, args.rounds)
        for name in ways:
            row = {"way": name, "beam": beam, "seconds": statistics.median(seconds[name])}
            row["ratio"] = measuring.ratio(seconds[name], seconds["rec_align"])
            rows.append(row)
            print(f"{name:14} {beam:4} {row['seconds']:11.3f} {row['ratio']:7.2f}", flush=True)
    settings = {k: v for k, v in vars(args).items() if k != "out"}
    measuring.write_record(args.out, packages, {"settings": settings, "ways": rows, "goals": GOALS})
    for row in rows:
        if row["way"] != "rec_align":
            way = row["way"].replace(" ", "_")
            print(f"ratio: {args.model}_beam_{row['beam']}_over_{way} {row['ratio']:.2f}")


if __name__ == "__main__":
    main()
