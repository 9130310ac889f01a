"""Metric functions of the SeqIO tasks whose answer is a sentence, a yes or no, or a stated rating.

As in `seqio_metrics`: flat dicts of plain numbers, each mean over examples with its bounds
`<name>_low` and `<name>_high`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_align.metrics import bootstrap, generation
from rec_align.metrics.auc import auc, auc_bounds
from rec_align.metrics.rating import parse_ratings

Texts = Sequence[str | Mapping[str, Any]]


def _check(targets: Sequence, predictions: Sequence) -> None:
    if len(targets) != len(predictions) or not len(targets):
        raise ValueError(
            f"targets has {len(targets)} entries and predictions {len(predictions)}; give one of "
            "each an example, and at least one"
        )


def generated_text(targets: Texts, predictions: Sequence[str]) -> dict[str, float]:
    """BLEU-4, ROUGE F1 and distinct n-grams of generated sentences, all in 0-1.

    Args:
      targets: [n] str, or dicts with "text".
      predictions: [n] str.

    Returns:
      bleu4, rouge1, rouge2 and rougeL with bounds; distinct1 and distinct2 of the predictions,
      which are no means and have none; "n".

    Raises:
      ValueError: lengths differ, or no examples.

    Example:
      >>> scores = generated_text(["a red car is fast"], ["a red car is fast"])
      >>> round(scores["bleu4"], 6), scores["rougeL"], scores["distinct2"]
      (1.0, 1.0, 1.0)
    """
    _check(targets, predictions)
    texts = [t["text"] if isinstance(t, Mapping) else t for t in targets]
    return (
        generation.bleu(texts, predictions)
        | bootstrap.summarise(generation.rouge_per_user(texts, predictions))
        | {f"distinct{order}": generation.distinct(predictions, order) for order in (1, 2)}
        | {"n": len(targets)}
    )


def feature_match(
    targets: Sequence[Mapping[str, str]], predictions: Sequence[str]
) -> dict[str, float]:
    """The share of explanations that hold the word they were asked for (FMR, Li et al. 2020).

    Args:
      targets: [n] dicts with "feature", a word in lower case.
      predictions: [n] str.

    Example: 'sounds' is not 'sound'.
      >>> feature_match([{"feature": "sound"}] * 2, ["Good Sound!", "sounds good"])["feature_match"]
      0.5
    """
    _check(targets, predictions)
    found = [
        bool(re.search(rf"(?<!\w){re.escape(target['feature'])}(?!\w)", prediction.lower()))
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    return bootstrap.summarise({"feature_match": found})


def rating_agreement(
    targets: Sequence[Mapping[str, float]], predictions: Sequence[str]
) -> dict[str, float]:
    """The share of outputs that state the rating that was given; what is no rating never does.

    Args:
      targets: [n] dicts with "rating", 1-5.
      predictions: [n] str.

    Example:
      >>> rating_agreement([{"rating": 4.0}] * 2, ["4", "four"])["rating_agreement"]
      0.5
    """
    _check(targets, predictions)
    agrees = parse_ratings(predictions) == np.array([target["rating"] for target in targets])
    return bootstrap.summarise({"rating_agreement": agrees})


def yes_no(
    targets: Sequence[Mapping[str, bool]],
    predictions: Sequence[str],
    aux_values: Mapping[str, Any],
) -> dict[str, float]:
    """Accuracy of answers, beside that of always giving the more frequent one, and their AUC.

    Args:
      targets: [n] dicts with "is_yes".
      predictions: [n] str; what is neither 'yes' nor 'no' is wrong, and counted.
      aux_values: optional "candidate_scores": [n] pairs of log-probabilities, of no and of yes.

    Returns:
      accuracy with bounds; "majority_share"; auc with bounds, where there are scores and both
      answers; "invalid_share"; "n".

    Raises:
      ValueError: lengths differ, or no examples.

    Example:
      >>> scores = yes_no(
      ...     [{"is_yes": True}, {"is_yes": False}],
      ...     ["yes", "yes"],
      ...     {"candidate_scores": [[-2.0, -1.0], [-1.5, -1.0]]},
      ... )
      >>> scores["accuracy"], scores["majority_share"], scores["auc"]
      (0.5, 0.5, 1.0)
    """
    _check(targets, predictions)
    is_yes = np.array([target["is_yes"] for target in targets], dtype=bool)
    right = [p == ("yes" if yes else "no") for p, yes in zip(predictions, is_yes, strict=True)]
    summary = bootstrap.summarise({"accuracy": right})
    summary["majority_share"] = float(max(is_yes.mean(), 1 - is_yes.mean()))
    if "candidate_scores" in aux_values and 0 < is_yes.sum() < len(is_yes):
        scores = np.asarray(aux_values["candidate_scores"], dtype=np.float64)
        margins = scores[:, 1] - scores[:, 0]
        low, high = auc_bounds(is_yes, margins)
        summary |= {"auc": auc(is_yes, margins), "auc_low": low, "auc_high": high}
    invalid = [prediction not in ("yes", "no") for prediction in predictions]
    return summary | {"invalid_share": float(np.mean(invalid)), "n": len(targets)}
