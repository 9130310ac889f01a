"""The rule that explains a review by one of its sentences, on examples worked by hand."""

import pytest

from rec_align.data import explanations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It works.I like it! 3.5 stars", ["It works.", "I like it!", "3.5 stars"]),
        ('He said "no!" Then... left', ['He said "no!"', "Then...", "left"]),
        ("A 1.5V cell for the U.S.A market", ["A 1.5V cell for the U.S.A market"]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert list(explanations.sentences(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The great sound of my amp.", {"amp"}),
        ("the sound is warm, its tone (on stage) too", {"sound", "tone"}),
        ("I like the neck", {"neck"}),
        ("the one I use, a lot of my time", set()),  # say nothing of an item
        ("sound is all, that amp is loud", set()),  # no article, no possessive
        ("the 3 is a pa.", set()),  # digits, and a word too short
    ],
)
def test_heads_of_noun_phrases(text, expected):
    assert explanations.heads(text) == expected


def counted(*texts, **kwargs):
    counter = explanations.FeatureCounter(**kwargs)
    for text in texts:
        counter.add(text)
    return counter


def test_features_are_used_by_enough_reviews_and_mostly_as_nouns():
    texts = ["The sound is fine. The sound is fine."] * 5 + ["My tone is fine."] * 4
    texts += ["The playing is fine."] * 5 + ["I am playing."] * 45
    assert counted(*texts).features() == {"sound": 5, "playing": 5}
    assert counted(*texts, "I am playing.").features() == {"sound": 5}  # 5 of 51 reviews


def test_what_is_met_least_is_forgotten_first():
    texts = ["The sound is fine."] * 5 + [f"rare{chr(97 + i)}" for i in range(9)]
    assert counted(*texts, most_words=5).features() == {"sound": 5}
    assert counted(*texts, most_words=3).features() == {}


FEATURES = {"sound": 9, "price": 5, "tone": 4, "neck": 9}


@pytest.mark.parametrize(
    ("text", "sentence", "feature"),
    [
        ("Came fast. I like its sound for the price.", "I like its sound for the price.", "sound"),
        # 9 + 4 + 4 would be more than 9 + 5; a feature counts once.
        (
            "The tone, tone, tone has its sound. But the sound for the price!",
            "But the sound for the price!",
            "sound",
        ),
        # Of equal sentences the first, of equal features the first.
        ("The neck is a bit wide. The sound is a bit thin.", "The neck is a bit wide.", "neck"),
        ("I like its neck and sound. Ok.", "I like its neck and sound.", "neck"),
        # Four words are too few, thirty-one too many.
        ("Good sound it has. The price is right for me.", "The price is right for me.", "price"),
        ("sound " + "very " * 29 + "good", "", ""),
        ("sound " + "very " * 28 + "good", "sound " + "very " * 28 + "good", "sound"),
        ("Great, just as I had expected it.", "", ""),
        ("", "", ""),
    ],
)
def test_the_sentence_about_what_most_reviews_are_about(text, sentence, feature):
    assert explanations.explain(text, FEATURES) == (sentence, feature)
