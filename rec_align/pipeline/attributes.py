"""Attributes: what is known of an item, for `item_embedding`."""

import tensorflow as tf

from rec_align.data.corpus import read_catalogue
from rec_align.pipeline.item_writing import open_writing
from rec_align.pipeline.phrasing import item_texts
from rec_align.pipeline.seeds import TEMPLATE, fold
from rec_align.prompts import Family

ATTRIBUTES = ("title", "categories", "brand", "year")


def _attribute_table(corpus: str) -> dict[str, list[str]]:
    """Each attribute's text of each item, '' where it has none; `attributes` joins them.

    The title is one only where items are not written with it.
    """
    catalogue = read_catalogue(corpus)
    has_titles = open_writing(corpus).has_titles
    table = {
        "title": [""] * len(catalogue) if has_titles else list(catalogue.texts),
        "categories": [", ".join(names) for names in catalogue.categories],
        "brand": [brand or "" for brand in catalogue.brands],
        "year": [str(year or "") for year in catalogue.years],
    }
    rows = zip(*(table[name] for name in ATTRIBUTES), strict=True)
    table["attributes"] = [
        " ".join(f"{name}: {text};" for name, text in zip(ATTRIBUTES, row, strict=True) if text)
        for row in rows
    ]
    return table


def item_attributes(
    dataset: tf.data.Dataset,
    *,
    corpus: str,
    family: Family,
) -> tf.data.Dataset:
    """Adds an item's fields and draws a template whose fields it has.

    Items without any attribute are left out.

    Args:
      dataset: examples of an `ItemSource`, with seeds.
      corpus: the corpus's name.
      family: the templates to draw from.

    Returns:
      Examples with `{field}_parts` [1] string and `template_index` int32, an index of
      `family.seen`.
    """
    titles = item_texts(corpus)
    table = _attribute_table(corpus)
    del table["title"]  # in `attributes`; the field is the item as it is written
    size = titles.shape[0]  # items that came later may not be written
    texts = tf.stack([titles, *(tf.constant(table[name][:size]) for name in table)])
    fields = ("title", *table)
    needs = tf.constant([[name in t.fields for name in fields] for t in family.seen])

    def add(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        values = texts[:, example["item_index"]]
        usable = tf.reduce_all(~needs | tf.not_equal(values, ""), axis=1)
        scores = tf.random.stateless_uniform([len(family.seen)], fold(example["seed"], TEMPLATE))
        parts = {f"{name}_parts": values[i : i + 1] for i, name in enumerate(fields)}
        return (
            example
            | parts
            | {
                "template_index": tf.argmax(tf.where(usable, scores, -1.0), output_type=tf.int32),
                "has_attributes": tf.reduce_any(usable),
            }
        )

    added = dataset.map(add)
    return added.filter(lambda example: example["has_attributes"])
