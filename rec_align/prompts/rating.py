"""Templates of `rating`: rated history, then an item -> its rating, 1 to 5.

The history, which ends in the item asked about, stands last, so that one table serves both the
block-causal mode (a rating is asked after every title) and the bidirectional one.
"""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="rating",
    seen=(
        Template("Predict the last rating from 1 to 5. {history}"),
        Template("How many points of 5 come next? Ratings: {history}"),
        Template("Complete this user's scores, 1 is worst and 5 is best: {history}"),
        Template("One person's marks for items, 5 at most. Give the missing one. {history}"),
    ),
    unseen=Template("Guess the score that ends this list, one to five: {history}"),
)
