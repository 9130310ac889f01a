"""Templates of `ranking`: a history and numbered candidates -> the candidate the user likes."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="ranking",
    seen=(
        Template("Pick the candidate that fits the history. {candidates} History: {history}"),
        Template("History: {history} Which one of these is chosen next? {candidates}"),
        Template("Among {candidates} find the one liked by a user who liked {history}"),
        Template("One of these items was taken next: {candidates} Before it came {history}"),
    ),
    unseen=Template("After {history} the user had these options: {candidates} Name the favourite."),
)
