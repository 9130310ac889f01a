"""Parts that come again and again are tokenised once: titles, and the templates' own text.

A part's tokens depend on its text alone, so looking them up changes nothing but the time: a title
costs a tenth of a microsecond instead of three.
"""

import functools
from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_text as tf_text

from rec_align import prompts
from rec_align.data.corpus import corpus_dir, train_item_counts
from rec_align.pipeline.item_writing import open_writing

# How a title ends inside a prompt; see `phrasing`.
_ENDINGS = ("", ";", ":")
# The most frequent items are nearly all of what is read; the others are tokenised as they come.
MAX_KNOWN_ITEMS = 100_000


class PartTokenizer:
    """Tokenises parts, each ended by EOS.

    Args:
      model: a serialized SentencePiece model.
      known: parts to tokenise beforehand, no two alike.
    """

    def __init__(self, model: bytes, known: Sequence[str]):
        # An EOS after every part: targets keep it, inputs leave it out.
        self._tokenizer = tf_text.SentencepieceTokenizer(
            model=model, out_type=tf.int32, add_eos=True
        )
        with tf.init_scope():
            keys = tf.constant(list(known), tf.string)
            self._known = self._tokenizer.tokenize(keys)
            rows = tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(known)))
            self._rows = tf.lookup.StaticHashTable(rows, default_value=-1)

    def tokenize(self, parts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Tokens, and where each part's begin and end.

        Args:
          parts: [n] string.

        Returns:
          tokens [t] int32, in no particular order of parts; begins [n] and ends [n] int32: the
          tokens of part i, its EOS included, are `tokens[begins[i]:ends[i]]`.
        """
        rows = self._rows.lookup(parts)
        is_known = rows >= 0
        looked_up = tf.gather(self._known, tf.gather(rows, tf.where(is_known)[:, 0]))
        fresh = self._tokenizer.tokenize(tf.gather(parts, tf.where(~is_known)[:, 0]))
        tokens = tf.concat([looked_up.values, fresh.values], 0)
        lengths = tf.cast(tf.concat([looked_up.row_lengths(), fresh.row_lengths()], 0), tf.int32)
        ends = tf.cumsum(lengths)
        # The known parts come first, each kind in its own order.
        numbers = tf.cast(is_known, tf.int32)
        places = tf.where(
            is_known,
            tf.cumsum(numbers) - 1,
            tf.reduce_sum(numbers) + tf.cumsum(1 - numbers) - 1,
        )
        return tokens, tf.gather(ends - lengths, places), tf.gather(ends, places)


def open_tokenizer(vocabulary: seqio.SentencePieceVocabulary) -> PartTokenizer:
    """The tokenizer of a vocabulary; that of a corpus knows its items. Kept for the next call."""
    corpus = getattr(vocabulary, "corpus", None)
    directory = None if corpus is None else str(corpus_dir(corpus))
    texts = () if corpus is None else open_writing(corpus).texts
    return _open(vocabulary.sp_model, corpus, directory, texts)


@functools.lru_cache(maxsize=8)
def _open(
    model: bytes, corpus: str | None, directory: str | None, texts: tuple[str, ...]
) -> PartTokenizer:
    del directory  # part of the cache's key only
    if corpus is not None:
        counts = train_item_counts(corpus)[: len(texts)]
        frequent = np.argsort(-counts, kind="stable")[:MAX_KNOWN_ITEMS]
        texts = tuple(texts[item] for item in frequent)
    titles = (text + ending for text in texts for ending in _ENDINGS)
    return PartTokenizer(model, list(dict.fromkeys([*prompts.all_texts(), *titles])))
