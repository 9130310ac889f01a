"""Exact match of entities by kind."""

import pytest

from rec_align.metrics.entity_match import entity_match, most_frequent


def test_kinds_are_scored_apart():
    targets = [("brand", "Acme"), ("item", "Red Kettle"), ("brand", "Borg"), ("brand", "Acme")]
    targets = [{"kind": kind, "value": value} for kind, value in targets]
    scores = entity_match(targets, ["Acme", "Red Kettle", "Acme", "acme"])
    assert scores["entity_match"] == 2 / 4 and scores["n"] == 4
    assert scores["brand_match"] == 1 / 3 and scores["brand_n"] == 3
    assert scores["brand_constant"] == 2 / 3
    assert scores["item_match"] == scores["item_constant"] == scores["item_match_low"] == 1
    assert scores["brand_match_low"] <= 1 / 3 <= scores["brand_match_high"]
    assert "rating_match" not in scores
    constant = most_frequent(scores)
    assert constant == {"entity_match": 3 / 4, "brand_match": 2 / 3, "item_match": 1, "n": 4}


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="1 entities and predictions 2"):
        entity_match([{"kind": "brand", "value": "Acme"}], ["Acme", "Borg"])
