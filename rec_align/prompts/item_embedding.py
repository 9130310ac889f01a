"""Templates of `item_embedding`: what an item is, both ways round.

Fields: `title` (the item as it is written: its unique title, or the codes of an item index),
`categories`, `brand`, `year`, and `attributes`, which is all of the last three that the item has,
and its title where it is written by codes. A template is drawn only for items that have its fields.
"""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="item_embedding",
    seen=(
        Template("What kind of item is {title}?", "{categories}"),
        Template("Categories of {title}:", "{categories}"),
        Template("Who makes {title}?", "{brand}"),
        Template("Brand of {title}:", "{brand}"),
        Template("When did {title} come out?", "{year}"),
        Template("Describe {title}:", "{attributes}"),
        Template("Name an item with {attributes}", "{title}"),
        Template("Which item is this? {attributes}", "{title}"),
    ),
    unseen=Template("Find something that matches: {attributes}", "{title}"),
)
