"""Records as text, and blanks of whole entities, on the small corpora."""

import datetime
import itertools
import re

import gin
import numpy as np
import pytest
import seqio
import small_corpus
import tensorflow as tf

from rec_align.pipeline import entity_masks, records, templates
from rec_align.pipeline.entity_values import entity_tokens
from rec_align.prompts.entity_infilling import FAMILY

LENGTHS = {"inputs": 512, "targets": 256}
SENTINEL = r"<extra_id_\d+>"


def facts(item: str, rating: float | None) -> list[str]:
    """The entities of an interaction, by hand; the times of the corpus are no dates."""
    title, brand, categories, _ = small_corpus.ITEMS[item]
    known = {"category": categories[-1:], "brand": [brand] * bool(brand), "item": [title]}
    known["rating"] = [] if rating is None else [str(rating)]
    return [f"{kind}: {value}" for kind, values in known.items() for value in values]


def train_record(user: str, rated: bool = True) -> list[list[str]]:
    history = small_corpus.HISTORIES[user]
    history = history[:-2] if len(history) > 2 else history
    return [facts(item, rating if rated else None) for item, rating in history]


USERS = {small_corpus.user_index(user): user for user in small_corpus.HISTORIES}


def examples(
    split: str, corpus: str = "small_shop", name: str = "", lengths=LENGTHS, **options
) -> list[dict]:
    task = seqio.get_mixture_or_task(f"{corpus}_entity_infilling{name}")
    dataset = task.get_dataset(lengths, split=split, shuffle=False, seed=0, **options)
    return list(dataset.as_numpy_iterator())


def texts(example: dict) -> tuple[str, str]:
    """The record without its prompt, and the target; checked against the tokens.

    So are the entities: values are, a blank is one whatever it hides, and labels are none.
    """
    vocabulary = seqio.get_mixture_or_task("small_shop_mim").output_features["inputs"].vocabulary
    found = []
    for side in ("inputs", "targets"):
        found.append(example[f"{side}_pretokenized"].decode())
        assert example[side][-1] == 1 and 1 not in example[side][:-1]
        assert vocabulary.decode(example[side].tolist()) == found[-1]
    prompt = next(p for p in prompts() if found[0].startswith(p))
    record = found[0].removeprefix(prompt)
    numbers, tokens = example["inputs_entities"], example["inputs"]
    values = [vocabulary.decode(tokens[numbers == n + 1].tolist()) for n in range(numbers.max())]
    assert values == re.split(rf"(?:^| )(?:{'|'.join(records.LABELS)}) ", record)[1:]
    return record, found[1]


def prompts() -> list[str]:
    return [template.inputs.removesuffix("{history}") for template in FAMILY.templates]


def spans_of(target: str) -> dict[str, str]:
    sentinels = re.findall(SENTINEL, target)
    assert sentinels == [f"<extra_id_{number}>" for number in range(len(sentinels))]
    return dict(zip(sentinels, re.split(f" ?{SENTINEL} ", target)[1:], strict=True))


def put_back(shown: str, spans: dict[str, str]) -> str:
    return re.sub(SENTINEL, lambda match: spans[match[0]], shown)


def masked_entities(shown: str, target: str, record: list[list[str]]) -> list[tuple[int, int]]:
    """Puts the spans back, and finds which entities they were; fails unless each is whole.

    Returns:
      (interaction, number of the entity in the run) of each that was hidden.
    """
    spans = spans_of(target)
    assert re.findall(SENTINEL, shown) == list(spans)  # each once, in the order of time
    restored = put_back(shown, spans)
    runs = [
        [(i, fact) for i, of_one in enumerate(record[begin:end]) for fact in of_one]
        for begin, end in itertools.combinations(range(len(record) + 1), 2)
    ]
    # Written as far as some entity of the newest interaction, but not in the middle of another.
    runs = [
        run[: len(run) - cut] for run in runs for cut in range(sum(i == run[-1][0] for i, _ in run))
    ]
    [run] = [run for run in runs if " ".join(fact for _, fact in run) == restored]
    hidden, number = [], 0
    while number < len(run):
        fact = run[number][1]
        label = fact.split(" ")[0]
        match = re.match(f"{label} ({SENTINEL})", shown)
        if match is None:
            assert shown.startswith(fact)
            shown, number = shown[len(fact) :].lstrip(), number + 1
            continue
        left = f"{label} {spans[match[1]]}"
        while left:
            fact = run[number][1]
            assert left.startswith(fact)
            hidden.append((run[number][0], number))
            left, number = left[len(fact) :].lstrip(), number + 1
        shown = shown[match.end() :].lstrip()
    assert not shown and hidden
    return hidden


@pytest.fixture
def level(request):
    shares = tuple(float(name == request.param) for name in entity_masks.LEVELS)
    with gin.unlock_config():
        gin.bind_parameter("hide_entities.level_shares", shares)
    yield request.param
    gin.clear_config()


def test_dates():
    times = [7, 31_535_999, 31_536_000, 951_782_400, 1_394_000_000, 4_102_444_799, 2**40]
    found = [text.decode() for text in records.date_texts(tf.constant(times, tf.int64)).numpy()]
    days = [datetime.datetime.fromtimestamp(time, datetime.UTC) for time in times[2:6]]
    assert found == ["", "", *(day.strftime("%Y-%m-%d") for day in days), ""]


def test_held_out_examples_end_with_the_entity_asked_for(small_shop):
    record = [facts(item, rating) for item, rating in small_corpus.HISTORIES["ann"]]
    before = " ".join(itertools.chain.from_iterable(record[:-1]))
    assert before.startswith("category: Kettles brand: Acme item: Red Kettle rating: 4 category:")
    answers = {  # the mirror has no brand
        "category": ("category: <extra_id_0>", "Mirrors"),
        "item": ("category: Mirrors item: <extra_id_0>", "Wall Mirror"),
        "rating": ("category: Mirrors item: Wall Mirror rating: <extra_id_0>", "5"),
    }
    for name in ("", "_unseen"):
        found = {int(e["user_index"]): e for e in examples("test", name=name)}
        assert set(found) == {small_corpus.user_index(u) for u in ("ann", "bob", "cat", "dan")}
        example = found[small_corpus.user_index("ann")]
        last, answer = answers[records.KINDS[example["entity_kind"]]]
        assert texts(example) == (f"{before} {last}", f"<extra_id_0> {answer}")
        prompt = example["inputs_pretokenized"].decode().split(" category")[0]
        assert (FAMILY.unseen if name else FAMILY.seen[0]).inputs == f"{prompt} {{history}}"


@pytest.mark.parametrize("level", entity_masks.LEVELS, indirect=True)
def test_train_examples_of_each_level(small_shop, level):
    """Every example can be put back together to a run of the train record, entity by entity."""
    num_hidden = set()
    for example in examples("train", num_epochs=40):
        record = train_record(USERS[int(example["user_index"])])
        shown, target = texts(example)
        hidden = masked_entities(shown, target, record)
        size = len(re.findall(r"\w+: ", put_back(shown, spans_of(target))))
        numbers = [number for _, number in hidden]
        num_hidden.add(len(hidden))
        if level == "entity":
            assert len(hidden) == max(1, round(0.15 * size))
        elif level == "sentence":  # these histories are short: 15 % of them is one interaction
            [interaction] = {i for i, _ in hidden}
            whole = len(record[interaction])
            is_last = numbers[-1] == size - 1
            assert len(hidden) == whole or is_last
        else:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert size / 2 <= len(hidden) <= size
    assert len(num_hidden) > 1


def test_draws_are_fresh_each_epoch_and_fixed_by_the_seed(small_shop):
    first = [texts(example) for example in examples("train", num_epochs=2)]
    assert first == [texts(example) for example in examples("train", num_epochs=2)]
    assert first[: len(first) // 2] != first[len(first) // 2 :]


def test_entities_stay_whole_where_the_target_is_short(small_shop):
    for example in examples("train", lengths={"inputs": 512, "targets": 24}, num_epochs=20):
        assert len(example["targets"]) <= 24
        masked_entities(*texts(example), train_record(USERS[int(example["user_index"])]))


def test_held_out_entities_longer_than_the_target_are_scored_whole(small_shop):
    """Their targets lose the tail, and nothing else changes: the metric gets every value."""
    task = seqio.get_mixture_or_task("small_shop_entity_infilling")
    short = {"inputs": 512, "targets": 2}
    for whole, cut in zip(examples("test"), examples("test", lengths=short), strict=True):
        assert cut["targets"].tolist() == [whole["targets"][0], 1]
        text = cut["targets_pretokenized"].decode()
        assert text == whole["targets_pretokenized"].decode()
        answer = task.postprocess_fn(text, example=cut, is_target=True)
        assert f"<extra_id_0> {answer['value']}" == texts(whole)[1]


def test_old_interactions_are_cut_whole(small_shop):
    cut = 0
    for example in examples("train", lengths={"inputs": 40, "targets": 256}, num_epochs=5):
        assert len(example["inputs"]) <= 40
        cut += example["num_cut_parts"]
        masked_entities(*texts(example), train_record(USERS[int(example["user_index"])]))
    assert cut


def test_what_is_not_known_is_left_out(small_shop):
    for example in examples("train", corpus="unrated_shop", num_epochs=3):
        shown, target = (example[f"{side}_pretokenized"].decode() for side in LENGTHS)
        assert not re.search(r"None|nan|rating:|date:", shown + target)


def test_draw_mask_draws_each_level_as_often_as_it_should():
    """Two interactions of five entities: one entity, five, or a run of six to ten of them.

    Half of ten, drawn to be rounded up, is six and more.
    """
    interactions = tf.repeat([4, 7], 5)
    draw = tf.function(
        lambda seed: entity_masks.draw_mask(interactions, seed, (0.5, 0.2, 0.3), 0.1)
    )
    counts = np.array([draw(tf.constant([i, 3])).numpy().sum() for i in range(600)])
    assert set(counts) == {1, 5, 6, 7, 8, 9, 10}
    error = (0.25 / 600) ** 0.5
    assert abs((counts == 1).mean() - 0.5) < 5 * error
    assert abs((counts > 5).mean() - 0.3) < 5 * error


def test_hidden_tokens_by_hand():
    """A a a B b C c: A and B hidden leave the label of A, C alone leaves its own."""
    numbers = tf.constant([0, 0, 0, 1, 1, 2, 2])
    is_value = tf.constant([False, True, True, False, True, False, True])
    for masked, hidden in (([1, 1, 0], [0, 1, 1, 1, 1, 0, 0]), ([0, 0, 1], [0, 0, 0, 0, 0, 0, 1])):
        found = entity_masks.hidden_tokens(tf.constant(masked) > 0, numbers, is_value)
        assert found.numpy().tolist() == [bool(value) for value in hidden]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"level_shares": (0.5, 0.5, 0.5)}, "three shares that sum to 1"),
        ({"masked_share": 0.0}, "masked_share=0.0: must lie between 0 and 1"),
    ],
)
def test_shares_that_cannot_be(options, error):
    with pytest.raises(ValueError, match=error):
        entity_masks.hide_entities(None, None, {}, **options)


def test_a_review_is_an_entity_of_its_interaction(small_shop):
    reviews = tf.data.Dataset.from_tensor_slices(
        {
            "user_index": np.zeros(2, np.int64),
            "item_index": np.full(2, small_corpus.item_index("k1"), np.int32),
            "rating": np.array([4, 4], np.float32),
            "timestamp": np.full(2, 1_394_000_000),
            "explanation": np.array(["It boils fast.", ""]),
            "seed": np.zeros((2, 2), np.int32),
        }
    )
    dataset = records.phrase_records(
        records.review_records(reviews), corpus="small_shop", ends_early=False
    )
    dataset = templates.fill_template(dataset, family=FAMILY, unseen=True)
    [example] = dataset.as_numpy_iterator()
    assert example["inputs_pretokenized"].decode() == (
        "Some facts were lost from this log; supply them. date: 2014-03-05 category: Kettles "
        "brand: Acme item: Red Kettle rating: 4 review: It boils fast."
    )


def test_the_values_of_each_kind(small_shop):
    vocabulary = seqio.get_mixture_or_task("small_shop_mim").output_features["inputs"].vocabulary
    found = {
        records.KINDS[kind]: {vocabulary.decode(row.tolist()) for row in rows}
        for kind, rows in entity_tokens(vocabulary).items()
    }
    brands = {brand for _, brand, _, _ in small_corpus.ITEMS.values() if brand}
    titles = {title for title, *_ in small_corpus.ITEMS.values()}
    assert found["brand"] == {f"<extra_id_0> {brand}" for brand in brands}
    assert found["item"] == {f"<extra_id_0> {title}" for title in titles}
    assert found["category"] >= {"<extra_id_0> Kettles", "<extra_id_0> Light"}
    assert found["rating"] >= {f"<extra_id_0> {rating}" for rating in range(1, 6)}
    # What held-out splits ask for is among them, token by token.
    rows = {
        kind: {tuple(r[r > 0]) for r in rows} for kind, rows in entity_tokens(vocabulary).items()
    }
    for example in examples("validation") + examples("test"):
        assert tuple(example["targets"]) in rows[int(example["entity_kind"])]
