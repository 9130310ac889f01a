"""Templates of `bpr`, pairwise preference: a history and two items -> the better liked one."""

from rec_align.prompts.template import Family, Template

FAMILY = Family(
    name="bpr",
    seen=(
        Template("History: {history} Does the user prefer {first} or {second}?"),
        Template("Choose {first} or {second} for a user with this history: {history}"),
        Template("What suits better, {first} or {second}? Earlier choices: {history}"),
        Template("After {history} which is liked more: {first} or {second}?"),
    ),
    unseen=Template("Decide between {first} and {second} knowing these choices: {history}"),
)
