"""Metric functions of the SeqIO tasks; `rec_align/baselines/evaluate.py` scores with the same ones.

SeqIO calls them by their argument names. Each returns a flat dict of plain floats and ints, and
every mean over users comes with `<name>_low` and `<name>_high`, its 95 % bootstrap bounds. The
`*_per_user` functions give the values before averaging, for slices of users and for
`bootstrap.paired_difference`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_align.metrics import bootstrap
from rec_align.metrics import rating as rating_lib
from rec_align.metrics import text as text_lib
from rec_align.metrics.ranking import (
    NO_ITEM,
    pad_lists,
    rank_among_scores,
    rank_in_list,
    rank_metrics_per_user,
)

RANKING_HR_AT, RANKING_NDCG_AT = (1, 5, 10), (5, 10)
PROVEN_AT = 10


def _check_lengths(**by_name: Sequence) -> None:
    lengths = {name: len(values) for name, values in by_name.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"the lengths differ: {lengths}; give one entry of each an evaluated example"
        )


def _aux(aux_values: Mapping[str, Any], name: str) -> Any:
    if name not in aux_values:
        raise ValueError(
            f"aux_values has {sorted(aux_values)} and no '{name}'; let the predict function return "
            "it beside the decoded texts"
        )
    return aux_values[name]


def _item_lists(aux_values: Mapping[str, Any]) -> Sequence:
    lists = _aux(aux_values, "item_indices")
    if "num_returned" not in aux_values:
        return lists
    lengths = aux_values["num_returned"]
    _check_lengths(item_indices=lists, num_returned=lengths)
    return [row[:length] for row, length in zip(lists, lengths, strict=True)]


def retrieval_per_user(
    targets: Sequence[Mapping[str, Any]], aux_values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Rank metrics of each user under both protocols, see `retrieval`.

    Returns:
      {"full/hr@1": [n], ..., "unseen/mrr": [n]}, float in 0-1.
    """
    lists = _item_lists(aux_values)
    unseen_lists = aux_values.get("unseen_item_indices", lists)
    _check_lengths(targets=targets, item_indices=lists, unseen_item_indices=unseen_lists)
    target = [int(example["item_index"]) for example in targets]
    history = [example["history_item_indices"] for example in targets]
    ranks = {
        "full": rank_in_list(lists, target),
        "unseen": rank_in_list(unseen_lists, target, excluded=history),
    }
    return {
        f"{protocol}/{name}": values
        for protocol, protocol_ranks in ranks.items()
        for name, values in rank_metrics_per_user(protocol_ranks).items()
    }


def retrieval(
    targets: Sequence[Mapping[str, Any]],
    predictions: Sequence[str],
    aux_values: Mapping[str, Any],
) -> dict[str, float]:
    """Full ranking over the catalogue: is the user's next item in the generated list?

    `full/` takes the list as it is, `unseen/` leaves out the items of the user's history. A cutoff
    beyond the end of a list can only be a miss, so return more than 20 items where `unseen/` is to
    be exact, or decode a second list that never holds history. MRR goes as deep as the list does:
    `list_length` says how deep.

    Args:
      targets: [n] dicts: "item_index" int; "history_item_indices" [h] int.
      predictions: [n] str, the best item's text; only counted here.
      aux_values: "item_indices": [n] lists of item indices, best first, -1 = no item. Optional
        "unseen_item_indices": the same, decoded without the history, scored under `unseen/`.
        Optional "num_returned": [n] int, the lengths of lists that are padded to one length, as
        SeqIO's Evaluator needs them. Optional "num_exact": [n] int, how many first places are
        proven exact.

    Returns:
      For both prefixes hr@1, hr@5, hr@10, hr@20, ndcg@5, ndcg@10, ndcg@20 and mrr with bounds;
      "invalid_share": of the outputs in "item_indices", those that are no item;
      "target_in_history_share": users whose target `unseen/` cannot find; "list_length": mean
      length; "proven_top10_share": users whose first 10 are proven, where known; "n".

    Raises:
      ValueError: lengths differ, no examples, or "item_indices" is missing.

    Example: 5 is second after the already seen 3.
      >>> scores = retrieval(
      ...     [{"item_index": 5, "history_item_indices": np.array([3])}],
      ...     ["Red Car"],
      ...     {"item_indices": [[3, 5, -1, 8]]},
      ... )
      >>> scores["full/hr@1"], scores["unseen/hr@1"], scores["full/mrr"], scores["invalid_share"]
      (0.0, 1.0, 0.5, 0.25)
    """
    _check_lengths(targets=targets, predictions=predictions)
    scores = bootstrap.summarise(retrieval_per_user(targets, aux_values))
    items, returned = pad_lists(_item_lists(aux_values), NO_ITEM, np.int64)
    repeated = [
        example["item_index"] in np.asarray(example["history_item_indices"]) for example in targets
    ]
    scores["invalid_share"] = float((items[returned] < 0).mean()) if returned.any() else 0.0
    scores["target_in_history_share"] = float(np.mean(repeated))
    scores["list_length"] = float(returned.sum(axis=1).mean())
    if "num_exact" in aux_values:
        _check_lengths(targets=targets, num_exact=aux_values["num_exact"])
        proven = np.asarray(aux_values["num_exact"]) >= PROVEN_AT
        scores["proven_top10_share"] = float(proven.mean())
    return scores | {"n": len(targets)}


def _ranking_candidates(
    targets: Sequence[Mapping[str, Any]], aux_values: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores [n, c], target positions [n], candidate mask [n, c], unscored targets [n]."""
    lists = _aux(aux_values, "candidate_scores")
    _check_lengths(targets=targets, candidate_scores=lists)
    scores, listed = pad_lists(lists, -np.inf, np.float64)
    positions = np.array([int(example["target_position"]) for example in targets], dtype=np.int64)
    scored = listed & ~np.isnan(scores) & ~np.isneginf(scores)
    is_target = np.arange(scores.shape[1]) == positions[:, None]
    unscored = (is_target & listed & ~scored).any(axis=1)
    # With an unscored target all listed candidates count, so that it is last among them: masked
    # as padding, a model that returns only NaN would be first everywhere.
    return scores, positions, np.where(unscored[:, None], listed, scored), unscored


def ranking_per_user(
    targets: Sequence[Mapping[str, Any]], aux_values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Rank metrics of each user among the candidates, see `ranking`.

    Returns:
      {"hr@1": [n], ..., "mrr": [n]}, float in 0-1.
    """
    scores, positions, mask, _ = _ranking_candidates(targets, aux_values)
    ranks = rank_among_scores(scores, positions, mask)
    return rank_metrics_per_user(ranks, RANKING_HR_AT, RANKING_NDCG_AT)


def ranking(
    targets: Sequence[Mapping[str, Any]],
    predictions: Sequence[str],
    aux_values: Mapping[str, Any],
) -> dict[str, float]:
    """Ranking of given candidates by their scores, ties broken against us.

    A candidate scored -inf or NaN is padding and left out; a target scored so is last among all
    listed candidates and counted.

    Args:
      targets: [n] dicts: "target_position" int, the target's place among the candidates.
      predictions: [n] str, the best candidate's text; only counted here.
      aux_values: "candidate_scores": [n] lists of c floats, higher is better.

    Returns:
      hr@1, hr@5, hr@10, ndcg@5, ndcg@10 and mrr with bounds; "invalid_share": users whose target
      has no score; "num_candidates": mean number of candidates a user; "n".

    Raises:
      ValueError: lengths differ, no examples, or a target outside its candidates.

    Example: a tie with the target puts it second.
      >>> scores = ranking(
      ...     [{"target_position": 1}], ["b"], {"candidate_scores": [[0.7, 0.7, -np.inf]]}
      ... )
      >>> scores["hr@1"], scores["mrr"], scores["num_candidates"]
      (0.0, 0.5, 2.0)
    """
    _check_lengths(targets=targets, predictions=predictions)
    summary = bootstrap.summarise(ranking_per_user(targets, aux_values))
    _, _, mask, unscored = _ranking_candidates(targets, aux_values)
    return summary | {
        "invalid_share": float(unscored.mean()),
        "num_candidates": float(mask.sum(axis=1).mean()),
        "n": len(targets),
    }


def score_ratings(
    targets: Sequence[float] | np.ndarray, predictions: Sequence[float] | np.ndarray
) -> dict[str, float]:
    """`rating` of predictions that are numbers already, NaN = none was given.

    Example:
      >>> score_ratings([4.0], [2.5])["rmse"]
      1.5
    """
    errors = rating_lib.rating_errors_per_user(targets, predictions)
    summary = bootstrap.summarise(errors, rating_lib.TRANSFORMS)
    summary |= rating_lib.liked_auc(targets, predictions)
    return summary | rating_lib.count_invalid(predictions) | {"n": len(targets)}


def rating(
    targets: Sequence[float | Mapping[str, float]],
    predictions: Sequence[str],
    aux_values: Mapping[str, Any],
) -> dict[str, float]:
    """RMSE and MAE of ratings on the 1-5 scale, and the AUC of liked items (rated 4 and more).

    An output that is no rating from 1 to 5 is scored as 3.0, the middle of the scale.

    Args:
      targets: [n] floats, or dicts with "rating".
      predictions: [n] str.
      aux_values: "predicted_rating": [n] floats, of a model that predicts ratings as numbers; they
        are scored instead of the texts. {} for generated text.

    Returns:
      rmse, mae and liked_auc with bounds (the last not where all or none were liked),
      "num_invalid" and "invalid_share" of outputs, "n".

    Raises:
      ValueError: lengths differ, no examples, or a target is not finite.

    Example: errors 1 and |3 - 5|.
      >>> scores = rating([{"rating": 4.0}, {"rating": 5.0}], ["3", "great"], {})
      >>> scores["mae"], scores["rmse"] == ((1 + 4) / 2) ** 0.5, scores["invalid_share"]
      (1.5, True, 0.5)
    """
    true = [float(t["rating"]) if isinstance(t, Mapping) else float(t) for t in targets]
    _check_lengths(targets=targets, predictions=predictions)
    if "predicted_rating" in aux_values:
        return score_ratings(true, aux_values["predicted_rating"])
    return score_ratings(true, rating_lib.parse_ratings(predictions))


def span_accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Exact match and SQuAD's token F1 of text, for the auxiliary tasks.

    Args:
      targets: [n] str.
      predictions: [n] str.

    Returns:
      exact_match and token_f1 with bounds, "n".

    Raises:
      ValueError: lengths differ, or no examples.

    Example: "Red Car" and "red car" share all words, but are not the same text.
      >>> scores = span_accuracy(["Red Car"], ["red car"])
      >>> scores["exact_match"], scores["token_f1"]
      (0.0, 1.0)
    """
    scores = bootstrap.summarise(text_lib.text_scores_per_user(targets, predictions))
    return scores | {"n": len(targets)}
