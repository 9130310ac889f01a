"""What scored runs and baselines recommended, for `rec-align compare`."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from rec_align.data.corpus import read_manifest, train_item_counts
from rec_align.eval import read_histories
from rec_align.metrics.comparison import Lists, Users
from rec_align.metrics.ranking import NO_ITEM, pad_lists


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A split of a corpus, by rising user index.

    Attributes:
      corpus: its name.
      user_index: [n] int.
      users: what systems are asked, in the same order.
    """

    corpus: str
    user_index: np.ndarray
    users: Users


def read_held_out(corpus: str, split: str) -> HeldOut:
    """Reads the users, targets and histories of "test" or "validation"."""
    examples = sorted(read_histories(corpus, split), key=lambda example: example["user_index"])
    return HeldOut(
        corpus=corpus,
        user_index=np.array([example["user_index"] for example in examples]),
        users=Users(
            target=np.array([example["item_indices"][-1] for example in examples]),
            histories=[example["item_indices"][:-1] for example in examples],
            item_counts=train_item_counts(corpus),
        ),
    )


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
    if [record["user_index"] for record in records] != held_out.user_index.tolist():
        raise ValueError(
            f"{path} has {len(records):,} users, not those {len(held_out.user_index):,} that the "
            "split has: score the run again"
        )
    items, _ = pad_lists([record["item_indices"] for record in records], NO_ITEM, np.int64)
    return Lists(full=items)
