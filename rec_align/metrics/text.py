"""Agreement of a generated text with its target: exact match and token F1.

Token F1 is SQuAD's (Rajpurkar et al. 2016, section 6.1): both texts lower-cased, without
punctuation and English articles, compared as bags of words. Exact match is stricter than SQuAD's:
only white space is evened out, because two items may differ by a hyphen or a capital.
"""

import collections
import re
import string
from collections.abc import Sequence

import numpy as np

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def _tokens(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(target: str, prediction: str) -> float:
    """1 when both texts are the same up to white space, else 0.

    Example:
      >>> exact_match("Red  Car", "Red Car "), exact_match("Red Car", "red car")
      (1.0, 0.0)
    """
    return float(target.split() == prediction.split())


def token_f1(target: str, prediction: str) -> float:
    """F1 of the words the two texts share, in 0-1; two texts without words agree fully.

    Example: 2 of 3 predicted and 2 of 2 true words are shared: 2 * (2/3) * 1 / (2/3 + 1).
      >>> round(token_f1("the Red Car", "red car, big"), 3)
      0.8
    """
    true, predicted = _tokens(target), _tokens(prediction)
    if not true or not predicted:
        return float(true == predicted)
    shared = sum((collections.Counter(true) & collections.Counter(predicted)).values())
    return 2 * shared / (len(true) + len(predicted))


def text_scores_per_user(
    targets: Sequence[str], predictions: Sequence[str]
) -> dict[str, np.ndarray]:
    """Both scores of each example: {"exact_match": [n], "token_f1": [n]}, float in 0-1.

    Raises:
      ValueError: lengths differ.

    Example:
      >>> text_scores_per_user(["a car", "bus"], ["car", "bus"])["exact_match"].tolist()
      [0.0, 1.0]
    """
    if len(targets) != len(predictions):
        raise ValueError(
            f"targets has {len(targets)} texts and predictions {len(predictions)}; give one of "
            "each an example"
        )
    pairs = list(zip(targets, predictions, strict=True))
    return {
        "exact_match": np.array([exact_match(*pair) for pair in pairs]),
        "token_f1": np.array([token_f1(*pair) for pair in pairs]),
    }
