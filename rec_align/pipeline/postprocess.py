"""Postprocessors: what the metric functions get for each example's target and prediction.

SeqIO calls them with the decoded text; for targets also with the example. Predictions stay text.
"""

from typing import Any

import numpy as np

from rec_align.pipeline.records import KINDS


def retrieval(decoded: str, is_target: bool = False, example: dict[str, Any] | None = None) -> Any:
    """Target -> {"item_index": int, "history_item_indices": [h] int32, all earlier items}."""
    if not is_target:
        return decoded
    return {
        "item_index": int(example["target_item_index"]),
        "history_item_indices": np.asarray(example["seen_item_indices"]),
    }


def ranking(decoded: str, is_target: bool = False, example: dict[str, Any] | None = None) -> Any:
    """Target -> {"target_position": int}, its place among the candidates, 0-based."""
    if not is_target:
        return decoded
    return {"target_position": int(example["target_position"])}


def entity(decoded: str, is_target: bool = False, example: dict[str, Any] | None = None) -> Any:
    """'<extra_id_0> Acme' -> 'Acme'; target -> {"kind": str, "value": str}."""
    value = decoded.removeprefix("<extra_id_0>").strip()
    return {"kind": KINDS[int(example["entity_kind"])], "value": value} if is_target else value


def rating(decoded: str, is_target: bool = False, example: dict[str, Any] | None = None) -> Any:
    """Target -> {"rating": float}."""
    if not is_target:
        return decoded
    return {"rating": float(example["rating"])}


def yes_no(decoded: str, is_target: bool = False, example: dict[str, Any] | None = None) -> Any:
    """Target -> {"is_yes": bool}."""
    return {"is_yes": decoded == "yes"} if is_target else decoded


def feature_explanation(
    decoded: str, is_target: bool = False, example: dict[str, Any] | None = None
) -> Any:
    """Target -> {"text": str, "feature": str, the word that the text is about}."""
    if not is_target:
        return decoded
    return {"text": decoded, "feature": example["feature"].decode()}
