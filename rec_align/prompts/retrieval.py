"""Templates of `retrieval`: a history -> the next item.

The history stands last, so that one table serves both the block-causal mode (a target after every
item, each seeing the prompt and the items before it) and the bidirectional ones.
"""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="retrieval",
    seen=(
        Template("Recommend the next item. History: {history}"),
        Template("Continue the list with what this user picks next: {history}"),
        Template("Which item comes after these? {history}"),
        Template("Someone chose, oldest first, the following. Name the next choice. {history}"),
        Template("Suggest one more item that fits: {history}"),
    ),
    unseen=Template("A customer went through these in turn; say what follows: {history}"),
)
