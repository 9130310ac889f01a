"""New items after training: are they recommended, by semantic ids and by titles?

A tenth of ML-100K's items, drawn by a seed, is taken out of the log altogether. On the rest each
way of writing is trained (and the semantic index made); then the new items join the catalogue and
the index, without any training, and the models recommend to the users whose last item in the whole
log is a new one, from the items they had before. Scored within the whole catalogue, and within the
new items alone, where a guess has as good a chance as any other list.

  python bench/cold_start.py --data-dir runs/data --runs runs/cold_start \\
    --out bench/results/cold_start.json
"""

import argparse
import functools
import json
import os
import pathlib

import measuring
import numpy as np
import seqio
import tensorflow as tf
from quality import bindings, train_run

import tasks
from rec_align import item_indices, runs
from rec_align.data import corpus as corpus_lib
from rec_align.data import new_items, sources
from rec_align.decoding.trie import CatalogueTrie
from rec_align.eval import padded_batches
from rec_align.metrics import bootstrap
from rec_align.models import config_files
from rec_align.models.t5 import Transformer
from rec_align.pipeline import item_writing, phrasing, seeds, templates, tokenization, windows
from rec_align.pipeline.features import RecFeatureConverter, output_features
from rec_align.prompts.retrieval import FAMILY
from rec_align.training.prediction import Predictor

WARM = "ml_100k_warm"
TASK = "cold_start_retrieval"
LENGTHS = {"inputs": 256, "targets": 64}
K = 10


def whole_log(data_dir: str) -> tuple[corpus_lib.catalogue_lib.Catalogue, list[np.ndarray]]:
    """ML-100K's catalogue, and each user's items in time order."""
    tasks.register_corpus("ml_100k")
    dataset = seqio.get_mixture_or_task("ml_100k_retrieval").source.get_dataset(
        "test", shuffle=False
    )
    histories = [
        np.append(example["item_indices"], example["held_out_item_index"])
        for example in dataset.as_numpy_iterator()
    ]
    return corpus_lib.read_catalogue("ml_100k", data_dir), histories


def write_items(path: pathlib.Path, catalogue, items) -> None:
    with path.open("w") as file:
        for item in items:
            row = {
                "item_id": catalogue.item_ids[item],
                "title": catalogue.titles[item],
                "categories": catalogue.categories[item],
                "year": catalogue.years[item],
            }
            file.write(json.dumps(row) + "\n")


def build_warm(folder: pathlib.Path, data_dir: str, catalogue, histories, is_new) -> None:
    """Builds the corpus of the log without the new items."""
    write_items(folder / "warm_items.jsonl", catalogue, np.flatnonzero(~is_new))
    write_items(folder / "new_items.jsonl", catalogue, np.flatnonzero(is_new))
    with (folder / "warm.csv").open("w") as file:
        file.write("user_id,item_id,timestamp\n")
        for user, items in enumerate(histories):
            for time, item in enumerate(items[~is_new[items]]):
                file.write(f"u{user},{catalogue.item_ids[item]},{1_000_000 + time}\n")
    source = sources.Tables(interactions=folder / "warm.csv", items=folder / "warm_items.jsonl")
    corpus_lib.build_corpus(WARM, source, data_dir=data_dir, k_core=0)


def register_cold_task(catalogue, histories, is_new) -> int:
    """Registers `TASK`: users whose last item is new, asked for it; returns how many they are."""
    known = corpus_lib.read_catalogue(WARM)
    index = np.array([known.index_of(item_id) for item_id in catalogue.item_ids])
    users = [(items[:-1][~is_new[items[:-1]]], items[-1]) for items in histories]
    users = [(index[before], index[last]) for before, last in users if is_new[last]]

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed

        def examples():
            for user, (before, last) in enumerate(users):
                yield {
                    "user_index": user,
                    "item_indices": before.astype(np.int32),
                    "ratings": np.full(len(before), np.nan, np.float32),
                    "held_out_item_index": last,
                    "held_out_rating": np.nan,
                }

        return tf.data.Dataset.from_generator(
            examples,
            output_signature={
                "user_index": tf.TensorSpec([], tf.int64),
                "item_indices": tf.TensorSpec([None], tf.int32),
                "ratings": tf.TensorSpec([None], tf.float32),
                "held_out_item_index": tf.TensorSpec([], tf.int32),
                "held_out_rating": tf.TensorSpec([], tf.float32),
            },
        )

    seqio.TaskRegistry.remove(TASK)
    seqio.TaskRegistry.add(
        TASK,
        source=seqio.FunctionDataSource(dataset, splits=["test"]),
        preprocessors=[
            functools.partial(seeds.attach_seed, family=FAMILY.name),
            windows.next_item_windows,
            functools.partial(phrasing.phrase_next_items, corpus=WARM),
            functools.partial(templates.fill_template, family=FAMILY),
            tokenization.tokenize_parts,
        ],
        output_features=output_features(WARM),
    )
    return len(users)


def score(name: str, model_dir: pathlib.Path, num_warm: int) -> dict[str, dict[str, float]]:
    """HR and NDCG at 10 of the new items, in the whole catalogue and among the new ones."""
    item_writing.use(name)
    vocabulary = runs.corpus_vocabulary(TASK)
    network = runs.for_vocabulary(
        Transformer(config_files.read_config("tiny", repeat_bias=False)), vocabulary
    )
    _, params = runs.load_run(network, model_dir)
    tokens = runs.item_tokens(vocabulary)
    task = seqio.get_mixture_or_task(TASK)
    examples = task.get_dataset(LENGTHS, "test", shuffle=False, num_epochs=1)
    targets = np.array([e["target_item_index"] for e in examples.as_numpy_iterator()])
    converter = RecFeatureConverter(pack=False, apply_length_check=False)
    scores = {}
    for where, first in (("whole catalogue", 0), ("new items", num_warm)):
        trie = CatalogueTrie.build(tokens[first:])
        predictor = Predictor(network, params, trie, beam_size=50, num_results=K)
        found = [
            predictor.recommend(batch).item_indices[: len(indices)]
            for indices, batch in padded_batches(
                converter(examples, LENGTHS).enumerate(), 32, f"{name}, {where}"
            )
        ]
        hits = np.concatenate(found) + first == targets[:, None]
        gains = hits / np.log2(np.arange(K) + 2)
        per_user = {f"hr@{K}": hits.any(axis=1), f"ndcg@{K}": gains.sum(axis=1)}
        scores[where] = bootstrap.summarise(
            {key: values.astype(float) for key, values in per_user.items()}
        )
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data-dir", required=True, help="holds ml_100k")
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--encoder", choices=("t5", "sentence"), default="t5")
    parser.add_argument("--codes", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    os.environ["TFDS_DATA_DIR"] = args.data_dir
    args.runs.mkdir(parents=True, exist_ok=True)
    catalogue, histories = whole_log(args.data_dir)
    draw = np.random.default_rng(args.seed).permutation(len(catalogue))
    is_new = np.zeros(len(catalogue), bool)
    is_new[draw[: len(catalogue) // 10]] = True
    build_warm(args.runs, args.data_dir, catalogue, histories, is_new)
    num_warm = int((~is_new).sum())
    item_indices.build_semantic(WARM, encoder=args.encoder, num_codes=args.codes)
    for name in ("semantic", "title"):
        values = {"ITEM_INDEX": name, "SEED": args.seed, "TRAIN_STEPS": args.steps}
        # As when this was recorded:
        values |= {"T5Config.repeat_bias": False, "optimizers.adamw.embedding_rate": 1.0}
        train_run(args.runs / name, f"{WARM}_retrieval", bindings(values))
    new_items.add_items(WARM, args.runs / "new_items.jsonl")
    item_indices.extend(WARM, "semantic")
    num_users = register_cold_task(catalogue, histories, is_new)
    results = {name: score(name, args.runs / name, num_warm) for name in ("semantic", "title")}
    guess = K / int(is_new.sum())
    print(f"{num_users} users, {is_new.sum()} new items of {len(catalogue)}")
    print(f"{'written by':12} {'within':18} {'HR@10':>8} {'':16} {'NDCG@10':>8}")
    for name, by_catalogue in results.items():
        for where, found in by_catalogue.items():
            hr = found[f"hr@{K}"]
            bounds = f"[{found[f'hr@{K}_low']:.3f}, {found[f'hr@{K}_high']:.3f}]"
            print(f"{name:12} {where:18} {hr:8.4f} {bounds:16} {found[f'ndcg@{K}']:8.4f}")
    print(f"{'a guess':12} {'new items':18} {guess:8.4f}")
    options = {name: getattr(args, name) for name in ("encoder", "codes", "steps", "seed")}
    measuring.write_record(
        args.out,
        ("jax", "flax", "seqio"),
        {
            **options,
            "num_users": num_users,
            "num_new_items": int(is_new.sum()),
            "num_items": len(catalogue),
            "guess": guess,
            "results": results,
            "report": item_indices.report(WARM, "semantic"),
        },
    )
    best = results["semantic"]["new items"][f"hr@{K}"]
    print(f"ratio: semantic_over_guess_among_new_items {best / guess:.2f}")


if __name__ == "__main__":
    main()
