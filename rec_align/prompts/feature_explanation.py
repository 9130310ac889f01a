"""Templates of `feature_explanation`: an item, its rating and a feature -> a sentence about it."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="feature_explanation",
    seen=(
        Template("Explain with the word {feature} why a user gave {rating} of 5 to {item}:"),
        Template("A user rates {item} with {rating} of 5. Speaking of the {feature}, why?"),
        Template("What does someone who rates {item} with {rating} say about its {feature}?"),
        Template("Write a sentence with {feature} that fits a score of {rating} for {item}:"),
    ),
    unseen=Template("What about {feature} made {item} earn {rating} out of five?"),
)
