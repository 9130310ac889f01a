"""Templates of `entity_infilling`: a record of interactions with blanks -> what fills them."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="entity_infilling",
    seen=(
        Template("Fill in the blanks: {history}"),
        Template("This record has blanks. Write what belongs there. {history}"),
        Template("Complete the record: {history}"),
        Template("What do the blanks of this record stand for? {history}"),
    ),
    unseen=Template("Some facts were lost from this log; supply them. {history}"),
)
