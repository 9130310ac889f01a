"""Exact match of generated entities, by kind: of blanks with one answer (RecSysLLM's)."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from rec_align.metrics import bootstrap
from rec_align.metrics.text import exact_match


def entity_match(
    targets: Sequence[Mapping[str, str]], predictions: Sequence[str]
) -> dict[str, float]:
    """The share of entities that are generated exactly, over all and by kind.

    Beside each kind's share stands that of its most frequent value among the targets: what the best
    constant answer would reach, known in hindsight.

    Args:
      targets: [n] dicts: "kind" str, "value" str.
      predictions: [n] str.

    Returns:
      "entity_match", and for each kind that is asked for "{kind}_match", in 0-1 with bounds, and
      "{kind}_constant", in 0-1; "{kind}_n" and "n".

    Raises:
      ValueError: lengths differ, or no examples.

    Example:
      >>> targets = [{"kind": "brand", "value": v} for v in ("Acme", "Acme", "Borg")]
      >>> scores = entity_match(targets, ["Acme", "Borg", "Borg"])
      >>> round(scores["brand_match"], 3), round(scores["brand_constant"], 3), scores["brand_n"]
      (0.667, 0.667, 3)
    """
    if len(targets) != len(predictions):
        raise ValueError(
            f"targets has {len(targets)} entities and predictions {len(predictions)}; give one of "
            "each an example"
        )
    pairs = zip(targets, predictions, strict=True)
    matches = np.array([exact_match(target["value"], text) for target, text in pairs])
    scores = bootstrap.summarise({"entity_match": matches})
    kinds = np.array([target["kind"] for target in targets])
    for kind in dict.fromkeys(kinds.tolist()):
        values = [target["value"] for target in targets if target["kind"] == kind]
        [(_, most)] = collections.Counter(values).most_common(1)
        scores |= bootstrap.summarise({f"{kind}_match": matches[kinds == kind]})
        scores |= {f"{kind}_constant": most / len(values), f"{kind}_n": len(values)}
    return scores | {"n": len(targets)}


def most_frequent(scores: Mapping[str, float]) -> dict[str, float]:
    """What constant answers score, the most frequent value of each kind: a baseline's metrics.

    Args:
      scores: of `entity_match`.

    Returns:
      "entity_match", "{kind}_match" and "n".

    Example:
      >>> most_frequent({"brand_constant": 0.5, "brand_n": 2, "item_constant": 0.2, "item_n": 10})
      {'entity_match': 0.25, 'brand_match': 0.5, 'item_match': 0.2, 'n': 12}
    """
    kinds = [name.removesuffix("_constant") for name in scores if name.endswith("_constant")]
    sizes = [scores[f"{kind}_n"] for kind in kinds]
    shares = [scores[f"{kind}_constant"] for kind in kinds]
    overall = {"entity_match": float(np.average(shares, weights=sizes))}
    by_kind = {f"{kind}_match": share for kind, share in zip(kinds, shares, strict=True)}
    return overall | by_kind | {"n": sum(sizes)}
