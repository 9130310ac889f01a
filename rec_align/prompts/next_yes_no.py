"""Templates of `next_yes_no`: a history and an item -> is it the next one, yes or no."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="next_yes_no",
    seen=(
        Template("History: {history} Is {item} chosen next? Yes or no."),
        Template("Yes or no: does {item} come after these? {history}"),
        Template("After {history} does the user pick {item} or not?"),
        Template("Someone chose, oldest first, {history} Say yes if {item} follows, else no."),
    ),
    unseen=Template("A customer went through {history} in turn; could {item} be the very next?"),
)
