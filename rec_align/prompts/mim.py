"""Templates of `mim`, masked item modelling: a history with holes -> the items that fill them."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="mim",
    seen=(
        Template("Fill in the missing items: {history}"),
        Template("Some choices in this history are hidden. Name them. {history}"),
        Template("Which items stood in the gaps? {history}"),
        Template("Restore the list: {history}"),
    ),
    unseen=Template("A few entries were blanked out; bring them back. {history}"),
)
