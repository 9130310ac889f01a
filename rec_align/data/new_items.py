"""Items that come after a corpus was built: they join its catalogue, and everything else stays.

They have no interactions, so `train_item_counts` says 0 of them. A trained model can recommend them
as soon as they can be written: by title at once, by a semantic index once `rec-align index extend`
has run.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import sentencepiece
from etils import epath

from rec_align.data import corpus as corpus_lib
from rec_align.data import items as items_lib
from rec_align.data import vocabulary
from rec_align.data.catalogue import Catalogue, build_catalogue


def add_items(
    name: str,
    path: epath.PathLike,
    columns: Mapping[str, str | None] | None = None,
    *,
    encoding: str = "utf-8",
    data_dir: epath.PathLike | None = None,
) -> tuple[Catalogue, int]:
    """Appends the items of a file to a corpus's catalogue; those that it has are left as they are.

    Args:
      name: a built corpus.
      path: of items, see `items.read_items`.
      columns: likewise.
      encoding: likewise.
      data_dir: where corpora are kept; None for the default.

    Returns:
      The whole catalogue, and how many items are new: its last ones.

    Raises:
      ValueError: the corpus is not built, the file is unreadable or has faulty rows, or the
        corpus's vocabulary cannot write a name. Nothing is written then.
    """
    known = corpus_lib.read_catalogue(name, data_dir)
    items = items_lib.read_items(path, columns, encoding=encoding)
    for note in items.skipped:
        raise ValueError(f"{note.count} {note.reason}: {note.where}. Mend the file")
    ids = set(items.item_ids) - set(known.item_ids)
    if not ids:
        return known, 0
    catalogue = appended(known, build_catalogue(ids, items)[0])
    processor = sentencepiece.SentencePieceProcessor(
        model_proto=corpus_lib.vocabulary_path(name, data_dir).read_bytes()
    )
    vocabulary.check_round_trip(catalogue.texts[len(known) :], processor)
    corpus_lib.replace_catalogue(name, catalogue, data_dir)
    return catalogue, len(ids)


def appended(known: Catalogue, new: Catalogue) -> Catalogue:
    """One catalogue of both; where a new item has a known one's name, it gets another.

    By its year, else its brand, else a counter: 'Sabrina' after 'Sabrina' is 'Sabrina (1995)'.
    """
    texts = list(known.texts)
    taken = {*known.texts, *new.texts}
    known_texts = set(known.texts)
    for text, year, brand in zip(new.texts, new.years, new.brands, strict=True):
        if text in known_texts:
            words = itertools.chain(filter(None, (year, brand)), itertools.count(2))
            names = (f"{text} ({word})" for word in words)
            text = next(name for name in names if name not in taken)
            taken.add(text)
        texts.append(text)
    fields = {
        field.name: getattr(known, field.name) + getattr(new, field.name)
        for field in dataclasses.fields(Catalogue)
    }
    return Catalogue(**(fields | {"texts": tuple(texts)}))
