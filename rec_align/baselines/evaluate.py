"""Scores popularity and predictors of ratings on a test split, as the models are scored."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_align.baselines import protocol
from rec_align.baselines.means import GlobalMean, ItemMean, UserMean
from rec_align.baselines.popularity import Popularity
from rec_align.baselines.rating_factorization import RatingMF
from rec_align.metrics import seqio_metrics
from rec_align.metrics.ranking import NO_ITEM, pad_lists

RATING_BASELINES = {
    "global_mean": GlobalMean,
    "user_mean": UserMean,
    "item_mean": ItemMean,
    "mf": RatingMF,
}

Example = Mapping[str, Any]


def _retrieval(popularity: Popularity, examples: Sequence[Example], k: int) -> dict[str, float]:
    held_out = protocol.HeldOut.from_examples(examples)
    top = popularity.top_k(k)
    targets = [
        {"item_index": int(target), "history_item_indices": history}
        for target, history in zip(held_out.targets, held_out.histories, strict=True)
    ]
    lists = {
        "item_indices": [top] * len(examples),
        "unseen_item_indices": [
            popularity.top_k(k, excluded=history) for history in held_out.histories
        ],
    }
    return seqio_metrics.retrieval(targets, [""] * len(examples), lists)


def _ranking(popularity: Popularity, examples: Sequence[Example], task: str) -> dict[str, float]:
    items, positions = zip(*(example["candidates"][task] for example in examples), strict=True)
    targets = [{"target_position": int(position)} for position in positions]
    held_out = protocol.HeldOut.from_examples(examples)
    candidates, _ = pad_lists(items, NO_ITEM, np.int64)
    scores = protocol.score_candidates(popularity, held_out.users, held_out.histories, candidates)
    return seqio_metrics.ranking(targets, [""] * len(examples), {"candidate_scores": scores})


def _by_user(examples: Sequence[Example]) -> dict[int, Example]:
    by_user = {int(example["user_index"]): example for example in examples}
    if len(by_user) != len(examples):
        raise ValueError(
            f"train_examples has {len(examples)} examples of {len(by_user)} users; give one train "
            "history a user (windows would count an interaction more than once)"
        )
    return by_user


def evaluate(
    test_examples: Sequence[Example],
    train_examples: Sequence[Example],
    num_items: int,
    k: int = 20,
) -> dict[str, dict[str, dict[str, float]]]:
    """Fits each of these baselines on train and scores it on test.

    Ratings and candidates are optional: a task without them is left out. A test example whose
    target has no rating (NaN) is left out of the rating task, whose "n" says how many stay.

    Args:
      test_examples: dicts: "user_index" int; "item_indices" [n] int, the target last; optional
        "ratings" [n] float, the target's last; optional "candidates", {task: (items [c] int, -1 =
        padding; the target's place among them)}.
      train_examples: dicts: "user_index", "item_indices" and optional "ratings" of train
        interactions only, one a user.
      num_items: size of the catalogue.
      k: length of popularity's lists, with and without the items of the history.

    Returns:
      {system: {task: metrics}}: "popularity" has "retrieval" and the tasks of candidates, the dicts
      of `seqio_metrics`; "global_mean", "user_mean", "item_mean" and "mf" (`RatingMF`) have
      "rating".

    Raises:
      ValueError: no test examples, a user twice in train, or an item index outside the catalogue.

    Example: item 1 is the most popular.
      >>> results = evaluate(
      ...     test_examples=[{"user_index": 0, "item_indices": [0, 1]}],
      ...     train_examples=[
      ...         {"user_index": 0, "item_indices": [0]},
      ...         {"user_index": 1, "item_indices": [1, 1]},
      ...     ],
      ...     num_items=2,
      ... )
      >>> results["popularity"]["retrieval"]["full/hr@1"]
      1.0
    """
    if not test_examples:
        raise ValueError("test_examples is empty; give at least one test example")
    train = _by_user(train_examples)
    popularity = Popularity.fit([e["item_indices"] for e in train.values()], num_items)
    results = {"popularity": {"retrieval": _retrieval(popularity, test_examples, k)}}
    for task in dict.fromkeys(task for e in test_examples for task in e.get("candidates", ())):
        asked = [e for e in test_examples if task in e.get("candidates", ())]
        results["popularity"][task] = _ranking(popularity, asked, task)

    rated = [e for e in test_examples if "ratings" in e and np.isfinite(e["ratings"][-1])]
    if rated:
        histories = {
            user: (e["item_indices"], e["ratings"]) for user, e in train.items() if "ratings" in e
        }
        users = np.array([e["user_index"] for e in rated])
        items = np.array([e["item_indices"][-1] for e in rated])
        targets = np.array([e["ratings"][-1] for e in rated])
        for name, baseline in RATING_BASELINES.items():
            predictions = baseline.fit(histories).predict(users, items)
            results[name] = {"rating": seqio_metrics.score_ratings(targets, predictions)}
    return results
