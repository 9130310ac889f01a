"""Templates of `explanation`: an item and its rating -> a sentence that explains it."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="explanation",
    seen=(
        Template("Explain why a user gave {rating} of 5 to {item}:"),
        Template("A user rates {item} with {rating} of 5. Say why in a sentence."),
        Template("What does someone say about {item} who gives it a mark of {rating}?"),
        Template("Write the reason for a score of {rating} for {item}:"),
    ),
    unseen=Template("Put in your own words how {item} came to earn {rating} out of five."),
)
