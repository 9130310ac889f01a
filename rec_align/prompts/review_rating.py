"""Templates of `review_rating`: the text of a review -> the rating that came with it, 1 to 5.

The review stands last, so that of a long one its end is cut off and not the question.
"""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="review_rating",
    seen=(
        Template("Rate from 1 to 5 as the user did who wrote this review: {review}"),
        Template("How many points of 5 go with these words? {review}"),
        Template("Give the score of this review, 1 is worst and 5 is best: {review}"),
        Template("Which mark, 1 to 5, fits the review? {review}"),
    ),
    unseen=Template("Guess how content the author below was, one to five. {review}"),
)
