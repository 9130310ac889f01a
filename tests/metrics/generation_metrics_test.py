"""BLEU, ROUGE and distinct n-grams against hand-computed cases; answers of yes or no."""

import math

import numpy as np
import pytest

from rec_align.metrics import generation, generation_metrics

TARGETS = ["the sound is warm and deep", "it holds the tune well", "a good price"]
PREDICTIONS = ["the sound is deep and warm", "it holds the tune", "a fair price"]


def test_bleu_by_hand():
    """Matches and n-grams of all sentences are summed before any is divided."""
    # First: 6 of 6, 2 of 5 (the sound, sound is), 1 of 4, 0 of 3. Second: all of 4, 3, 2 and 1.
    # Third: 2 of 3, 0 of 2, 0 of 1, none. 13 words against 14.
    precisions = [12 / 13, 5 / 10, 3 / 7, 1 / 4]
    brevity = math.exp(1 - 14 / 13)
    expected = brevity * math.prod(precisions) ** (1 / 4)
    scores = generation.bleu(TARGETS, PREDICTIONS)
    assert scores["bleu4"] == pytest.approx(expected)
    assert scores["bleu4_low"] < expected < scores["bleu4_high"]


def test_bleu_is_that_of_the_library_for_the_whole_corpus():
    from sacrebleu.metrics import BLEU

    rng = np.random.default_rng(0)
    words = np.array(["the", "a", "sound", "price", "is", "good", "bad", ".", "it's"])
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 12))) for _ in range(80)]
    targets, predictions = texts[:40], texts[40:]
    theirs = BLEU().corpus_score(predictions, [targets]).score / 100
    assert 0 < generation.bleu(targets, predictions)["bleu4"] == pytest.approx(theirs)


def test_bleu_at_its_ends():
    assert generation.bleu(["a b c d"], ["a b c d"])["bleu4"] == pytest.approx(1)
    assert generation.bleu(["a b c d"], [""])["bleu4"] == 0
    assert generation.bleu(["a b c d"], ["e f g h"])["bleu4"] == 0


def f1(shared, size, other):
    return 2 * shared / (size + other)


def test_rouge_by_hand():
    scores = generation.rouge_per_user(TARGETS, PREDICTIONS)
    assert scores["rouge1"] == pytest.approx([1, f1(4, 5, 4), f1(2, 3, 3)])
    assert scores["rouge2"] == pytest.approx([f1(2, 5, 5), f1(3, 4, 3), 0])
    # 'the sound is warm' or 'the sound is deep' or 'the sound is and'.
    assert scores["rougeL"] == pytest.approx([f1(4, 6, 6), f1(4, 5, 4), f1(2, 3, 3)])


def test_distinct_by_hand():
    texts = ["Good sound good", "good sound", ""]
    assert generation.distinct(texts, 1) == 2 / 5
    assert generation.distinct(texts, 2) == 2 / 3  # good sound, sound good; one twice
    assert generation.distinct(["a"], 2) == 0
    assert generation.distinct(["same words here"] * 10, 1) == 3 / 30


def test_generated_text_takes_texts_and_dicts_with_them():
    plain = generation_metrics.generated_text(TARGETS, PREDICTIONS)
    named = [{"text": text, "feature": "x"} for text in TARGETS]
    assert generation_metrics.generated_text(named, PREDICTIONS) == plain
    assert plain["n"] == 3 and plain["rouge1_low"] <= plain["rouge1"] <= plain["rouge1_high"]
    assert all(0 <= value <= 1 for name, value in plain.items() if name != "n")


@pytest.mark.parametrize("function", [generation_metrics.generated_text])
def test_examples_must_be_paired(function):
    for targets, predictions in ((["a"], []), ([], [])):
        with pytest.raises(ValueError, match="give one of each an example"):
            function(targets, predictions)


def test_feature_match_is_of_whole_words():
    predictions = ["The SOUND, they say", "soundly", "a sound's end", "strings"]
    scores = generation_metrics.feature_match([{"feature": "sound"}] * 4, predictions)
    assert scores["feature_match"] == 2 / 4


def test_rating_agreement():
    targets = [{"rating": rating} for rating in (5.0, 4.0, 3.0, 1.0)]
    # No rating is taken as 3 by the errors; it agrees with nothing.
    scores = generation_metrics.rating_agreement(targets, ["5", "4.0", "no idea", "2"])
    assert scores["rating_agreement"] == 2 / 4
    assert scores.keys() == {f"rating_agreement{end}" for end in ("", "_low", "_high")}


def test_yes_no():
    targets = [{"is_yes": answer} for answer in (True, False, False, False)]
    scores = generation_metrics.yes_no(targets, ["yes", "no", "yes", "maybe"], {})
    assert scores["accuracy"] == 2 / 4 and scores["majority_share"] == 3 / 4
    assert scores["invalid_share"] == 1 / 4 and "auc" not in scores
    pairs = {"candidate_scores": [[-1.0, -0.5], [-1.0, -0.6], [-1.0, -0.4], [0.0, -3.0]]}
    scores = generation_metrics.yes_no(targets, ["yes", "yes", "yes", "no"], pairs)
    assert scores["auc"] == pytest.approx(2 / 3)
    assert "auc" not in generation_metrics.yes_no(targets[1:], ["no"] * 3, pairs)
