"""MovieLens 100K (Harper and Konstan 2015), from either of the files that carry it.

The wheel of RecBole 1.2.1 holds it as `ml-100k.inter` and `ml-100k.item`, tab separated;
GroupLens's `ml-100k.zip` as `u.data` and `u.item`. Interactions are the same, and checked to be.
Titles are brought to one form: the year leaves the title, and an article at the end goes to the
front, so that 'Usual Suspects, The (1995)' is 'The Usual Suspects' of 1995.
"""

import hashlib
import re
import zipfile

import numpy as np
import pandas as pd
from etils import epath

from rec_align.data import interactions as interactions_lib
from rec_align.data import items as items_lib
from rec_align.data import tables

# Of the 100,000 lines 'user<tab>item<tab>rating<tab>time', sorted as integers: see `fingerprint`.
INTERACTIONS_SHA256 = "6cfffb52c89b05fbc3afb75f6912eeda04c81c2add0dc58e773a0ef6c8adb160"
_WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
# The order of the 19 flags in u.item.
# fmt: off
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)
# fmt: on
_ARTICLES = "The|A|An|La|Le|Les|L'|Il|El|Das|Der|Die|Det|O"
_TRAILING_ARTICLE = re.compile(rf"(^|\()([^()]+), ({_ARTICLES})(?= \(|\)|$)")
_YEAR_IN_TITLE = re.compile(r"^(.*?) *\((\d{4})\) *(?:\(V\))?$")
# Item 267 has no title: 'unknown' in u.item, mistyped in the wheel.
_NO_TITLE = {"unknown", "unkonwn"}


def read_ml_100k(
    path: epath.PathLike,
) -> tuple[interactions_lib.Interactions, items_lib.Items]:
    """Reads ML-100K: 943 users, 1,682 items, 100,000 interactions, ratings 1-5.

    Args:
      path: the RecBole wheel or `ml-100k.zip`.

    Returns:
      Interactions, and items with title, year and genres (as categories).

    Raises:
      ValueError: the file is neither, or does not hold the published interactions.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
            if f"{_WHEEL_FOLDER}ml-100k.inter" in archive.namelist():
                interactions, items = _read_wheel(archive)
            elif "u.data" in names and "u.item" in names:
                interactions, items = _read_public(
                    archive.read(names["u.data"]), archive.read(names["u.item"])
                )
            else:
                raise ValueError(
                    f"{path.name} holds neither u.data and u.item nor RecBole's ml-100k: give "
                    "GroupLens's ml-100k.zip or the wheel of recbole==1.2.1"
                )
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path.name} is no zip file or is damaged: download it again") from error
    if fingerprint(interactions) != INTERACTIONS_SHA256:
        raise ValueError(
            f"{path.name} does not hold the 100,000 published interactions of ML-100K: download it "
            "again, or build it under a name of your own with --interactions"
        )
    return interactions, items


def fingerprint(interactions: interactions_lib.Interactions) -> str:
    """Returns the SHA-256 of the interactions, whatever file and order they come in."""
    users = np.array(interactions.user_ids, dtype=object).astype(np.int64)[interactions.users]
    items = np.array(interactions.item_ids, dtype=object).astype(np.int64)[interactions.items]
    rows = np.stack([users, items, interactions.ratings, interactions.ticks], axis=1)
    frame = pd.DataFrame(rows.astype(np.int64)).sort_values([0, 1, 2, 3])
    text = frame.to_csv(sep="\t", header=False, index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _read_wheel(
    archive: zipfile.ZipFile,
) -> tuple[interactions_lib.Interactions, items_lib.Items]:
    table = tables.parse_table(
        archive.read(f"{_WHEEL_FOLDER}ml-100k.inter"),
        dict.fromkeys(interactions_lib.FIELDS),
        label="ml-100k.inter",
        required=interactions_lib.FIELDS,
    )
    lines = archive.read(f"{_WHEEL_FOLDER}ml-100k.item").decode("utf-8").splitlines()
    records = [line.split("\t") for line in lines[1:]]
    return interactions_lib.from_table(table), _items(
        [(item_id, title, year, genres.split()) for item_id, title, year, genres in records]
    )


def _read_public(data: bytes, item: bytes) -> tuple[interactions_lib.Interactions, items_lib.Items]:
    table = tables.parse_table(
        b"user_id\titem_id\trating\ttimestamp\n" + data,
        dict.fromkeys(interactions_lib.FIELDS),
        label="u.data",
        required=interactions_lib.FIELDS,
    )
    records = [line.split("|") for line in item.decode("latin-1").split("\n") if line.strip()]
    return interactions_lib.from_table(table), _items(
        [
            (
                record[0],
                record[1],
                "",
                [
                    genre
                    for genre, flag in zip(_GENRES, record[5:], strict=True)
                    if flag.strip() == "1"
                ],
            )
            for record in records
        ]
    )


def _items(records: list[tuple[str, str, str, list[str]]]) -> items_lib.Items:
    """Makes items of (item_id, title, year, genres)."""
    named = [split_title(title, year) for _, title, year, _ in records]
    return items_lib.Items(
        item_ids=tuple(record[0] for record in records),
        titles=tuple(title for title, _ in named),
        brands=("",) * len(records),
        categories=tuple(
            tuple(genre for genre in genres if genre != "unknown") for *_, genres in records
        ),
        years=tuple(year for _, year in named),
        key_phrases=("",) * len(records),
    )


def split_title(title: str, year: str = "") -> tuple[str, str]:
    """Returns a title with its articles in front, and its year.

    Example: 'Umbrellas of Cherbourg, The (Parapluies de Cherbourg, Les) (1964)' -> ('The Umbrellas
    of Cherbourg (Les Parapluies de Cherbourg)', '1964').
    """
    title = items_lib.clean_text(title)
    match = _YEAR_IN_TITLE.match(title)
    if match:
        title, year = match[1], match[2]
    if title.lower() in _NO_TITLE:
        return "", items_lib.parse_year(year)
    return _TRAILING_ARTICLE.sub(_article_first, title), items_lib.parse_year(year)


def _article_first(match: re.Match) -> str:
    opening, rest, article = match.groups()
    return f"{opening}{article}{'' if article.endswith(chr(39)) else ' '}{rest}"
