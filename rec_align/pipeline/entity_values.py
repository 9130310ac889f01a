"""The known values of each kind of entity, as a blank's answer is written: for their tries.

RecSysLLM's entity trie (Chu et al. 2023): at inference nothing says how many tokens a blank has;
the trie of the known values does, and every answer is one of them.
"""

import numpy as np

from rec_align.pipeline.item_writing import open_writing
from rec_align.pipeline.records import BRAND, CATEGORY, ITEM, RATING, category_and_brand_texts
from rec_align.pipeline.vocabulary import EOS_ID, CorpusVocabulary

# Half stars too: some logs have them.
RATINGS = tuple(f"{half / 2:g}" for half in range(2, 11))


def entity_values(corpus: str) -> dict[int, list[str]]:
    """The values of each kind that held-out splits ask for, no two alike.

    Args:
      corpus: a built corpus.

    Returns:
      {index into `records.KINDS`: texts}; kinds of which nothing is known are left out.
    """
    categories, brands = category_and_brand_texts(corpus)
    texts = {
        CATEGORY: categories,
        BRAND: brands,
        ITEM: open_writing(corpus).texts,
        RATING: RATINGS,
    }
    found = {kind: sorted(set(values) - {""}) for kind, values in texts.items()}
    return {kind: values for kind, values in found.items() if values}


def entity_tokens(vocabulary: CorpusVocabulary) -> dict[int, np.ndarray]:
    """The answers to a single blank, of each kind: its sentinel and a value.

    Args:
      vocabulary: of a built corpus.

    Returns:
      {index into `records.KINDS`: [num_values, length] int32}: EOS-ended, padded with 0. Values
      that the vocabulary writes alike are one row.
    """
    sentinel = vocabulary.sentinels_end - 1
    tokens = {}
    for kind, texts in entity_values(vocabulary.corpus).items():
        rows = [(sentinel, *ids, EOS_ID) for ids in vocabulary.tokenizer.EncodeAsIds(texts)]
        rows = list(dict.fromkeys(rows))
        tokens[kind] = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for row, ids in zip(tokens[kind], rows, strict=True):
            row[: len(ids)] = ids
    return tokens
