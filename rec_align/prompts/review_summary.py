"""Templates of `review_summary`: the text of a review -> its headline.

The review stands last, so that of a long one its end is cut off and not the question.
"""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="review_summary",
    seen=(
        Template("Sum up this review: {review}"),
        Template("Write a headline for this review: {review}"),
        Template("What does the user say, in a few words? {review}"),
        Template("Give a short title to these words: {review}"),
    ),
    unseen=Template("Boil the opinion below down to its gist. {review}"),
)
