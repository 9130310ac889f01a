"""Quality of generated sentences: BLEU-4, ROUGE, and how distinct they are.

BLEU is sacrebleu's (Post 2018): of the corpus, up to 4-grams, tokenizer 13a, exponential smoothing;
ROUGE is rouge-score's F1 of 1-grams, 2-grams and the longest common subsequence (Lin 2004), without
stemming. Both are given in 0-1; sacrebleu and many papers print 100 times as much.
"""

import functools
from collections.abc import Sequence

import numpy as np

from rec_align.metrics import bootstrap

ROUGE = ("rouge1", "rouge2", "rougeL")


def _bleu4(statistics: np.ndarray) -> float:
    """BLEU-4 in 0-1 of [10] summed statistics: 4 matches, 4 totals, two lengths."""
    from sacrebleu.metrics import BLEU

    found = np.rint(statistics).astype(np.int64).tolist()
    return BLEU.compute_bleu(found[:4], found[4:8], *found[8:], smooth_method="exp").score / 100


def bleu_statistics(targets: Sequence[str], predictions: Sequence[str]) -> np.ndarray:
    """What BLEU sums over the corpus, [n, 10] int64 of each example.

    Returns:
      Columns: matching 1- to 4-grams, predicted 1- to 4-grams, predicted words, target words.

    Example:
      >>> bleu_statistics(["a red car"], ["a red bus"]).tolist()
      [[2, 1, 0, 0, 3, 2, 1, 0, 3, 3]]
    """
    from sacrebleu.metrics import BLEU  # half a second that other metrics need not pay

    scorer = BLEU(effective_order=True)
    scores = [
        scorer.sentence_score(prediction, [target])
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    rows = [[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 10)


def bleu(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU-4 with its bounds: sentences are drawn anew, and their statistics summed.

    Args:
      targets: [n] str, one a prediction.
      predictions: [n] str.

    Returns:
      {"bleu4": in 0-1, "bleu4_low": .., "bleu4_high": ..}.

    Example: 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples: (1/5)^(1/4).
      >>> round(bleu(["a b c d e"], ["a b c d x"])["bleu4"], 3)
      0.669
    """
    statistics = bleu_statistics(targets, predictions)
    resampled = bootstrap.resampled_means(statistics) * len(statistics)
    low, high = np.quantile([_bleu4(row) for row in resampled], [0.025, 0.975])
    score = _bleu4(statistics.sum(axis=0))
    return {"bleu4": score, "bleu4_low": float(low), "bleu4_high": float(high)}


@functools.cache
def _rouge_scorer():
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(ROUGE))


def rouge_per_user(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, np.ndarray]:
    """ROUGE F1 of each example: {"rouge1": [n], "rouge2": [n], "rougeL": [n]}, float in 0-1.

    Example: of 3 and 2 words 2 are shared: 2 * 2 / (3 + 2).
      >>> rouge_per_user(["the red car"], ["red car"])["rouge1"].tolist()
      [0.8]
    """
    scores = [
        _rouge_scorer().score(target, prediction)
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    return {name: np.array([score[name].fmeasure for score in scores]) for name in ROUGE}


def distinct(texts: Sequence[str], order: int) -> float:
    """Different n-grams of words over all n-grams, of all texts together (Li et al. 2016).

    1 where no n-gram repeats, near 0 where every text is the same; 0 where there is none.

    Args:
      texts: [n] str; words are parted by white space, capitals are as small letters.
      order: n of the n-grams.

    Example: a, red, car, bus of 6 words.
      >>> round(distinct(["A red car", "a red bus"], 1), 3)
      0.667
    """
    words = [text.lower().split() for text in texts]
    grams = [g for w in words for g in zip(*(w[start:] for start in range(order)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 0.0
