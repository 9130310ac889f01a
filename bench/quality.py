"""An experiment of record: systems, each trained and scored with several seeds, then compared.

  python bench/quality.py bench/quality/next_item_ml_100k.toml --runs runs/quality

A config names the corpus, the seeds, the baselines, and each system's mixture, gin files and gin
bindings; those under `train` are for training alone, those under `scoring` for evaluation. Item
embeddings named "taught" are those of `rec-align teach`. A system with `after` starts from what
another was scored with, of the same seed; one with `average_of` is the mean of what several were
scored with, and is not trained. With `compiled_epochs` a mixture is drawn once for so
many epochs, and all seeds are trained from that (`rec-align compile`, `train-compiled`), which
leaves all cores to training. Finished runs are read again, interrupted ones go on. The record,
bench/results/quality/NAME.json, holds the config, what `rec-align compare` found, each run's own
metrics and seconds, and how an index writes items.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from typing import Any

import measuring

from rec_align import item_indices
from rec_align.cli.main import main as rec_align
from rec_align.data import taught_items
from rec_align.data.corpus import read_manifest
from rec_align.pipeline import item_writing

# What `rec-align train-compiled` calls these bindings.
_COMPILED_OPTIONS = {
    "TRAIN_STEPS": "--steps",
    "BATCH_SIZE": "--batch-size",
    "LEARNING_RATE": "--learning-rate",
    "optimizers.adamw.embedding_rate": "--embedding-rate",
    "train.label_smoothing": "--label-smoothing",
    "train.item_embeddings": "--item-embeddings",
    "INITIAL_CHECKPOINT_PATH": "--initial-checkpoint",
    "SEED": "--seed",
}
# The rest of a system's entries are gin bindings.
_OF_SYSTEM = ("mixture", "train", "seeds", "gin_files", "after", "average_of", "score")
RECORDS = pathlib.Path(__file__).parent / "results" / "quality"


def bindings(values: dict[str, Any]) -> list[str]:
    """TOML values as gin bindings; text that begins with @ is a reference."""
    return [
        f"--gin.{name}={value}" if str(value).startswith("@") else f"--gin.{name}={value!r}"
        for name, value in values.items()
    ]


def train_run(folder: pathlib.Path, task: str, arguments: list[str], model: str = "tiny") -> None:
    """Trains a mixture or task into `folder`, goes on with it, or finds it done."""
    _call("train", folder, task, arguments, model)


def _call(
    entry: str,
    folder: pathlib.Path,
    task: str,
    arguments: list[str],
    model: str,
    gin_files: Sequence[str] = (),
) -> None:
    command = [
        f"rec_align.{entry}",
        *(f"--gin_file=gin/models/{model}.gin", f"--gin_file=gin/runs/{entry}.gin"),
        *(f"--gin_file={path}" for path in gin_files),
        f"--gin.MIXTURE_OR_TASK_NAME='{task}'",
        f"--gin.MODEL_DIR='{folder}'",
        *arguments,
    ]
    _run(entry, folder, command)


def train_compiled_options(values: dict[str, Any]) -> list[str]:
    """Gin bindings as options of `rec-align train-compiled`; fields of T5Config are `--set`."""
    options = []
    for name, value in values.items():
        field = name.removeprefix("t5.T5Config.")
        if field != name:
            options += ["--set", f"{field}={value!r}"]
        elif name in _COMPILED_OPTIONS:
            options += [_COMPILED_OPTIONS[name], str(value)]
        elif name != "ITEM_INDEX":  # the compiled mixture's
            raise ValueError(f"{name}: train-compiled has no option for it; leave compiled_epochs")
    return options


def _train_compiled(
    folder: pathlib.Path,
    config: dict[str, Any],
    mixture: str,
    index_sha256: str,
    taught: list[str | None],
    values: dict[str, Any],
) -> None:
    """Trains from the compiled mixture, which is made beside the runs where it is not there.

    It is known by the corpus, the digests of the item index and of what is taught, and the number
    of epochs.
    """
    epochs = config["compiled_epochs"]
    drawn_from = json.dumps([index_sha256, read_manifest(config["corpus"]), epochs, *taught])
    name = f"{mixture}_{hashlib.sha256(drawn_from.encode()).hexdigest()[:8]}"
    compiled = folder.parent / "compiled" / name
    if not (compiled / "manifest.json").exists():
        command = ["rec_align.cli", "compile", mixture, "--epochs", str(epochs), "--force"]
        item_index = values.get("ITEM_INDEX", item_writing.DEFAULT)
        _run("compile", folder, [*command, "--item-index", item_index, "--out", str(compiled)])
    model = config.get("model", "tiny")
    options = ["--model", model, "--model-dir", str(folder), *train_compiled_options(values)]
    _run("train", folder, ["rec_align.cli", "train-compiled", str(compiled), *options])


def _run(entry: str, folder: pathlib.Path, module: list[str]) -> None:
    """Runs a module with its arguments; its output and seconds are kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", *module]
    started = time.monotonic()
    with (folder / "log.txt").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    path = folder / "seconds.json"
    spent = json.loads(path.read_text()) if path.exists() else {}
    spent[entry] = round(spent.get(entry, 0) + time.monotonic() - started)
    path.write_text(json.dumps(spent))


def _scored_checkpoint(folder: pathlib.Path) -> str:
    """The checkpoint that a finished run was scored with."""
    scores = folder / "eval_test/metrics.json"
    if not scores.exists():
        raise ValueError(f"{folder}, which another system is made of, is not finished")
    step = json.loads(scores.read_text())["context"]["checkpoint_step"]
    return f"{folder}/checkpoints/{step}"


def run(config: dict[str, Any], system: dict[str, Any], seed: int, folder: pathlib.Path) -> dict:
    """Trains and scores one run, or reads it; returns its metrics, checkpoint and seconds."""
    corpus, model = config["corpus"], config.get("model", "tiny")
    both = {name: value for name, value in system.items() if name not in _OF_SYSTEM}
    both = config.get("gin", {}) | both
    training = config.get("train", {}) | system.get("train", {}) | {"SEED": seed}
    gin_files = system.get("gin_files", [])
    scoring = config.get("scoring", {})
    mixture = f"{corpus}_{system.get('mixture', 'retrieval')}"
    with item_writing.using(both.get("ITEM_INDEX", item_writing.DEFAULT)):
        index_sha256 = item_writing.open_writing(corpus).sha256
    learns_draws = mixture.endswith(("_distilled", "_distillation"))
    taught = [taught_items.sha256(corpus)] if learns_draws else []
    description = [model, mixture, both, training, scoring, index_sha256, *taught, *gin_files]
    if "compiled_epochs" in config:
        if gin_files:
            raise ValueError(f"{gin_files}: train-compiled takes none; leave compiled_epochs")
        description.append(config["compiled_epochs"])
    bases = [system["after"]] if "after" in system else system.get("average_of", [])
    bases = [folder.with_name(f"{base}_{seed}") for base in bases]
    checkpoints = [_scored_checkpoint(base) for base in bases]
    description += [(base / "made_with.json").read_text() for base in bases]
    if "after" in system:
        training |= {"INITIAL_CHECKPOINT_PATH": checkpoints[0]}
    of_training = training
    if training.get("train.item_embeddings") == "taught":
        embeddings = taught_items.embeddings_path(corpus)
        description.append(hashlib.sha256(embeddings.read_bytes()).hexdigest())
        of_training = training | {"train.item_embeddings": str(embeddings)}
    made_with = json.dumps(description)
    path = folder / "made_with.json"
    if path.exists() and path.read_text() != made_with:
        raise ValueError(
            f"{folder} was made with {path.read_text()}, and is wanted with {made_with}"
        )
    is_average = "average_of" in system
    # In a process of its own, which leaves the devices to those that come after.
    if is_average and not folder.exists():
        average = ["rec_align.cli", "checkpoint", "average", *checkpoints, str(folder)]
        subprocess.run([sys.executable, "-m", *average], check=True)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(made_with)
    found = folder / "eval_test/metrics.json"
    if not found.exists():
        if "compiled_epochs" in config and not is_average:
            _train_compiled(folder, config, mixture, index_sha256, taught, both | of_training)
        elif not is_average:
            _call("train", folder, mixture, bindings(both | of_training), model, gin_files)
        scored = f"{corpus}_{system.get('score', config.get('score', 'retrieval'))}"
        _call("eval", folder, scored, bindings(both | scoring), model, gin_files)
    metrics = json.loads(found.read_text())
    return {
        "seed": seed,
        "metrics": metrics["results"]["rec_align"],
        "checkpoint_step": metrics["context"]["checkpoint_step"],
        "seconds": json.loads((folder / "seconds.json").read_text()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, required=True, help="where runs are kept")
    parser.add_argument("--systems", help="some of them, comma separated; nothing is recorded")
    args = parser.parse_args()
    config = tomllib.loads(args.config.read_text())
    name = args.config.stem
    wanted = args.systems.split(",") if args.systems else list(config["systems"])
    runs, folders = {}, {}
    for system in wanted:
        seeds = config["systems"][system].get("seeds", config["seeds"])
        folders[system] = [args.runs / name / f"{system}_{seed}" for seed in seeds]
        runs[system] = [
            run(config, config["systems"][system], seed, folder)
            for seed, folder in zip(seeds, folders[system], strict=True)
        ]
        hits = [f"{found['metrics']['retrieval']['full/hr@10']:.4f}" for found in runs[system]]
        print(f"{system}: HR@10 {', '.join(hits)}", flush=True)
    with tempfile.TemporaryDirectory() as output:
        systems = [f"{system}={','.join(map(str, of))}" for system, of in folders.items()]
        baselines = ",".join(config.get("baselines", ["popularity"]))
        options = ["--baselines", baselines, "--seeds", ",".join(map(str, config["seeds"]))]
        if rec_align(["compare", *systems, *options, "--out", output]):
            sys.exit(1)
        compared = json.loads((pathlib.Path(output) / "compare.json").read_text())
    del compared["runs"]  # folders of this machine
    of_systems = [config.get("gin", {}) | config["systems"][system] for system in wanted]
    names = {values.get("ITEM_INDEX", item_writing.DEFAULT) for values in of_systems}
    indices = {index: item_indices.report(config["corpus"], index) for index in sorted(names)}
    results = {"config": config, "compared": compared, "runs": runs, "indices": indices}
    if not args.systems:
        RECORDS.mkdir(exist_ok=True)
        path = RECORDS / f"{name}.json"
        measuring.write_record(str(path), ("jax", "flax", "seqio"), results)
    found = {s: v["metrics"]["full/hr@10"] for s, v in compared["systems"].items()}
    print(f"ratio: best_system_over_popularity {max(found.values()) / found['popularity']:.2f}")


if __name__ == "__main__":
    main()
