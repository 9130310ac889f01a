"""The vocabulary of a corpus: its own SentencePiece model, or a pretrained T5's."""

import hashlib

import gin
import seqio
from etils import epath

from rec_align.data import corpus as corpus_lib

EXTRA_IDS = 100
EOS_ID = 1


@gin.configurable
def vocabulary_path(corpus: str, path: str | None = None) -> str:
    """Where a corpus's SentencePiece model is.

    Args:
      corpus: the corpus's name.
      path: a model to use instead, for all corpora: bind `vocabulary_path.path` to the public T5
        `spiece.model` to fine-tune a pretrained T5.

    Returns:
      The path: `path`, or `vocabulary/spiece.model` in the corpus's directory.
    """
    return path or str(corpus_lib.vocabulary_path(corpus))


class CorpusVocabulary(seqio.SentencePieceVocabulary):
    """A `seqio.SentencePieceVocabulary` with 100 sentinels, found when first used.

    Two of them are equal where they are of the same corpus, so the tasks of a corpus mix.

    Attributes:
      corpus: the corpus's name.
    """

    def __init__(self, corpus: str):
        super().__init__(sentencepiece_model_file="", extra_ids=EXTRA_IDS)
        self.corpus = corpus

    def _model_context(self):
        # Looked up at each use (loaded models are memoised by path), so that a gin binding or
        # another data directory takes effect after the tasks were registered.
        path = vocabulary_path(self.corpus)
        if path != self._sentencepiece_model_file:
            self._model = None
            self._sentencepiece_model_file = path
        return super()._model_context()

    @property
    def sentencepiece_model_file(self) -> str:
        return vocabulary_path(self.corpus)

    @property
    def sha256(self) -> str:
        """The digest of the SentencePiece model."""
        return hashlib.sha256(epath.Path(self.sentencepiece_model_file).read_bytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CorpusVocabulary) and self.corpus == other.corpus

    def __hash__(self) -> int:
        return hash(("CorpusVocabulary", self.corpus))
