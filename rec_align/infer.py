"""Recommends items to users: `python -m rec_align.infer`.

python -m rec_align.infer --gin_file=gin/models/tiny.gin --gin_file=gin/runs/infer.gin \\
  --gin.MIXTURE_OR_TASK_NAME="'ml_100k_retrieval'" --gin.MODEL_DIR="'runs/first'"

Writes one JSON line a user: what was shown to the model and the titles it recommends, best first.
"""

import json
import os
import sys
from collections.abc import Mapping

import jax
import seqio
import tensorflow as tf
from etils import epath

from rec_align import command_line, runs
from rec_align.data.corpus import read_catalogue
from rec_align.eval import padded_batches
from rec_align.models.t5 import Transformer
from rec_align.pipeline.features import RecFeatureConverter


def infer(
    *,
    model: Transformer,
    mixture_or_task_name: str,
    task_feature_lengths: Mapping[str, int],
    model_dir: str,
    output_path: str | None = None,
    split: str = "test",
    checkpoint: int | str = "best",
    mesh: str | None = None,
    batch_size: int = 64,
    beam_size: int = 20,
    num_items: int = 10,
) -> int:
    """Writes recommendations for every user of a split.

    Items of the user's history are left out. A user whose best items are nearly all history gets
    fewer than `num_items`.

    Args:
      model: the network that was trained.
      mixture_or_task_name: a retrieval task.
      task_feature_lengths: tokens an example, {"inputs": .., "targets": ..}.
      model_dir: the run.
      output_path: a .jsonl file; None: MODEL_DIR/recommendations_SPLIT.jsonl.
      split: whose users.
      checkpoint: "best", "latest" or a step.
      mesh: DATAxFSDPxMODEL devices, one may be -1; None: all devices are data.
      batch_size: users at once.
      beam_size: prefixes kept alive a user.
      num_items: recommendations a user.

    Returns:
      The exit code, 0.

    Raises:
      ValueError: the task is not a retrieval task.
    """
    tf.config.set_visible_devices([], "GPU")
    vocabulary = runs.corpus_vocabulary(mixture_or_task_name)
    titles = read_catalogue(vocabulary.corpus).texts
    network = runs.for_task(model, mixture_or_task_name)
    _, predictor = runs.load_predictor(
        network,
        vocabulary,
        model_dir,
        checkpoint=checkpoint,
        mesh=mesh,
        beam_size=beam_size,
        num_results=beam_size + 4 * num_items,
    )
    task = seqio.get_mixture_or_task(mixture_or_task_name)
    examples = task.get_dataset(dict(task_feature_lengths), split, shuffle=False, num_epochs=1)
    if "in_catalogue" not in examples.element_spec:
        raise ValueError(
            f"MIXTURE_OR_TASK_NAME: {mixture_or_task_name!r} does not ask for an item of the "
            "catalogue; give a retrieval task such as ml_100k_retrieval."
        )
    examples = examples.cache()
    converter = RecFeatureConverter(
        pack=False, apply_length_check=False, entities=network.config.reads_entities
    )
    model_inputs = converter(examples, dict(task_feature_lengths)).enumerate()
    path = epath.Path(output_path or epath.Path(model_dir) / f"recommendations_{split}.jsonl")
    if jax.process_index() > 0:  # every host computes the same; one writes it
        path = epath.Path(os.devnull)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = examples.as_numpy_iterator()
    num_users = 0
    with path.open("w") as file:
        for indices, batch in padded_batches(model_inputs, batch_size, "recommend"):
            found = predictor.recommend(batch)
            for items, scores, _ in zip(found.item_indices, found.log_probs, indices, strict=False):
                record = _record(next(shown), items, scores, titles, num_items)
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                num_users += 1
    if jax.process_index() == 0:
        print(f"{num_users:,} users' recommendations are in {os.fspath(path)}")
    return 0


def _record(example, items, scores, titles, num_items: int) -> dict:
    seen = set(example["seen_item_indices"].tolist())
    fresh = [
        (int(item), float(score))
        for item, score in zip(items, scores, strict=True)
        if item >= 0 and item not in seen
    ][:num_items]
    return {
        "user_index": int(example["user_index"]),
        "history": [titles[i] for i in example["history_item_indices"]],
        "recommended": [titles[item] for item, _ in fresh],
        "log_probs": [score for _, score in fresh],
        "held_out": titles[int(example["target_item_index"])],
    }


def main(argv: list[str] | None = None) -> int:
    return command_line.run(__doc__, argv, infer)


if __name__ == "__main__":
    # The module that gin binds is rec_align.infer, not __main__.
    from rec_align import infer as module

    sys.exit(module.main())
