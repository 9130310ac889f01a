"""Review text on disk in parts by user: the second pass over a source, once the histories are cut.

Sits between `user_log` and `reviews_tfds`. A row of the source belongs to one interaction of one
history or to none, so a byte a row says where its text goes; of the text itself one review is held,
and the files need as much room as all of it.
Of reviews that repeat one another (same user, item and time) the log keeps the first, and so its
text. A review belongs to the split whose news its interaction is: see `splits`. Where a user met a
held-out item before, those earlier reviews are left out, so no pair of user and item is in two
splits.
"""

import dataclasses
import random
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from etils import epath

from rec_align.data import explanations, splits, user_log
from rec_align.data.items import clean_text

MAX_SENTENCES = 100_000
_HEAD = struct.Struct("<qII")  # row, bytes of the text, bytes of the summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReviewParts:
    """The reviews with text of the kept interactions.

    Attributes:
      files: one for each part of the histories.
      num_reviews: split -> how many.
      features: see `explanations`; of train reviews alone.
      sentences: of train reviews, at most `MAX_SENTENCES`, drawn alike from all.
    """

    files: Sequence[epath.Path]
    num_reviews: Mapping[str, int]
    features: Mapping[str, int]
    sentences: Sequence[str]


def gather(
    reviews: Iterable[tuple[int, str, str]],
    log: user_log.UserLog,
    folder: epath.Path,
    report: Callable[[str], None],
) -> ReviewParts:
    """Puts the text of the kept interactions into a file for each part.

    Args:
      reviews: row, text and summary, in the order of the source.
      log: the histories, and the rows that they are from.
      folder: an existing directory.
      report: told how many reviews are left out.

    Returns:
      The files, and what train reviews say.
    """
    codes = _codes(log)
    num_splits = len(splits.SPLITS)
    paths = [folder / f"{part}.reviews" for part in range(len(log.history_rows))]
    files = [path.open("wb") for path in paths]
    counts, num_empty = [0] * num_splits, 0
    counter, sample = explanations.FeatureCounter(), _Sample(MAX_SENTENCES)
    try:
        for row, text, summary in reviews:
            code = int(codes[row]) if row < len(codes) else 0
            if not code:
                continue
            text = clean_text(text)
            if not text:
                num_empty += 1
                continue
            part, split = divmod(code - 1, num_splits)
            counts[split] += 1
            encoded = text.encode(), clean_text(summary).encode()
            files[part].write(_HEAD.pack(row, *map(len, encoded)) + b"".join(encoded))
            if split == 0:
                counter.add(text)
                sample.add(explanations.sentences(text))
    finally:
        for file in files:
            file.close()
    num_repeated = log.after["interactions"] - np.count_nonzero(codes)
    for count, what in (
        (num_empty, "without text"),
        (num_repeated, "of an item whose later review, by the same user, is held out"),
    ):
        if count:
            report(f"reviews left out, {what}: {count:,}")
    return ReviewParts(
        files=paths,
        num_reviews=dict(zip(splits.SPLITS, counts, strict=True)),
        features=counter.features(),
        sentences=sample.kept,
    )


def read(path: epath.Path, rows: np.ndarray) -> Iterator[tuple[int, str, str]]:
    """Yields the reviews of some rows, in the order of `rows`.

    Args:
      path: a file of `ReviewParts`.
      rows: int64 [num_interactions], rows of the source.

    Yields:
      position in `rows`, text and summary; nothing for a row that has no text.
    """
    with path.open("rb") as file:
        found, offsets = [], []
        while head := file.read(_HEAD.size):
            row, *lengths = _HEAD.unpack(head)
            found.append(row)
            offsets.append(file.tell() - _HEAD.size)
            file.seek(sum(lengths), 1)
        if not found:
            return
        # A file has its rows in the order of the source.
        places = np.searchsorted(found, rows).clip(max=len(found) - 1)
        for position in np.flatnonzero(np.array(found)[places] == rows).tolist():
            file.seek(offsets[places[position]])
            _, *lengths = _HEAD.unpack(file.read(_HEAD.size))
            text, summary = (file.read(length).decode() for length in lengths)
            yield position, text, summary


def _codes(log: user_log.UserLog) -> np.ndarray:
    """Returns uint8 [num_rows]: 1 + its part * 3 + its split, or 0 where a row has no place."""
    num_rows = 1 + max(int(load_rows(path).max(initial=-1)) for path in log.history_rows)
    codes = np.zeros(num_rows, np.uint8)
    for part, (path, histories) in enumerate(zip(log.history_rows, log.histories, strict=True)):
        numbers = review_splits(histories)
        kept = numbers >= 0
        first = 1 + part * len(splits.SPLITS)
        codes[load_rows(path)[kept]] = first + numbers[kept].astype(np.uint8)
    return codes


def load_rows(path: epath.Path) -> np.ndarray:
    """Reads a file of `UserLog.history_rows`, int64 [num_interactions]."""
    with path.open("rb") as file:
        return np.load(file)


def review_splits(histories: splits.Histories) -> np.ndarray:
    """Returns int8 [num_interactions]: which of `SPLITS` the review of each is in, -1 for none.

    Example: a history of the items a, b, a, c, b gives -1 for the first b, which is held out for
    test, then train for both a, validation for c and test for the last b.
    """
    numbers = histories.split_numbers()
    users = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))
    pairs = users << 32 | histories.item_indices
    for split in range(1, len(splits.SPLITS)):
        numbers[(numbers < split) & np.isin(pairs, pairs[numbers == split])] = -1
    return numbers


class _Sample:
    """A bounded sample of sentences in which each has the same chance (Vitter 1985, algorithm R).

    The same sentences in the same order give the same sample.
    """

    def __init__(self, most: int):
        self.kept: list[str] = []
        self._most, self._num_met, self._random = most, 0, random.Random(0)

    def add(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._num_met += 1
            if len(self.kept) < self._most:
                self.kept.append(sentence)
            elif (place := self._random.randrange(self._num_met)) < self._most:
                self.kept[place] = sentence
