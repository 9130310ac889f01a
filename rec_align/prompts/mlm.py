"""Templates of `mlm`, masked language modelling: history text with gaps -> the missing text."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="mlm",
    seen=(
        Template("Fill in the missing text: {history}"),
        Template("Parts of these names are hidden. Write them. {history}"),
        Template("Repair the text: {history}"),
        Template("Which words are left out? {history}"),
    ),
    unseen=Template("The list below has holes in it; give what was there. {history}"),
)
