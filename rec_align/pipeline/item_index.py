"""The item index: item <-> text <-> tokens, for whatever way of writing is chosen.

Tasks write items by `texts`, decoders build their trie from `item_tokens`, and `item_of` is the way
back. `item_writing.py` has the ways.
"""

import functools
from collections.abc import Sequence

import numpy as np
import seqio

from rec_align.data.corpus import corpus_dir
from rec_align.pipeline.item_writing import open_writing
from rec_align.pipeline.vocabulary import EOS_ID


class ItemIndex:
    """Items and how they are written.

    Attributes:
      texts: [num_items] str, no two alike; the last items, where they came later, may be missing.
    """

    def __init__(self, texts: Sequence[str], vocabulary: seqio.SentencePieceVocabulary):
        self.texts = tuple(texts)
        self._vocabulary = vocabulary

    @functools.cached_property
    def item_tokens(self) -> np.ndarray:
        """[num_items, max_item_tokens] int32: EOS-ended, padded with 0.

        Raises:
          ValueError: two items have the same tokens, so no decoder could tell them apart.
        """
        rows = [[*ids, EOS_ID] for ids in self._vocabulary.tokenizer.EncodeAsIds(list(self.texts))]
        first = {}
        for index, row in enumerate(rows):
            other = first.setdefault(tuple(row), index)
            if other != index:
                raise ValueError(
                    f"items {other} {self.texts[other]!r} and {index} {self.texts[index]!r} have "
                    "the same tokens in this vocabulary; train a vocabulary on the corpus, rename "
                    "one of them, or choose an ITEM_INDEX that tells them apart"
                )
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
        return tokens

    @functools.cached_property
    def _item_of_text(self) -> dict[str, int]:
        return {text: item for item, text in enumerate(self.texts)}

    def item_of(self, text: str) -> int:
        """The item index of what a model wrote, decoded; -1 where that is no item."""
        return self._item_of_text.get(text, -1)


def open_item_index(corpus: str, vocabulary: seqio.SentencePieceVocabulary) -> ItemIndex:
    """The item index of a built corpus; kept for the next call."""
    model_file = vocabulary.sentencepiece_model_file
    texts = open_writing(corpus).texts
    return _open_item_index(str(corpus_dir(corpus)), model_file, texts, vocabulary)


@functools.lru_cache(maxsize=8)
def _open_item_index(
    directory: str,
    model_file: str,
    texts: tuple[str, ...],
    vocabulary: seqio.SentencePieceVocabulary,
) -> ItemIndex:
    del directory, model_file  # part of the cache's key only
    return ItemIndex(texts, vocabulary)
