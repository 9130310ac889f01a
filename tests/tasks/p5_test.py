"""P5's families: golden text of each task, answers as often yes as no, and what no task may see."""

import collections
import re

import gin
import pytest
import seqio
import small_corpus
from small_corpus import title, user_index

from rec_align.data.corpus import read_catalogue
from rec_align.pipeline.batches import train_batches
from rec_align.prompts import FAMILIES
from tasks import mixtures

LENGTHS = {"inputs": 256, "targets": 64}
YES_NO = ("next_yes_no", "direct_yes_no")
OF_REVIEWS = ("explanation", "feature_explanation", "review_summary", "review_rating")
NEW = ("like", *YES_NO, *OF_REVIEWS)


def examples(name: str, split: str, lengths=LENGTHS, **options) -> list[dict]:
    options = {"shuffle": False, "seed": 0} | options
    dataset = seqio.get_mixture_or_task(name).get_dataset(lengths, split=split, **options)
    return list(dataset.as_numpy_iterator())


def texts(example: dict) -> tuple[str, str]:
    return example["inputs_pretokenized"].decode(), example["targets_pretokenized"].decode()


def test_like(small_shop):
    found = {int(e["user_index"]): texts(e) for e in examples("small_shop_like", "test")}
    assert found[user_index("ann")] == (
        "Is the last item liked, with 4 or 5 points? Yes or no. Red Kettle: 4; Iron Pan: 5; "
        "Desk Lamp; Garden Chair: 2; Tea Table: 3; Wall Mirror:",
        "yes",
    )
    # cat's last item has no rating, eve's only two are in train.
    assert found.keys() == {user_index(user) for user in ("ann", "bob", "dan")}


def test_like_asks_about_every_rated_item(small_shop):
    asked = collections.defaultdict(list)
    for example in examples("small_shop_like", "train"):
        asked[int(example["user_index"])] += texts(example)[1].split(" | ")
    assert asked[user_index("bob")] == ["no"] * 3  # rated 1 2 3
    assert asked[user_index("dan")] == ["yes"] * 4 + ["no"] * 2  # 5 4 4 4 1 2


def sequence_of(example: dict) -> list[str]:
    """The titles of the example's user, in their order."""
    (user,) = [u for u in small_corpus.HISTORIES if user_index(u) == example["user_index"]]
    return [title(item) for item, _ in small_corpus.HISTORIES[user]]


def test_next_yes_no(small_shop):
    answers = set()
    for example in examples("small_shop_next_yes_no", "test"):
        inputs, answer = texts(example)
        taken = sequence_of(example)
        before = "".join(f" {name};" for name in taken[:-1])
        item = re.fullmatch(rf"History:{before} Is (.*) chosen next\? Yes or no\.", inputs)[1]
        assert item == taken[-1] if answer == "yes" else item not in taken
        answers.add(answer)
    assert answers == {"yes", "no"}


def test_direct_yes_no(small_shop):
    """The history is the user's other items, in another order than theirs."""
    orders = []
    for example in examples("small_shop_direct_yes_no", "test"):
        inputs, answer = texts(example)
        pattern = r"Someone chose, in no order, (.*); Recommend (.*) to them\? Yes or no\."
        shown, item = re.fullmatch(pattern, inputs).groups()
        taken = sequence_of(example)
        assert sorted(shown.split("; ")) == sorted(taken[:-1])
        assert item == taken[-1] if answer == "yes" else item not in taken
        orders.append(shown.split("; ") == taken[:-1])
    assert not all(orders)


@pytest.mark.parametrize("task", YES_NO)
def test_yes_and_no_are_balanced_and_follow_the_seed(small_shop, task):
    found = examples(f"small_shop_{task}", "train", num_epochs=60)
    assert len(found) == 60 * len(small_corpus.HISTORIES)
    share = sum(texts(e)[1] == "yes" for e in found) / len(found)
    assert abs(share - 0.5) < 4 * 0.5 / len(found) ** 0.5
    again = examples(f"small_shop_{task}", "train")
    assert [texts(e) for e in again] == [texts(e) for e in found[: len(again)]]
    items = read_catalogue("small_shop").texts
    for example in found:
        asked = int(example["candidate_item_indices"][0])
        of_user = set(example["seen_item_indices"].tolist())
        assert (asked in of_user) == (texts(example)[1] == "yes")
        assert asked not in example["history_item_indices"]
        assert f"{items[asked]};" not in texts(example)[0]


@pytest.mark.parametrize("task", ["like", "direct_yes_no"])
def test_both_answers_can_be_scored(small_shop, task):
    vocabulary = seqio.get_mixture_or_task(f"small_shop_{task}").output_features["targets"]
    for example in examples(f"small_shop_{task}", "test"):
        no, yes = (row[row > 1].tolist() for row in example["candidate_tokens"])
        assert [vocabulary.vocabulary.decode(tokens) for tokens in (no, yes)] == ["no", "yes"]
        right = yes if texts(example)[1] == "yes" else no
        assert example["targets"].tolist() == [*right, 1]


def test_explanations(review_shop):
    found = {texts(e) for e in examples("review_shop_explanation", "test")}
    assert found == {("Explain why a user gave 4 of 5 to Horn:", "The sound is deep and warm.")}
    found = {texts(e) for e in examples("review_shop_feature_explanation", "test")}
    wording = "Explain with the word sound why a user gave 4 of 5 to Horn:"
    assert found == {(wording, "The sound is deep and warm.")}


def test_reviews(review_shop):
    found = {texts(e) for e in examples("review_shop_review_summary", "test")}
    assert found == {("Sum up this review: The sound is deep and warm.", "Warm")}
    found = {texts(e) for e in examples("review_shop_review_rating", "test")}
    wording = "Rate from 1 to 5 as the user did who wrote this review:"
    assert found == {(f"{wording} The sound is deep and warm.", "4")}


def test_reviews_are_of_their_split(review_shop):
    """Train knows the first two items of each user, whose words the test split has not."""
    found = {task: examples(f"review_shop_{task}", "train") for task in OF_REVIEWS}
    assert {task: len(of_task) for task, of_task in found.items()} == {
        "explanation": 8,  # not the reviews of the drum
        "feature_explanation": 8,
        "review_summary": 8,  # nor have those a headline
        "review_rating": 16,
    }
    for of_task in found.values():
        for text in map(" ".join, map(texts, of_task)):
            assert "Horn" not in text and "warm" not in text.lower()
    for example in found["explanation"]:
        assert re.fullmatch(r"I like the sound of this amp, says \d\.", texts(example)[1])


def test_a_long_review_loses_its_end_and_not_the_question(review_shop):
    name = "review_shop_review_rating"
    vocabulary = seqio.TaskRegistry.get(name).output_features["inputs"].vocabulary
    num_cut = 0
    for example in examples(name, "train", {"inputs": 12, "targets": 8}):
        whole = texts(example)[0]
        *kept, last = example["inputs"].tolist()
        assert last == 1 and len(kept) <= 11 and whole.startswith(vocabulary.decode(kept))
        num_cut += len(vocabulary.decode(kept)) < len(whole)
    assert num_cut >= 8  # the reviews of the amp


@pytest.mark.parametrize("task", NEW)
def test_training_draws_among_the_seen_templates(review_shop, task):
    """Each example of the train split is one of them, word for word but for its fields."""
    patterns = [
        re.sub(r"\\\{\w+\\\}", ".*", re.escape(template.inputs)) for template in FAMILIES[task].seen
    ]
    drawn = collections.Counter()
    for example in examples(f"review_shop_{task}", "train", num_epochs=4):
        (pattern,) = [p for p in patterns if re.fullmatch(p, texts(example)[0])]
        drawn[pattern] += 1
    assert len(drawn) == len(patterns)
    unseen = seqio.TaskRegistry.get(f"review_shop_{task}_unseen")
    assert "test" in unseen.splits and "train" not in unseen.splits


def test_evaluation_with_the_unseen_template(review_shop):
    (found,) = {texts(e) for e in examples("review_shop_feature_explanation_unseen", "test")}
    assert found == (
        "What about sound made Horn earn 4 out of five?",
        "The sound is deep and warm.",
    )


@pytest.mark.parametrize("task", ["like", "retrieval"])
def test_users_are_named_only_where_asked_for(review_shop, task):
    name = f"review_shop_{task}"
    plain = examples(name, "test")
    with gin.unlock_config():
        gin.bind_parameter("name_users.enabled", True)
    try:
        named = examples(name, "test")
    finally:
        gin.clear_config()
    for without, example in zip(plain, named, strict=True):
        prefix = f"User {example['user_index']}. "
        assert texts(example) == (prefix + texts(without)[0], texts(without)[1])
        size = len(without["inputs"])
        assert example["inputs"][-size:].tolist() == without["inputs"].tolist()
        assert (example["inputs_blocks"][:-size] == 0).all()


def test_rates():
    assert sum(mixtures.P5_RATES.values()) == pytest.approx(1)
    assert set().union(*mixtures.P5_FAMILIES.values()) == set(mixtures.P5_RATES)
    assert set(NEW) < set(mixtures.P5_RATES)
    direct = seqio.MixtureRegistry.get("ml_100k_p5_direct")
    assert {task.name for task in direct.tasks} == {"ml_100k_ranking", "ml_100k_direct_yes_no"}


def usable(mixture: str) -> set[str]:
    """The tasks of a mixture that can be trained, without the corpus's name."""
    tasks = seqio.get_subtasks(seqio.MixtureRegistry.get(mixture))
    corpus = mixture.removesuffix("_p5")
    return {t.name.removeprefix(f"{corpus}_") for t in tasks if "train" in t.splits}


def test_the_mixture_has_what_the_corpus_has(small_shop, review_data_dir, monkeypatch):
    without_reviews = set(mixtures.P5_RATES) - set(OF_REVIEWS)
    assert usable("small_shop_p5") == without_reviews
    assert usable("unrated_shop_p5") == without_reviews - {"rating", "like"}
    monkeypatch.setenv("TFDS_DATA_DIR", str(review_data_dir))
    assert usable("review_shop_p5") == set(mixtures.P5_RATES)


def test_a_mixture_of_reviews_trains(review_shop):
    batches = train_batches(
        "review_shop_p5_explanation",
        **{"task_feature_lengths": LENGTHS, "batch_size": 2, "seed": 0, "round_steps": 1},
    )
    row = next(batches)["encoder_input_tokens"][0]
    vocabulary = seqio.TaskRegistry.get("review_shop_explanation").output_features["inputs"]
    assert "Amp" in vocabulary.vocabulary.decode(row[row > 1].tolist())


def test_a_family_that_a_corpus_lacks_says_so(small_shop):
    with pytest.raises(ValueError, match="'small_shop' has no reviews"):
        examples("small_shop_explanation", "train")
    with pytest.raises(ValueError, match=r"small_shop_p5_review.*none_without_reviews"):
        examples("small_shop_p5_review", "train")
