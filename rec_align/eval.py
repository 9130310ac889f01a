"""Scores a run on held-out targets beside the baselines: `python -m rec_align.eval`.

python -m rec_align.eval --gin_file=gin/models/tiny.gin --gin_file=gin/runs/eval.gin \\
  --gin.MIXTURE_OR_TASK_NAME="'ml_100k_recommendation'" --gin.MODEL_DIR="'runs/first'"

Writes EVAL_OUTPUT_DIR/metrics.json, the same as tables in metrics.md, and predictions_TASK.jsonl
for each task.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import seqio
import tensorflow as tf
from etils import epath
from tqdm import tqdm

import rec_align
from rec_align import command_line, runs
from rec_align.baselines import evaluate as baseline_evaluation
from rec_align.data.corpus import read_catalogue, read_manifest
from rec_align.metrics import entity_match, table
from rec_align.models.t5 import Transformer
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.pipeline.sources import CorpusSource
from rec_align.training.prediction import (
    Predictor,
    ranking_outputs,
    rating_outputs,
    retrieval_outputs,
)

Outputs = tuple[list[tuple[int, np.ndarray]], dict[str, list[Any]]]


def padded_batches(dataset: tf.data.Dataset, batch_size: int, desc: str):
    """Yields (indices, batch) of a dataset enumerated by SeqIO, with a progress bar.

    The last batch is filled with copies of its last row, so that no shape is compiled for it
    alone; `indices` has only the real rows.
    """
    total = int(dataset.cardinality())
    bar = tqdm(
        total=total if total > 0 else None,
        desc=desc,
        unit="user",
        mininterval=0.5 if sys.stderr.isatty() else 10,
        disable=jax.process_index() > 0,
    )
    with bar:
        for indices, batch in dataset.batch(batch_size).as_numpy_iterator():
            missing = batch_size - len(indices)
            if missing:
                batch = {
                    k: np.concatenate([v, v[-1:].repeat(missing, 0)]) for k, v in batch.items()
                }
            yield indices, batch
            bar.update(len(indices))


def predict(
    predictor: Predictor, item_tokens: np.ndarray, dataset: tf.data.Dataset, batch_size: int
) -> Outputs:
    """What SeqIO's Evaluator asks of a model, for any task: predictions and auxiliary values.

    Tasks whose examples have `candidate_tokens` are ranked, those with `in_catalogue` decoded
    within the catalogue, those with `entity_kind` within the values of that kind; the rest is free
    text, or a number where the network has a rating head.

    Returns:
      [(index, tokens)], and lists in the same order: `item_indices`, `scores`, `num_returned` and
      `num_exact`, or `candidate_scores`, or `predicted_rating`, or nothing.
    """
    features = dataset.element_spec[1]
    predictions: list[tuple[int, np.ndarray]] = []
    aux: dict[str, list[Any]] = {}

    def keep(indices: np.ndarray, tokens: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        count = len(indices)
        predictions.extend(zip(indices.tolist(), tokens[:count], strict=True))
        for name, rows in values.items():
            aux.setdefault(name, []).extend(rows[:count].tolist())

    if predictor.config.rates:
        for indices, batch in padded_batches(dataset, batch_size, "rate"):
            ratings = predictor.rate(batch)
            keep(indices, *rating_outputs(predictor.config.rating_tokens, ratings))
    elif "candidate_tokens" in features:
        # They are decoded side by side as beams are: fewer users at once where they are many.
        num_candidates = features["candidate_tokens"].shape[0]
        users_at_once = max(batch_size * 20 // max(num_candidates, 20), 1)
        for indices, batch in padded_batches(dataset, users_at_once, "rank"):
            keep(indices, *ranking_outputs(batch["candidate_tokens"], predictor.rank(batch)))
    elif "in_catalogue" in features:
        for indices, batch in padded_batches(dataset, batch_size, "recommend"):
            keep(indices, *retrieval_outputs(item_tokens, predictor.recommend(batch)))
    elif "entity_kind" in features:
        for indices, batch in padded_batches(dataset, batch_size, "fill"):
            keep(indices, predictor.fill(batch), {})
    else:
        for indices, batch in padded_batches(dataset, batch_size, "generate"):
            keep(indices, predictor.generate(batch), {})
    return predictions, aux


def read_histories(corpus: str, split: str) -> list[dict[str, Any]]:
    """The examples of a split as the baselines take them: in test the target comes last."""
    dataset = CorpusSource(corpus).get_dataset(split, shuffle=False)
    examples = []
    for example in dataset.as_numpy_iterator():
        items, ratings = example["item_indices"], example["ratings"]
        if "held_out_item_index" in example:
            items = np.append(items, example["held_out_item_index"])
            ratings = np.append(ratings, example["held_out_rating"])
        examples.append(
            {
                "user_index": int(example["user_index"]),
                "item_indices": items,
                "ratings": ratings,
            }
        )
    return examples


def evaluate_baselines(
    corpus: str, split: str, evaluator: seqio.Evaluator, num_items: int, list_length: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Baselines of the tasks that were scored, on the very examples the model was scored on."""
    held_out = {example["user_index"]: example for example in read_histories(corpus, split)}
    for name, dataset in evaluator.cached_task_datasets.items():
        task = name.removeprefix(f"{corpus}_")
        if task not in ("ranking", "candidates"):
            continue
        for example in dataset.as_numpy_iterator():
            found = example["candidate_item_indices"], int(example["target_position"])
            held_out[int(example["user_index"])].setdefault("candidates", {})[task] = found
    if f"{corpus}_rating" not in evaluator.cached_task_datasets:  # so nothing is fitted for it
        for example in held_out.values():
            del example["ratings"]
    return baseline_evaluation.evaluate(
        list(held_out.values()), read_histories(corpus, "train"), num_items, k=list_length
    )


def write_predictions(
    path: epath.Path,
    examples: Iterable[Mapping[str, np.ndarray]],
    texts: Sequence[str],
    aux: Mapping[str, Sequence[Any]],
    names: Sequence[str],
) -> None:
    """One JSON line an example: user, target, predicted text, items by title with log-probs.

    Target and prediction are as the model writes them; `target_item` is the target's title.
    """
    with path.open("w") as file:
        for row, (example, text) in enumerate(zip(examples, texts, strict=True)):
            record: dict[str, Any] = {
                "user_index": int(example["user_index"]),
                "target": example["targets_pretokenized"].decode(),
                "prediction": text,
            }
            if "target_item_index" in example:
                record["target_item"] = names[int(example["target_item_index"])]
            for name, values in aux.items():
                record[name] = values[row]
            if "item_indices" in record:
                length = record.pop("num_returned")
                for name in ("item_indices", "scores"):
                    record[name] = record[name][:length]
                record["items"] = [names[i] for i in record["item_indices"]]
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def evaluate(
    *,
    model: Transformer,
    mixture_or_task_name: str,
    task_feature_lengths: Mapping[str, int],
    model_dir: str,
    output_dir: str | None = None,
    split: str = "test",
    checkpoint: int | str = "best",
    mesh: str | None = None,
    batch_size: int = 64,
    beam_size: int = 20,
    num_results: int = 50,
) -> int:
    """Scores the run's checkpoint on every task that has the split and metrics.

    Args:
      model: the network that was trained.
      mixture_or_task_name: what to score: retrieval, ranking and rating tasks, or others.
      task_feature_lengths: tokens an example, {"inputs": .., "targets": ..}.
      model_dir: the run.
      output_dir: where results go; None: MODEL_DIR/eval_SPLIT.
      split: "test" or "validation".
      checkpoint: "best" by validation loss, "latest", or a step.
      mesh: DATAxFSDPxMODEL devices, one may be -1; None: all devices are data.
      batch_size: users at once; of more than 20 candidates a user fewer.
      beam_size: prefixes kept alive a user.
      num_results: items returned a user, before items of the history are taken out.

    Returns:
      The exit code, 0.
    """
    tf.config.set_visible_devices([], "GPU")
    vocabulary = runs.corpus_vocabulary(mixture_or_task_name)
    corpus = vocabulary.corpus
    network = runs.for_task(model, mixture_or_task_name)
    step, predictor = runs.load_predictor(
        network,
        vocabulary,
        model_dir,
        checkpoint=checkpoint,
        mesh=mesh,
        beam_size=beam_size,
        num_results=num_results,
        max_text_tokens=task_feature_lengths["targets"],
    )
    item_tokens = runs.item_tokens(vocabulary)
    evaluator = seqio.Evaluator(
        mixture_or_task_name,
        RecFeatureConverter(
            pack=False, apply_length_check=False, entities=network.config.reads_entities
        ),
        eval_split=split,
        sequence_length=dict(task_feature_lengths),
    )
    if not evaluator.eval_tasks:
        splits = {task.name: sorted(task.splits) for task in runs.subtasks(mixture_or_task_name)}
        raise ValueError(f"SPLIT: no task with metrics has the split {split!r}; there are {splits}")

    def predict_with_aux(dataset: tf.data.Dataset) -> Outputs:
        return predict(predictor, item_tokens, dataset, batch_size)

    metrics, outputs = evaluator.evaluate(
        compute_metrics=True,
        step=step,
        predict_fn=lambda dataset: predict_with_aux(dataset)[0],
        predict_with_aux_fn=predict_with_aux,
    )
    if jax.process_index() > 0:  # every host has computed the same; one writes it
        return 0
    metrics = metrics.result()
    results = {"rec_align": {name.removeprefix(f"{corpus}_"): m for name, m in metrics.items()}}
    results |= evaluate_baselines(corpus, split, evaluator, len(item_tokens), num_results)
    constant = {
        task: entity_match.most_frequent(scores)
        for task, scores in results["rec_align"].items()
        if "entity_match" in scores and not task.endswith("_unseen")  # it reads no template
    }
    results |= {"most_frequent": constant} if constant else {}
    output = epath.Path(output_dir or epath.Path(model_dir) / f"eval_{split}")
    output.mkdir(parents=True, exist_ok=True)
    for name, by_type in outputs.items():
        for found in by_type.values():
            predicted, aux = found if isinstance(found, tuple) else (found, {})
            texts = [vocabulary.decode(np.asarray(tokens).tolist()) for tokens in predicted]
            path = output / f"predictions_{name.removeprefix(f'{corpus}_')}.jsonl"
            examples = evaluator.cached_task_datasets[name].as_numpy_iterator()
            write_predictions(path, examples, texts, aux, read_catalogue(corpus).texts)
    table.write_metrics_json(
        output / "metrics.json",
        results,
        {
            "corpus": corpus,
            "corpus_manifest": read_manifest(corpus),
            "split": split,
            "num_items": len(item_tokens),
            "checkpoint_step": step,
            "model_dir": str(model_dir),
            "beam_size": beam_size,
            "rec_align": rec_align.__version__,
        },
    )
    markdown = table.render_markdown(results, ours="rec_align", num_items=len(item_tokens))
    (output / "metrics.md").write_text(markdown)
    table.print_tables(results, ours="rec_align", num_items=len(item_tokens))
    print(f"\ncheckpoint step {step} of {model_dir}; results are in {output}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return command_line.run(__doc__, argv, evaluate)


if __name__ == "__main__":
    # The module that gin binds is rec_align.eval, not __main__.
    from rec_align import eval as module

    sys.exit(module.main())
