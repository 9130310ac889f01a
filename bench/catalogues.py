"""Synthetic catalogues for the decoding benches: as many items as asked, written like titles."""

import numpy as np

from rec_align.decoding.trie import EOS_ID

VOCAB_SIZE = 32_128  # T5's


def synthetic_items(num_items: int, num_tokens: int = 8, seed: int = 0) -> np.ndarray:
    """[num_items, num_tokens + 1] int32: unique items of one length, EOS last.

    The first half of an item's tokens follow a power law, as titles begin with brands and series;
    the others are uniform. All items end at the same step, so that no search can stop early and a
    step can be compared with a step.
    """
    rng = np.random.default_rng(seed)
    items = np.empty((num_items, num_tokens + 1), np.int32)
    items[:, -1] = EOS_ID
    head = num_tokens // 2
    common = rng.permutation(np.arange(2, VOCAB_SIZE, dtype=np.int32))
    weights = 1 / np.arange(1, len(common) + 1)
    cumulated = np.cumsum(weights) / weights.sum()
    for column in range(num_tokens):
        if column < head:
            items[:, column] = common[np.searchsorted(cumulated, rng.random(num_items))]
        else:
            items[:, column] = rng.integers(2, VOCAB_SIZE, num_items)
    return items
