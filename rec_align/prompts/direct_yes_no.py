"""Templates of `direct_yes_no`: what a user chose, in no order, and an item -> yes or no."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="direct_yes_no",
    seen=(
        Template("Someone chose, in no order, {history} Recommend {item} to them? Yes or no."),
        Template("Does {item} suit a user with these choices? {history}"),
        Template("Yes or no: would a user who liked {history} like {item} as well?"),
        Template("Choices in any order: {history} Say yes if {item} fits, else no."),
    ),
    unseen=Template("Shall {item} be offered to a person who owns {history} or rather not?"),
)
