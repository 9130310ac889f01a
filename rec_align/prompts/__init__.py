"""The text of every task: one table of templates a family, wording neutral across domains.

Text only: nothing here imports TensorFlow, JAX or SeqIO. `template` says what a template is.
"""

from rec_align.prompts import (
    bpr,
    direct_yes_no,
    entity_infilling,
    explanation,
    feature_explanation,
    item_embedding,
    like,
    mim,
    mlm,
    next_yes_no,
    ranking,
    rating,
    retrieval,
    review_rating,
    review_summary,
)
from rec_align.prompts.template import Family, Slot, Template, parse

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY
    for module in (
        *(retrieval, ranking, rating, mim, mlm, bpr, item_embedding),
        *(like, next_yes_no, direct_yes_no),
        *(explanation, feature_explanation, review_summary, review_rating),
        entity_infilling,
    )
}

# What the pipeline writes besides templates and items: list numbers, ratings, answers, names.
FIXED_TEXTS = (
    *(f"{number}." for number in range(1, 21)),
    *(f"{rating};" for rating in range(1, 6)),
    *(f"{rating}" for rating in range(1, 6)),
    *("yes", "no"),
    *("categories:", "brand:", "year:"),
    *("date:", "category:", "item:", "rating:", "review:"),
)

__all__ = ["FAMILIES", "FIXED_TEXTS", "Family", "Slot", "Template", "all_texts", "parse"]


def all_texts() -> list[str]:
    """All text that training can write besides items, cut at the placeholders.

    For vocabulary training, so the unseen templates are left out: no token may stand for wording
    that the model never meets.

    Returns:
      Every piece of every seen template, and `FIXED_TEXTS`; no piece is empty.
    """
    slots = [
        slot
        for family in FAMILIES.values()
        for template in family.seen
        for slot in template.input_slots
    ]
    pieces = [text for slot in slots for text in (slot.prefix, slot.text, slot.suffix)]
    return [piece for piece in pieces if piece] + list(FIXED_TEXTS)
