"""What scored runs and baselines recommended, for `rec-align compare`."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from rec_align.baselines.protocol import Baseline, HeldOut, recommend, train_histories
from rec_align.baselines.registry import BASELINES
from rec_align.data.corpus import read_catalogue, read_manifest
from rec_align.eval import read_histories
from rec_align.metrics.comparison import Lists
from rec_align.metrics.ranking import NO_ITEM, pad_lists

LIST_LENGTH = 50  # of eval's lists


def _context(folder: epath.Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    if not path.exists():
        raise ValueError(
            f"there is no {path}: run python -m rec_align.eval with MODEL_DIR {folder.parent} and "
            f"SPLIT {folder.name.removeprefix('eval_')} first"
        )
    return json.loads(path.read_text())["context"]


def corpus_of(folders: Sequence[epath.Path]) -> str:
    """The corpus that all were scored on, as it is built now.

    Args:
      folders: RUN/eval_SPLIT of each run.

    Raises:
      ValueError: a run is not scored, or on another corpus or build than the others.
    """
    contexts = [_context(folder) for folder in folders]
    corpus = contexts[0]["corpus"]
    for folder, context in zip(folders, contexts, strict=True):
        if context["corpus"] != corpus:
            raise ValueError(
                f"{folder} was scored on {context['corpus']!r}, {folders[0]} on {corpus!r}: "
                "compare runs of one corpus"
            )
        if context["corpus_manifest"] != read_manifest(corpus):
            raise ValueError(
                f"{folder} was scored on another build of corpus {corpus!r} than is there now: "
                "score it again with python -m rec_align.eval"
            )
    return corpus


def read_held_out(corpus: str, split: str) -> HeldOut:
    """The users, histories and targets of "test" or "validation", by rising user index."""
    examples = read_histories(corpus, split)
    return HeldOut.from_examples(sorted(examples, key=lambda example: example["user_index"]))


def read_lists(folder: epath.Path, held_out: HeldOut) -> Lists:
    """What a run recommended to each user.

    Args:
      folder: RUN/eval_SPLIT.
      held_out: of the same split.

    Raises:
      ValueError: the retrieval task was not scored, or for other users.
    """
    path = folder / "predictions_retrieval.jsonl"
    if not path.exists():
        raise ValueError(f"there is no {path}: score the retrieval task with rec_align.eval")
    records = sorted(map(json.loads, path.read_text().splitlines()), key=lambda r: r["user_index"])
    if [record["user_index"] for record in records] != held_out.users.tolist():
        raise ValueError(
            f"{path} has {len(records):,} users, not those {len(held_out.users):,} that the "
            "split has: score the run again"
        )
    items, _ = pad_lists([record["item_indices"] for record in records], NO_ITEM, np.int64)
    return Lists(full=items)


def fit_baseline(name: str, corpus: str, seed: int) -> Baseline:
    """Fits a baseline of `BASELINES` on the train split; validation stops it.

    Raises:
      ValueError: there is none of that name, or its library is not installed.
    """
    if name not in BASELINES:
        raise ValueError(f"--baselines: there is no {name!r}; choose of {', '.join(BASELINES)}")
    return BASELINES[name](
        train_histories(read_histories(corpus, "train")),
        len(read_catalogue(corpus)),
        validation=read_held_out(corpus, "validation"),
        seed=seed,
    )


def baseline_lists(baseline: Baseline, held_out: HeldOut) -> Lists:
    """What a baseline recommends, as many items as runs do."""
    full, unseen = (
        recommend(
            baseline, held_out.users, held_out.histories, LIST_LENGTH, exclude_history=exclude
        )
        for exclude in (False, True)
    )
    return Lists(full=full, unseen=unseen)
