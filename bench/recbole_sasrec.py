"""SASRec as RecBole trains it, on the split of a corpus: what our own SASRec is checked against.

Two environments, for RecBole needs old libraries. In ours, the split is written as RecBole's files:

  python bench/recbole_sasrec.py write --corpus ml_100k --folder runs/recbole

and in one of its own (`uv pip install recbole==1.2.1 torch==2.5.1 "numpy<1.24" "pandas<2"
"scipy<1.11" ray==2.6.3 "setuptools<70"`) RecBole's dataset, model, trainer and metrics do the rest:

  python bench/recbole_sasrec.py train --corpus ml_100k --folder runs/recbole --seed 0 \\
    --out bench/results/quality/recbole_sasrec_ml_100k_0.json

The sizes are those of `baselines.sasrec.default_config`; the block and what stops training are
RecBole's. The softmax is over the whole catalogue, ranks are within it, with the history.
"""

import argparse
import json
import pathlib
import platform
import time

MOST_ITEMS = 50
CONFIG = {
    "model": "SASRec",
    "n_layers": 1,
    "n_heads": 1,
    "hidden_size": 64,
    "inner_size": 64,
    "hidden_dropout_prob": 0.2,
    "attn_dropout_prob": 0.2,
    "hidden_act": "relu",
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "learning_rate": 1e-3,
    "train_batch_size": 2048,
    "eval_batch_size": 1024,
    "epochs": 200,
    "stopping_step": 10,
    "valid_metric": "NDCG@10",
    "metrics": ["Hit", "NDCG"],
    "topk": [5, 10],
    "eval_args": {"mode": "full", "order": "TO", "group_by": "user"},
    "MAX_ITEM_LIST_LENGTH": MOST_ITEMS,
    "benchmark_filename": ["train", "validation", "test"],
    "alias_of_item_id": ["item_id_list"],
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "use_gpu": False,
    "show_progress": False,
    "reproducibility": True,
}


def write(corpus: str, folder: pathlib.Path) -> None:
    """Writes FOLDER/CORPUS/CORPUS.{train,validation,test}.inter, a row for each target."""
    from rec_align.eval import read_histories  # not in RecBole's environment

    folder = folder / corpus
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "test"):
        with (folder / f"{corpus}.{split}.inter").open("w") as file:
            file.write("user_id:token\titem_id_list:token_seq\titem_id:token\n")
            for example in read_histories(corpus, split):
                items = [str(item) for item in example["item_indices"]]
                first = 1 if split == "train" else len(items) - 1
                for place in range(first, len(items)):
                    history = " ".join(items[max(0, place - MOST_ITEMS) : place])
                    file.write(f"{example['user_index']}\t{history}\t{items[place]}\n")


def train(corpus: str, folder: pathlib.Path, seed: int, changes: dict, out: str | None) -> None:
    """Trains until validation says stop, and scores the test split by RecBole's own metrics."""
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer
    from recbole.utils import init_logger, init_seed

    settings = CONFIG | changes
    config = Config(
        model="SASRec",
        dataset=corpus,
        config_dict=settings
        | {"data_path": str(folder), "seed": seed, "checkpoint_dir": str(folder / "saved")},
    )
    init_seed(seed, True)
    init_logger(config)
    dataset = create_dataset(config)
    train_data, validation_data, test_data = data_preparation(config, dataset)
    model = SASRec(config, train_data.dataset)
    trainer = Trainer(config, model)
    started = time.monotonic()
    _, validation = trainer.fit(train_data, validation_data, saved=True, verbose=True)
    seconds = time.monotonic() - started
    found = trainer.evaluate(test_data, load_best_model=True)
    record = {
        "corpus": corpus,
        "seed": seed,
        "num_test_users": len(test_data.dataset),
        "num_items": dataset.item_num - 1,  # RecBole counts padding
        "config": settings,
        "epochs": len(trainer.train_loss_dict),
        "fit_seconds": round(seconds),
        "validation": dict(validation),
        "test": dict(found),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads of PyTorch",
        "versions": {"recbole": "1.2.1", "torch": torch.__version__},
    }
    print(json.dumps(record))
    if out:
        pathlib.Path(out).write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("write", "train"))
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--changes", type=json.loads, default={}, help="RecBole's names, as JSON")
    parser.add_argument("--out", help="where the record goes")
    args = parser.parse_args()
    if args.what == "write":
        write(args.corpus, args.folder)
    else:
        train(args.corpus, args.folder, args.seed, args.changes, args.out)


if __name__ == "__main__":
    main()
