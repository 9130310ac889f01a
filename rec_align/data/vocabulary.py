"""A SentencePiece vocabulary of a corpus's own train-side text, for models trained from scratch.

Byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) whose pieces may span the words of a
title: what people meet most becomes the fewest tokens, so a popular title is one token and a rare
one is spelled. (A unigram model makes no piece of a text that stands in one title only.) Pad is 0,
end of sequence 1, unknown 2, as in T5; the 100 sentinels are not in the file:
`seqio.SentencePieceVocabulary(path, extra_ids=100)` appends them.
"""

import collections
import io
import string
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import sentencepiece
from etils import epath

from rec_align.data import catalogue as catalogue_lib

MIN_VOCAB_SIZE, MAX_VOCAB_SIZE = 1_000, 16_000
REVIEW_PIECES = 8_000
# A word of reviews that is met less often makes no line: names, slips, and rare characters.
_MIN_WORD_COUNT = 3
# Lines of each word of the templates: few words, met in every example.
_TEXT_REPEATS = 20


def default_vocab_size(num_items: int, *, has_reviews: bool = False) -> int:
    """Returns three pieces an item, 1,000 to 16,000, and 8,000 more where there are reviews."""
    of_items = min(MAX_VOCAB_SIZE, max(MIN_VOCAB_SIZE, 3 * num_items))
    return of_items + REVIEW_PIECES * has_reviews


def train_vocabulary(
    catalogue: catalogue_lib.Catalogue,
    item_counts: np.ndarray,
    path: epath.PathLike,
    *,
    vocab_size: int | None = None,
    texts: Sequence[str] = (),
    sentences: Sequence[str] = (),
    phrase_pieces: bool = True,
    max_piece_length: int = 64,
    repeat_power: float = 0.5,
    max_lines: int = 300_000,
) -> int:
    """Trains a vocabulary and checks that every item's text passes through it unchanged.

    The same arguments give the same file: one thread, no sampling.

    Args:
      catalogue: the items.
      item_counts: int64 [num_items], interactions of each item in the train split; titles people
        meet often get longer pieces. Of an item that train does not have only the characters are
        taken: a piece of its own would never be trained. Brands, categories and years are lines
        whoever's they are.
      path: the model file to write.
      vocab_size: most pieces, without sentinels; None for `default_vocab_size`. Fewer are made
        where the text has no more.
      texts: other text the models will read: the templates.
      sentences: of train reviews. Word by word, so that no piece of a title is lost to a turn of
        phrase; a word met c times is c ** repeat_power lines, as a title is.
      phrase_pieces: let a piece span words, so that a popular title is few pieces.
      max_piece_length: longest piece, in characters.
      repeat_power: a title of train count c is (1 + c) ** repeat_power lines.
      max_lines: bound on title lines; the repeats are scaled down to it, never below one.

    Returns:
      The number of pieces made.

    Raises:
      ValueError: the size is too small for the text's characters, or a text does not come back.
    """
    if vocab_size is None:
        vocab_size = default_vocab_size(len(catalogue), has_reviews=bool(sentences))
    repeats = _repeats(item_counts, repeat_power, max_lines)
    lines = [
        *_lines(catalogue, repeats, texts),
        *_word_lines(sentences, repeat_power),
    ]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            byte_fallback=False,
            split_by_whitespace=not phrase_pieces,
            split_by_unicode_script=not phrase_pieces,
            split_by_number=not phrase_pieces,
            max_sentencepiece_length=max_piece_length,
            max_sentence_length=4 * max(map(len, lines)) + 1,  # bytes; a longer line is left out
            normalization_rule_name="nmt_nfkc",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"no vocabulary of {vocab_size} pieces: {str(error).strip().splitlines()[-1]} "
            "Give another --vocab-size"
        ) from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    check_round_trip(catalogue.texts, processor)
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return processor.vocab_size()


def _repeats(item_counts: np.ndarray, power: float, max_lines: int) -> np.ndarray:
    """Returns how many lines each title gets, int64 [num_items]; 0 only where train has it not."""
    counts = np.asarray(item_counts)
    weights = (1.0 + counts) ** power
    scale = min(1.0, max_lines / weights.sum())
    return np.where(counts > 0, np.maximum(1, np.rint(weights * scale)), 0).astype(np.int64)


def _lines(
    catalogue: catalogue_lib.Catalogue, repeats: np.ndarray, texts: Sequence[str]
) -> Iterator[str]:
    """Yields the training text, a title, attribute or word a line: no piece crosses lines."""
    for text, count in zip(catalogue.texts, repeats, strict=True):
        for _ in range(count):
            yield text
    unseen = "".join(
        text for text, count in zip(catalogue.texts, repeats, strict=True) if not count
    )
    if unseen:
        yield " ".join(sorted(set(unseen)))
    for attribute in (catalogue.brands, catalogue.years):
        yield from filter(None, attribute)
    for categories in catalogue.categories:
        yield from categories
    for text in texts:
        # Word by word: a prompt that is never trained on is spelled with words that are.
        for word in text.split():
            yield from [word] * _TEXT_REPEATS
    # Every printable ASCII character is a piece, whatever the corpus holds.
    yield " ".join(string.digits)
    yield " ".join(string.ascii_letters)
    yield " ".join(string.punctuation)


def _word_lines(sentences: Iterable[str], power: float) -> Iterator[str]:
    """Yields the words of reviews, those met most on the most lines."""
    counts = collections.Counter(word for sentence in sentences for word in sentence.split())
    for word, count in sorted(counts.items()):
        if count >= _MIN_WORD_COUNT:
            yield from [word] * round(count**power)


def check_round_trip(texts: Sequence[str], processor: sentencepiece.SentencePieceProcessor) -> None:
    """Raises ValueError where an item's name does not come back from its tokens."""
    decoded = processor.decode(processor.encode(list(texts)))
    changed = [(text, back) for text, back in zip(texts, decoded, strict=True) if text != back]
    if changed:
        raise ValueError(
            f"{len(changed)} item names do not come back from the vocabulary, first "
            f"{changed[0][0]!r} as {changed[0][1]!r}: change these titles in the source"
        )
