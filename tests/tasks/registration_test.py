import gin
import numpy as np
import pytest
import seqio

import tasks
from rec_align.pipeline.batches import train_batches
from tasks import mixtures

LENGTHS = {"inputs": 128, "targets": 64}


@pytest.fixture
def two_candidates():
    with gin.unlock_config():
        gin.bind_parameter("ranking_candidates.num_candidates", 2)
    yield
    gin.clear_config()


def test_registering_twice_does_nothing(small_shop):
    before = seqio.TaskRegistry.get("small_shop_retrieval")
    tasks.register_corpus("small_shop")
    assert seqio.TaskRegistry.get("small_shop_retrieval") is before


def test_register_built_corpora_finds_what_is_built(small_shop):
    assert tasks.register_built_corpora() == ["small_shop", "unrated_shop"]


def test_unseen_tasks_cannot_be_trained_on(small_shop):
    with pytest.raises(ValueError, match="this task has validation, test"):
        seqio.TaskRegistry.get("small_shop_ranking_unseen").get_dataset(LENGTHS, split="train")


def test_a_corpus_that_is_not_built_is_named():
    tasks.register_corpus("nowhere")
    with pytest.raises(ValueError, match="rec-align data build nowhere"):
        seqio.TaskRegistry.get("nowhere_retrieval").get_dataset(LENGTHS, split="train")


def test_rates_are_explicit_and_complete():
    assert sum(mixtures.RATES.values()) == pytest.approx(1)
    assert {*mixtures.RECOMMENDATION, *mixtures.AUXILIARY} == set(mixtures.RATES)
    names = {f"small_shop_{name}" for name in mixtures.MIXTURES}
    assert names <= set(seqio.MixtureRegistry.names())
    without_mim = seqio.MixtureRegistry.get("ml_100k_aligned_without_mim")
    assert {task.name for task in without_mim.tasks} == {
        f"ml_100k_{name}" for name in mixtures.RATES if name != "mim"
    }


def test_half_of_a_mixture_is_auxiliary_in_the_usual_proportions():
    half = mixtures.HALF_AUXILIARY_RATES
    for kind in (mixtures.RECOMMENDATION, mixtures.AUXILIARY):
        assert sum(half[task] for task in kind) == pytest.approx(0.5)
        ratios = [half[task] / mixtures.RATES[task] for task in kind]
        assert ratios == pytest.approx([ratios[0]] * len(kind))


def test_recsysllm_and_the_evaluation_of_templates():
    assert sum(mixtures.RECSYSLLM_RATES.values()) == pytest.approx(1)
    mixture = seqio.MixtureRegistry.get("ml_100k_recsysllm")
    assert {task.name for task in mixture.tasks} == {
        f"ml_100k_{name}" for name in mixtures.RECSYSLLM_RATES
    }
    names = {task.name for task in seqio.MixtureRegistry.get("ml_100k_templates").tasks}
    seen = {name for name in names if not name.endswith("_unseen")}
    assert names == seen | {f"{name}_unseen" for name in seen}
    assert {f"ml_100k_{name}" for name in (*mixtures.RECOMMENDATION, "entity_infilling")} <= seen


def test_next_item_is_retrieval_and_its_candidates():
    mixture = seqio.MixtureRegistry.get("ml_100k_next_item")
    assert {task.name for task in mixture.tasks} == {"ml_100k_retrieval", "ml_100k_candidates"}
    assert {"train"} & set(seqio.TaskRegistry.get("ml_100k_candidates").splits) == set()


def test_no_rating_task_without_ratings(small_shop):
    rating = seqio.TaskRegistry.get("unrated_shop_rating")
    with pytest.raises(ValueError, match="corpus 'unrated_shop' has no ratings"):
        rating.get_dataset(LENGTHS, split="train")
    assert not {"train", "validation", "test"} & set(rating.splits)


def test_mixture_without_ratings_trains(small_shop, two_candidates):
    batch = next(
        train_batches(
            "unrated_shop_aligned",
            task_feature_lengths=LENGTHS,
            batch_size=2,
            seed=0,
            round_steps=1,
        )
    )
    assert batch["encoder_input_tokens"].shape == (2, 128)
    vocabulary = (
        seqio.MixtureRegistry.get("unrated_shop_aligned").output_features["inputs"].vocabulary
    )
    text = vocabulary.decode(
        batch["encoder_input_tokens"][batch["encoder_input_tokens"] > 1].tolist()
    )
    assert "1 to 5" not in text


def test_no_leak_on_ml_100k(ml_100k_dir, monkeypatch):
    """A train example never has the user's validation or test item as a target, nor in its text.

    What each user held out is read from the TFDS files, what is trained on from the tasks' text.
    """
    import tensorflow_datasets as tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
    from rec_align.data.corpus import read_catalogue

    catalogue = read_catalogue("ml_100k")
    held_out: dict[int, set[int]] = {}
    for split in ("validation", "test"):
        for e in tfds.as_numpy(tfds.load("ml_100k", split=split, data_dir=ml_100k_dir)):
            held_out.setdefault(int(e["user_index"]), set()).add(int(e["item_indices"][-1]))
    assert len(held_out) == 943
    task = seqio.TaskRegistry.get("ml_100k_retrieval")
    dataset = task.get_dataset(
        {"inputs": 1024, "targets": 1024}, split="train", shuffle=False, seed=1
    )
    num_targets = 0
    for e in dataset.as_numpy_iterator():
        answers = e["targets_pretokenized"].decode().split(" | ")
        indices = {catalogue.index_of_text(text) for text in answers}
        num_targets += len(answers)
        assert not indices & held_out[int(e["user_index"])]
        # The prompt shows the items before the last target, and no others.
        assert e["inputs_pretokenized"].decode().endswith("".join(f" {a};" for a in answers[:-1]))
    # Of 99,287 interactions all but two a user.
    assert num_targets == 99_287 - 2 * 943


def test_ids_carry_no_order(ml_100k_dir):
    """Item and user numbers correlate with neither popularity nor time."""
    import tensorflow_datasets as tfds

    dataset = tfds.load("ml_100k", split="train", data_dir=ml_100k_dir)
    sequences = [e for e in tfds.as_numpy(dataset)]
    items = np.concatenate([e["item_indices"] for e in sequences])
    counts = np.bincount(items)
    first_times = np.array([e["timestamps"][0] for e in sequences])
    users = np.array([e["user_index"] for e in sequences])
    # Four standard errors of a correlation of nothing.
    assert abs(np.corrcoef(np.arange(len(counts)), counts)[0, 1]) < 4 / len(counts) ** 0.5
    assert abs(np.corrcoef(users, first_times)[0, 1]) < 4 / len(users) ** 0.5
    ranks = [np.argsort(np.argsort(e["item_indices"])) / len(e["item_indices"]) for e in sequences]
    places = [np.arange(len(rank)) / len(rank) for rank in ranks]
    correlation = np.corrcoef(np.concatenate(ranks), np.concatenate(places))[0, 1]
    assert abs(correlation) < 4 / len(items) ** 0.5
