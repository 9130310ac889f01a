"""The sentence of a review that explains it: the one about what most reviews are about.

P5 (Geng et al. 2022, arXiv 2203.13366) explains a recommendation by the review's sentence that
bears a feature of the item ('the sound is warm': sound), found by a phrase-level sentiment toolkit.
Here is a rule that needs none:

  feature   a word that at least `MIN_REVIEWS` train reviews use as the head of a noun phrase: right
            after an article or a possessive ('the', 'my') and right before a mark or a word that
            cannot go on with the phrase ('is', 'for'). So 'sound' in 'the sound is' and 'tone' in
            'my tone.' are; 'great' in 'the great sound' is not. They must be a tenth of the train
            reviews that hold the word at all ('playing' is seldom a noun). Nouns that say nothing
            of an item ('the same', 'a lot', 'the review') are none: see `_EMPTY`.
  sentence  of 5 to 30 words, with a feature. The best is the one whose features, each counted once,
            are used by the most train reviews; of equal ones the first.
  feature   of the explanation: the one of its features that most train reviews use; of equal ones
  chosen    the first.

A review without such a sentence has no explanation. The words are English; reviews in another
language get few explanations or none.
"""

import collections
import re
from collections.abc import Iterator, Mapping

MIN_REVIEWS = 5
MIN_SHARE = 0.1  # of the reviews that hold a word
MIN_WORDS, MAX_WORDS = 5, 30
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # noqa: RUF001
_WORD_OR_MARK = re.compile(rf"{_WORD.pattern}|[^\w\s]")
_SENTENCE_END = re.compile(
    r"[.!?]+[\"')\]]*\s+"
    # A line's end that the source has lost: 'It works.I like it.'
    r"|(?<=[a-z])[.!?]+[\"')\]]*(?=[A-Z])"
)
_BEFORE = frozenset(
    _WORD.findall("""
    a an the my your its his her our their
    """)
)
_AFTER = frozenset(
    _WORD.findall("""
    is are was were be been isn't aren't wasn't weren't has have had will would can could
    should does did do doesn't didn't and or but nor of for in on at to from with without by
    as than that which who when while if because so since until into onto over under up down
    out off after before though although too very it i you he she we they this these those a
    an the my your
    """)
)
_EMPTY = frozenset(
    _WORD.findall("""
    one ones other others same best worst better first second third last next former latter
    few more most less least lot lots ton tons bit couple bunch number amount pair half rest
    kind sort type way ways thing things stuff fact matter idea point reason reasons chance
    opinion end part time times day days week weeks weekend month months year years hour
    hours minute minutes moment past future while need needs must try use plus again look
    product products item items purchase review reviews reviewer reviewers star stars
    problem problems issue issues good great bad little small big new old nice cheap said
    may might came comes makes there just even only own favorite right wrong whole such
    world life people person guy friend son daughter wife husband amazon
    """)
)


def sentences(text: str) -> Iterator[str]:
    """Yields the sentences of a cleaned text.

    Example: 'It works.I like it! 3.5 stars' -> 'It works.', 'I like it!', '3.5 stars'.
    """
    start = 0
    for end in _SENTENCE_END.finditer(text):
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def words(text: str) -> list[str]:
    """Returns the words of a text in lower case. Example: "Don't buy 2!" -> ["don't", 'buy']."""
    return _WORD.findall(text.lower())


def heads(text: str) -> set[str]:
    """Returns the words of a text that are heads of noun phrases, see the module.

    Example: 'The great sound of my amp.' -> {'amp'}: what is right after 'the' goes on.
    """
    tokens = [*_WORD_OR_MARK.findall(text.lower()), "."]
    return {
        word
        for before, word, after in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if before in _BEFORE
        and (after in _AFTER or not after[0].isalpha())
        and word[0].isalpha()
        and len(word) > 2
        and word not in _EMPTY
        and word not in _AFTER
    }


class FeatureCounter:
    """Counts in how many reviews each word stands, and is a head; holds a bounded number of words.

    Args:
      most_words: how many; beyond, the words met least so far are forgotten.
    """

    def __init__(self, most_words: int = 1 << 20):
        self._most_words = most_words
        self._of_word, self._of_head = collections.Counter(), collections.Counter()

    def add(self, text: str) -> None:
        """Counts a train review."""
        self._of_word.update(set(words(text)))
        self._of_head.update(heads(text))
        least = 1
        while len(self._of_word) > self._most_words:
            for word in [word for word, count in self._of_word.items() if count <= least]:
                del self._of_word[word]
                self._of_head.pop(word, None)
            least += 1

    def features(self) -> dict[str, int]:
        """Returns feature -> how many train reviews use it as a head."""
        return {
            word: count
            for word, count in sorted(self._of_head.items())
            if count >= max(MIN_REVIEWS, MIN_SHARE * self._of_word[word])
        }


def explain(text: str, features: Mapping[str, int]) -> tuple[str, str]:
    """Returns the explaining sentence of a review and its feature; both '' where there is none.

    Args:
      text: the review, cleaned.
      features: feature -> how many train reviews use it.

    Example: with {'sound': 9, 'price': 5}, 'Came fast. I like its sound for the price.' gives 'I
    like its sound for the price.' and 'sound'.
    """
    best, chosen = 0, ("", "")
    for sentence in sentences(text):
        in_order = words(sentence)
        used = [word for word in dict.fromkeys(in_order) if word in features]
        score = sum(features[word] for word in used)
        if score > best and MIN_WORDS <= len(in_order) <= MAX_WORDS:
            best, chosen = score, (sentence, max(used, key=features.__getitem__))
    return chosen
