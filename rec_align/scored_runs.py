"""What scored runs and baselines recommended, for `rec-align compare`."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from rec_align.baselines import implicit_library, protocol
from rec_align.baselines.registry import BASELINES, NEED_IMPLICIT, WITHOUT_SEED
from rec_align.data.corpus import read_catalogue, read_manifest
from rec_align.eval import read_histories
from rec_align.metrics.comparison import PLACES, Lists, without_history
from rec_align.metrics.ranking import NO_ITEM, hit_rate, pad_lists, rank_in_list

_PREDICTIONS = "predictions_retrieval.jsonl"
_CONTEXT = ("corpus", "corpus_manifest", "num_items")


def read_metrics(folder: epath.Path) -> dict[str, Any]:
    """What `rec_align.eval` said of a run it scored: its metrics.json.

    Args:
      folder: RUN/eval_SPLIT.

    Raises:
      ValueError: the run's retrieval is not scored, or by another version.
    """
    path = folder / "metrics.json"
    again = (
        f"run python -m rec_align.eval with MODEL_DIR {folder.parent} and SPLIT "
        f"{folder.name.removeprefix('eval_')}"
    )
    if not path.exists():
        raise ValueError(f"there is no {path}: {again} first")
    saved = json.loads(path.read_text())
    if "retrieval" not in saved["results"].get("rec_align", {}):
        raise ValueError(f"{path} has no scores of the retrieval task: {again} and that task")
    missing = [name for name in _CONTEXT if name not in saved["context"]]
    if missing:
        raise ValueError(f"{path} does not say {', '.join(missing)}, as older ones do not: {again}")
    return saved


def corpus_of(
    folders: Mapping[str, Sequence[epath.Path]], contexts: Mapping[str, Sequence[dict[str, Any]]]
) -> str:
    """The corpus that all systems were scored on, as it is built now.

    Raises:
      ValueError: a run was scored on another corpus, build or catalogue, or a system's runs with
        beams of different sizes.
    """
    corpus = next(iter(contexts.values()))[0]["corpus"]
    for name, of_system in contexts.items():
        for folder, context in zip(folders[name], of_system, strict=True):
            if context["corpus"] != corpus:
                raise ValueError(
                    f"{folder} was scored on {context['corpus']!r}, the first run on {corpus!r}: "
                    "compare runs of one corpus"
                )
            if context["corpus_manifest"] != read_manifest(corpus):
                raise ValueError(
                    f"{folder} was scored on another build of corpus {corpus!r} than is there "
                    "now: score it again with python -m rec_align.eval"
                )
            num_items = len(read_catalogue(corpus))
            if context["num_items"] != num_items:
                raise ValueError(
                    f"{folder} recommends {context['num_items']:,} items, the catalogue has "
                    f"{num_items:,}: extend its item index, and score it again"
                )
        beams = {context.get("beam_size") for context in of_system}
        if len(beams) > 1:
            raise ValueError(f"{name!r} has runs scored with beams of {beams}: score them alike")
    return corpus


def read_held_out(corpus: str, split: str) -> protocol.HeldOut:
    """The users, histories and targets of "test" or "validation", by rising user index."""
    examples = read_histories(corpus, split)
    return protocol.HeldOut.from_examples(sorted(examples, key=lambda e: e["user_index"]))


def read_lists(folder: epath.Path, metrics: Mapping[str, Any], held_out: protocol.HeldOut) -> Lists:
    """What a run recommended to each user.

    Args:
      folder: RUN/eval_SPLIT.
      metrics: of `read_metrics`.
      held_out: of the same split.

    Raises:
      ValueError: the predictions are missing, of other users, or not those that were scored.
    """
    path = folder / _PREDICTIONS
    if not path.exists():
        raise ValueError(f"there is no {path}: score the retrieval task with rec_align.eval")
    records = sorted(map(json.loads, path.read_text().splitlines()), key=lambda r: r["user_index"])
    if [record["user_index"] for record in records] != held_out.users.tolist():
        raise ValueError(
            f"{path} has {len(records):,} users, not those {len(held_out.users):,} that the "
            "split has: score the run again"
        )
    full, _ = pad_lists([record["item_indices"] for record in records], NO_ITEM, np.int64)
    scored = metrics["results"]["rec_align"]["retrieval"][f"full/hr@{PLACES}"]
    hits = hit_rate(rank_in_list(full, held_out.targets), PLACES).mean()
    if not math.isclose(scored, hits, abs_tol=1e-9):
        raise ValueError(
            f"{path} has an HR@{PLACES} of {hits:.4f}, metrics.json beside it "
            f"{scored:.4f}: not of one scoring, so score the run again"
        )
    exact = [record["num_exact"] for record in records if "num_exact" in record]
    return Lists(
        full=full,
        unseen=without_history(full, held_out.histories),
        num_exact=np.array(exact) if len(exact) == len(records) else np.zeros(len(records)),
    )


def check_baseline(name: str) -> None:
    """Raises `ValueError` where there is no such baseline, or its library is not installed."""
    if name not in BASELINES:
        raise ValueError(f"--baselines: there is no {name!r}; choose of {', '.join(BASELINES)}")
    if name in NEED_IMPLICIT:
        with implicit_library.using("nearest_neighbours"):
            pass


def baseline_lists(
    names: Sequence[str], corpus: str, held_out: protocol.HeldOut, seeds: Sequence[int]
) -> dict[str, list[Lists]]:
    """What baselines recommend, fitted with each seed; of equal scores the lower index first.

    They learn from the train split; validation tells when to stop.
    """
    if not names:
        return {}
    train = protocol.train_histories(read_histories(corpus, "train"))
    validation = read_held_out(corpus, "validation")
    num_items = len(read_catalogue(corpus))

    def lists(name: str, seed: int) -> Lists:
        baseline = BASELINES[name](train, num_items, validation=validation, seed=seed)
        full, unseen = (
            protocol.recommend(
                baseline, held_out.users, held_out.histories, PLACES, exclude_history=exclude
            )
            for exclude in (False, True)
        )
        return Lists(full=full, unseen=unseen)

    return {
        name: [lists(name, seed) for seed in (seeds[:1] if name in WITHOUT_SEED else seeds)]
        for name in names
    }
