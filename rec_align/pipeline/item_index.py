"""How an item is written: item <-> text <-> tokens.

An item index offers `texts` and `item_tokens`; tasks write items by the one, decoders build their
trie from the other. A new way of writing items is one class here or in a file of its own.
"""

import functools
from collections.abc import Sequence

import numpy as np
import seqio

from rec_align.data.corpus import corpus_dir, read_catalogue
from rec_align.pipeline.vocabulary import EOS_ID


class TitleIndex:
    """Items written by their unique titles.

    Attributes:
      texts: [num_items] str, no two alike.
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
                    f"items {self.texts[other]!r} and {self.texts[index]!r} have the same tokens "
                    "in this vocabulary; train a vocabulary on the corpus, or rename one of them"
                )
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
        return tokens


def open_item_index(corpus: str, vocabulary: seqio.SentencePieceVocabulary) -> TitleIndex:
    """The item index of a built corpus; kept for the next call."""
    model_file = vocabulary.sentencepiece_model_file
    return _open_title_index(corpus, str(corpus_dir(corpus)), model_file, vocabulary)


@functools.lru_cache(maxsize=8)
def _open_title_index(
    corpus: str, directory: str, model_file: str, vocabulary: seqio.SentencePieceVocabulary
) -> TitleIndex:
    del directory, model_file  # part of the cache's key only
    return TitleIndex(read_catalogue(corpus).texts, vocabulary)
