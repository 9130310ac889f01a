"""The vocabulary of a corpus: its own SentencePiece model, or a pretrained T5's.

Ids: the model's pieces, 100 sentinels, then the tokens of the item index, where it has any.
"""

import functools
import hashlib
from typing import NamedTuple

import gin
import seqio
from etils import epath
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from rec_align.data import corpus as corpus_lib
from rec_align.pipeline.item_writing import generation, item_index, open_writing

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
    """A `seqio.SentencePieceVocabulary` with 100 sentinels and the item index's tokens.

    The files are found when first used. Two of them are equal where they are of the same corpus,
    so the tasks of a corpus mix.

    Attributes:
      corpus: the corpus's name.
    """

    def __init__(self, corpus: str):
        super().__init__(sentencepiece_model_file="", extra_ids=EXTRA_IDS)
        self.corpus = corpus
        self._opened: tuple[tuple, _Model] | None = None

    def _model_context(self) -> "_Model":
        # What it depends on is looked up at each use, so that a gin binding or another data
        # directory takes effect after the tasks were registered.
        path = vocabulary_path(self.corpus)
        key = (path, str(corpus_lib.corpus_dir(self.corpus)), item_index(), generation())
        opened = self._opened
        if opened is None or opened[0] != key:
            plain = seqio.SentencePieceVocabulary(path, EXTRA_IDS)._model_context()
            tokens = open_writing(self.corpus).tokens
            model = _with_tokens(plain.sp_model, tokens) if tokens else plain
            self._opened = opened = (key, model)
        return opened[1]

    def __getstate__(self):
        return super().__getstate__() | {"_opened": None}

    @property
    def sentencepiece_model_file(self) -> str:
        return vocabulary_path(self.corpus)

    @property
    def sentinels_end(self) -> int:
        """The id after the first sentinel's; the further ones count down from it."""
        return self.vocab_size - len(open_writing(self.corpus).tokens)

    @property
    def sha256(self) -> str:
        """The digest of the SentencePiece model and, unless it writes titles, the item index."""
        digest = hashlib.sha256(epath.Path(self.sentencepiece_model_file).read_bytes())
        digest.update(open_writing(self.corpus).sha256.encode())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CorpusVocabulary) and self.corpus == other.corpus

    def __hash__(self) -> int:
        return hash(("CorpusVocabulary", self.corpus))


class _Model(NamedTuple):
    """What `seqio.SentencePieceVocabulary` keeps of a loaded model, by SeqIO's names."""

    tokenizer: SentencePieceProcessor
    sp_model: bytes


@functools.lru_cache(maxsize=8)
def _with_tokens(sp_model: bytes, tokens: tuple[str, ...]) -> _Model:
    """The context of a SentencePiece model with further entries, each always one token."""
    model = sentencepiece_model_pb2.ModelProto.FromString(sp_model)
    known = {piece.piece for piece in model.pieces}
    for token in tokens:
        if token in known:
            raise ValueError(f"ITEM_INDEX: the vocabulary has a piece {token!r} already")
        model.pieces.add(piece=token, score=0.0, type=model.SentencePiece.USER_DEFINED)
    serialized = model.SerializeToString()
    tokenizer = SentencePieceProcessor()
    tokenizer.LoadFromSerializedProto(serialized)
    return _Model(tokenizer, serialized)
