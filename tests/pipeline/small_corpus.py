"""Two corpora small enough to read: `small_shop`, partly rated, and `unrated_shop`."""

import csv
import hashlib
import json
import pathlib

from rec_align import prompts
from rec_align.data import corpus, sources

# id: title, brand, categories, year
ITEMS = {
    "k1": ("Red Kettle", "Acme", ["Kitchen", "Kettles"], "1999"),
    "k2": ("Blue Kettle", "Acme", ["Kitchen", "Kettles"], "2001"),
    "p1": ("Iron Pan", "Borg", ["Kitchen", "Pans"], ""),
    "p2": ("Copper Pan", "", ["Kitchen", "Pans"], ""),
    "l1": ("Desk Lamp", "Lumo", ["Light"], "2010"),
    "l2": ("Floor Lamp", "Lumo", ["Light"], "2011"),
    "l3": ("Night Light", "Lumo", [], "2012"),
    "c1": ("Garden Chair", "", [], ""),
    "c2": ("Arm Chair", "Sitwell", ["Chairs"], "1985"),
    "t1": ("Tea Table", "Sitwell", ["Tables"], "1986"),
    "t2": ("Side Table", "Sitwell", ["Tables"], "1987"),
    "m1": ("Wall Mirror", "", ["Mirrors"], "2005"),
}
# user: (item, rating) in time order; None = no rating
HISTORIES = {
    "ann": [("k1", 4), ("p1", 5), ("l1", None), ("c1", 2), ("t1", 3), ("m1", 5)],
    "bob": [("k2", 1), ("k1", 2), ("l2", 3), ("l3", 4), ("c2", 5)],
    "cat": [("t2", None), ("t1", 4), ("c1", 4), ("p2", None)],
    "dan": [("m1", 5), ("l1", 4), ("l2", 4), ("l3", 4), ("k1", 1), ("k2", 2), ("p2", 3), ("p1", 4)],
    "eve": [("p1", 3), ("p2", 3)],
}


def title(item_id: str) -> str:
    return ITEMS[item_id][0]


def user_index(user: str) -> int:
    """Users are numbered by the SHA-256 of their ids."""
    ranked = sorted(HISTORIES, key=lambda name: hashlib.sha256(name.encode()).digest())
    return ranked.index(user)


def item_index(item_id: str) -> int:
    """So are items, among those somebody took."""
    ranked = sorted(ITEMS, key=lambda name: hashlib.sha256(name.encode()).digest())
    return ranked.index(item_id)


def build(data_dir: pathlib.Path) -> None:
    """Builds both corpora."""
    items_file = data_dir / "items.jsonl"
    with items_file.open("w") as file:
        for item_id, (name, brand, categories, year) in ITEMS.items():
            row = {"item_id": item_id, "title": name, "brand": brand, "year": year}
            file.write(json.dumps(row | {"categories": categories}) + "\n")
    for name, is_rated in (("small_shop", True), ("unrated_shop", False)):
        rows = [
            {"user_id": user, "item_id": item, "timestamp": 1_000 + time}
            | ({"rating": "" if rating is None else rating} if is_rated else {})
            for user, history in HISTORIES.items()
            for time, (item, rating) in enumerate(history)
        ]
        interactions = data_dir / f"{name}.csv"
        with interactions.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        source = sources.Tables(interactions=interactions, items=items_file)
        corpus.build_corpus(
            name, source, data_dir=data_dir, k_core=0, texts=prompts.all_texts(), report=len
        )
