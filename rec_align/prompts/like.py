"""Templates of `like`: rated history, then an item -> is it liked, yes or no.

The history, which ends in the item asked about, stands last, as in `rating`.
"""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="like",
    seen=(
        Template("Is the last item liked, with 4 or 5 points? Yes or no. {history}"),
        Template("Say yes if the user gives the next rating 4 or more, else no. {history}"),
        Template("One person's marks for items, 5 at most. Does the last one please? {history}"),
        Template("Yes or no: is what ends this list to the user's taste? Scores: {history}"),
    ),
    unseen=Template("Would the closing item make its owner happy? Reply yes or no. {history}"),
)
