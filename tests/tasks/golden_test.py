"""The text of one example of every task, written by hand from `small_corpus`.

Where a task draws, the draw is read off the example (which negatives, which mask) and the text
around it is written out; what is drawn is tested in tests/pipeline.
"""

import functools
import itertools
import re

import gin
import pytest
import seqio
import small_corpus
from small_corpus import title, user_index

LENGTHS = {"inputs": 512, "targets": 256}


def examples(name: str, split: str, **options) -> list[dict]:
    return drawn(name, split, gin.config_str(), **options)


@functools.cache
def drawn(name: str, split: str, bindings: str, **options) -> list[dict]:
    """Once for all tests with these gin bindings: a dataset takes a second to open."""
    task = seqio.get_mixture_or_task(name)
    dataset = task.get_dataset(LENGTHS, split=split, shuffle=False, seed=0, **options)
    return list(dataset.as_numpy_iterator())


def example_of(name: str, split: str, user: str) -> dict:
    found = [e for e in examples(name, split) if e["user_index"] == user_index(user)]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def few_candidates():
    """4 candidates: the corpus has 12 items, fewer than usual."""
    with gin.unlock_config():
        gin.bind_parameter("ranking_candidates.num_candidates", 4)
        gin.bind_parameter("unlisted_candidates.num_candidates", 4)
    yield
    gin.clear_config()


def texts(example: dict) -> tuple[str, str]:
    return example["inputs_pretokenized"].decode(), example["targets_pretokenized"].decode()


def test_retrieval_test_split(small_shop):
    example = example_of("small_shop_retrieval", "test", "ann")
    assert texts(example) == (
        "Recommend the next item. "
        "History: Red Kettle; Iron Pan; Desk Lamp; Garden Chair; Tea Table;",
        "Wall Mirror",
    )
    assert example["in_catalogue"] == 1
    assert example["targets_blocks"].tolist() == [6] * len(example["targets"])


def test_retrieval_validation_split(small_shop):
    assert texts(example_of("small_shop_retrieval", "validation", "ann")) == (
        "Recommend the next item. History: Red Kettle; Iron Pan; Desk Lamp; Garden Chair;",
        "Tea Table",
    )


def test_retrieval_train_targets_are_the_train_sequences(small_shop):
    """Windows of 50 from a random phase: each user's runs together are his train sequence."""
    found: dict[int, list[str]] = {}
    for example in examples("small_shop_retrieval", "train"):
        inputs, targets = texts(example)
        targets = targets.split(" | ")
        found.setdefault(int(example["user_index"]), []).extend(targets)
        assert inputs.endswith("".join(f" {name};" for name in targets[:-1]))
    assert found == {
        user_index(user): [title(item) for item, _ in history[: -2 if len(history) > 2 else None]]
        for user, history in small_corpus.HISTORIES.items()
    }


def test_retrieval_unseen(small_shop):
    task = seqio.get_mixture_or_task("small_shop_retrieval_unseen")
    assert tuple(task.splits) == ("validation", "test")
    inputs, targets = texts(example_of(task.name, "test", "cat"))
    assert inputs == (
        "A customer went through these in turn; say what follows: "
        "Side Table; Tea Table; Garden Chair;"
    )
    assert targets == "Copper Pan"


def test_rating_test_split(small_shop):
    example = example_of("small_shop_rating", "test", "ann")
    assert texts(example) == (
        "Predict the last rating from 1 to 5. Red Kettle: 4; Iron Pan: 5; Desk Lamp; "
        "Garden Chair: 2; Tea Table: 3; Wall Mirror:",
        "5",
    )
    assert example["rating"] == 5.0


def test_rating_leaves_out_unrated_targets(small_shop):
    """cat's last item has no rating."""
    found = {int(e["user_index"]) for e in examples("small_shop_rating", "test")}
    assert found == {user_index(user) for user in ("ann", "bob", "dan")}


def test_rating_train_split(small_shop):
    """bob's train items are k2, k1 and l2; how they are cut depends on the phase."""
    inputs, targets = zip(
        *(
            texts(e)
            for e in examples("small_shop_rating", "train")
            if e["user_index"] == user_index("bob")
        ),
        strict=True,
    )
    assert "|".join(targets).replace(" ", "") == "1|2|3"
    if len(inputs) == 1:
        assert inputs[0].endswith("Blue Kettle: 1; Red Kettle: 2; Floor Lamp:")


def test_ranking_test_split(small_shop, few_candidates):
    example = example_of("small_shop_ranking", "test", "ann")
    inputs, target = texts(example)
    candidates, history = re.fullmatch(
        r"Pick the candidate that fits the history\. (.*) History: (.*)", inputs
    ).groups()
    assert history == "Red Kettle; Iron Pan; Desk Lamp; Garden Chair; Tea Table;"
    names = re.fullmatch(r"1\. (.*); 2\. (.*); 3\. (.*); 4\. (.*);", candidates).groups()
    assert target == "Wall Mirror" == names[example["target_position"]]
    unseen = {name for name, *_ in small_corpus.ITEMS.values()} - set(history[:-1].split("; "))
    assert len(set(names)) == 4 and set(names) <= unseen


def test_candidates_test_split(small_shop, few_candidates):
    """Retrieval's prompt, with candidates that it does not list, what came next among them."""
    example = example_of("small_shop_candidates", "test", "ann")
    assert texts(example) == texts(example_of("small_shop_retrieval", "test", "ann"))
    target = example["candidate_tokens"][example["target_position"]]
    assert target[target > 0].tolist() == example["targets"].tolist()
    other = example_of("small_shop_ranking", "test", "ann")["candidate_item_indices"]
    assert example["candidate_item_indices"].tolist() != other.tolist()  # drawn for itself


def test_bpr_test_split(small_shop):
    example = example_of("small_shop_bpr", "test", "bob")
    inputs, target = texts(example)
    assert target == "Arm Chair"
    first, second = re.fullmatch(
        r"History: Blue Kettle; Red Kettle; Floor Lamp; Night Light; "
        r"Does the user prefer (.*) or (.*)\?",
        inputs,
    ).groups()
    assert (first, second)[example["target_position"]] == "Arm Chair"
    taken = {title(item) for item, _ in small_corpus.HISTORIES["bob"]}
    assert len({first, second} & taken) == 1


def test_mim_test_split(small_shop):
    """17 % of 6 items is 1."""
    inputs, target = texts(example_of("small_shop_mim", "test", "ann"))
    whole = "Red Kettle; Iron Pan; Desk Lamp; Garden Chair; Tea Table; Wall Mirror;"
    hidden = re.fullmatch("<extra_id_0> (.*)", target)[1]
    assert inputs == "Fill in the missing items: " + whole.replace(hidden, "<extra_id_0>")


def test_mlm_test_split(small_shop):
    """Putting the spans back gives the text; spans are sentinels in ascending order."""
    example = example_of("small_shop_mlm", "test", "dan")
    inputs, target = texts(example)
    assert inputs.startswith("Fill in the missing text: ") and "<extra_id_0>" in inputs
    assert target.startswith("<extra_id_0> ")
    vocabulary = seqio.get_mixture_or_task("small_shop_mlm").output_features["inputs"].vocabulary
    first = vocabulary.vocab_size - 1
    spans, key = {}, None
    for token in example["targets"][:-1].tolist():
        if token > first - 100:
            key = token
            spans[key] = []
        else:
            spans[key].append(token)
    assert list(spans) == [first - i for i in range(len(spans))]
    restored = [t for token in example["inputs"][:-1].tolist() for t in spans.get(token, [token])]
    parts = ["Fill in the missing text:"]
    parts += [f"{title(item)};" for item, _ in small_corpus.HISTORIES["dan"]]
    assert restored == [t for part in parts for t in vocabulary.encode(part)]
    assert example["inputs"][-1] == example["targets"][-1] == 1


def test_item_embedding(small_shop):
    """Each text is one of those that can be written by hand for its item."""
    known = {
        "Floor Lamp": {
            ("What kind of item is Floor Lamp?", "Light"),
            ("Categories of Floor Lamp:", "Light"),
            ("Who makes Floor Lamp?", "Lumo"),
            ("Brand of Floor Lamp:", "Lumo"),
            ("When did Floor Lamp come out?", "2011"),
            ("Describe Floor Lamp:", "categories: Light; brand: Lumo; year: 2011;"),
            ("Name an item with categories: Light; brand: Lumo; year: 2011;", "Floor Lamp"),
            ("Which item is this? categories: Light; brand: Lumo; year: 2011;", "Floor Lamp"),
        },
        "Copper Pan": {
            ("What kind of item is Copper Pan?", "Kitchen, Pans"),
            ("Categories of Copper Pan:", "Kitchen, Pans"),
            ("Describe Copper Pan:", "categories: Kitchen, Pans;"),
            ("Name an item with categories: Kitchen, Pans;", "Copper Pan"),
            ("Which item is this? categories: Kitchen, Pans;", "Copper Pan"),
        },
    }
    written = {name: set() for name in known}
    count = 0
    for example in examples("small_shop_item_embedding", "train", num_epochs=60):
        count += 1
        inputs, target = texts(example)
        for name in known:
            if name in inputs or name == target:
                written[name].add((inputs, target))
    # The garden chair has no attribute, and the arm chair is not in train.
    assert count == 60 * (len(small_corpus.ITEMS) - 2)
    assert written == known


@pytest.mark.parametrize("family", ["retrieval", "rating", "mim"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_no_target_is_seen_before_it_is_asked(small_shop, family, split):
    """Nothing that a target may see holds its text; no item repeats in this corpus."""
    vocabulary = (
        seqio.get_mixture_or_task(f"small_shop_{family}").output_features["inputs"].vocabulary
    )
    for example in examples(f"small_shop_{family}", split):
        start = 0
        for end in (example["targets"] == 1).nonzero()[0]:
            answer = vocabulary.decode(example["targets"][start:end].tolist())
            visible = example["inputs_blocks"] < example["targets_blocks"][end]
            seen = vocabulary.decode(example["inputs"][visible].tolist())
            if family == "rating":  # '3' may well be seen: it is an earlier item's
                assert seen.endswith(":")
            else:
                answers = re.split(r" ?<extra_id_\d> ", answer)[-1:]
                assert answers[0] and answers[0] not in seen
            start = end + 1


@pytest.mark.parametrize(
    ("family", "split"),
    [
        *itertools.product(("ranking", "bpr"), ("train", "validation", "test")),
        *(("candidates", split) for split in ("validation", "test")),
    ],
)
def test_candidates_hold_one_item_of_the_user(small_shop, few_candidates, family, split):
    for example in examples(f"small_shop_{family}", split):
        target = example["target_item_index"]
        assert target not in example["history_item_indices"]
        candidates = example["candidate_item_indices"].tolist()
        assert candidates[example["target_position"]] == target
        assert len(set(candidates)) == len(candidates)
        assert not set(candidates) - {target} & set(example["seen_item_indices"].tolist())
