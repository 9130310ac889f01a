"""Taught items: draws of a teacher at each place, which SeqIO examples ask for."""

import collections

import numpy as np
import pytest
import seqio

from rec_align import teaching
from rec_align.baselines import protocol, sasrec
from rec_align.baselines.registry import BASELINES
from rec_align.cli.main import main as rec_align_cli
from rec_align.data import corpus, taught_items
from rec_align.data.taught_items import TaughtItems
from rec_align.eval import read_histories
from rec_align.training.compiled import CompiledMixture
from tests.pipeline import small_corpus
from tests.pipeline.sampling_test import histories, with_seeds

SHOP = "small_shop"
LENGTHS = {"inputs": 256, "targets": 128}
NUM_DRAWS = 200


class ByIndex:
    """A teacher that prefers items by their index, twice as much as the one before."""

    def __init__(self, num_items: int):
        self.num_items = num_items

    def score(self, users, histories):
        return np.tile(np.arange(self.num_items, dtype=np.float32) * np.log(2), (len(users), 1))

    @property
    def item_embeddings(self):
        return np.arange(self.num_items, dtype=np.float32)[:, None]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("taught")
    small_corpus.build(data_dir)
    return data_dir


@pytest.fixture
def shop(data_dir, monkeypatch):
    """The small corpus, taught by `ByIndex`."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    import tasks

    tasks.register_built_corpora()
    monkeypatch.setitem(BASELINES, teaching.TEACHER, lambda _, num_items, **__: ByIndex(num_items))
    teaching.teach(SHOP, num_draws=NUM_DRAWS, force=True, report=len)
    return SHOP


def train_histories() -> list[np.ndarray]:
    return protocol.train_histories(read_histories(SHOP, "train"))


def test_each_place_has_draws_by_the_teachers_probabilities(shop):
    taught = taught_items.read(shop)
    num_items = corpus.num_items_at_build(shop)
    for user, history in enumerate(train_histories()):
        places = range(taught.begins[user], taught.begins[user + 1])
        assert len(places) == len(history)
        for number, place in enumerate(places):
            if number == 0:
                assert (taught.item_indices[place] == history[0]).all()
                continue
            weights = 2.0 ** np.arange(num_items)
            weights[history[:number]] = 0
            shares = weights / weights.sum()
            found = np.bincount(taught.item_indices[place], minlength=num_items) / NUM_DRAWS
            assert (found[shares == 0] == 0).all()
            error = np.sqrt(shares * (1 - shares) / NUM_DRAWS)
            np.testing.assert_array_less(np.abs(found - shares), 5 * error + 1 / NUM_DRAWS)


def test_the_seed_decides_the_draws(shop):
    found = taught_items.read(shop).item_indices
    again = teaching.teach(shop, num_draws=NUM_DRAWS, force=True, report=len).item_indices
    np.testing.assert_array_equal(again, found)
    other = teaching.teach(shop, num_draws=NUM_DRAWS, seed=1, force=True, report=len).item_indices
    assert (other != found).any()


def test_targets_are_among_the_draws_of_their_place(shop, monkeypatch):
    from rec_align.pipeline import teaching as drawing

    taught = TaughtItems(
        options={},
        begins=np.array([0, 3, 5]),
        item_indices=np.array(
            [[7, 7, 7, 7], [1, 2, 2, 2], [3, 4, 3, 4], [8, 8, 8, 8], [5, 5, 5, 5]], np.int32
        ),
    )
    monkeypatch.setattr(taught_items, "read", lambda _: taught)
    dataset = with_seeds(histories([7, 9, 9], [8, 9])).repeat(2000)
    drawn = collections.Counter()
    for example in drawing.draw_taught_items(dataset, corpus=shop).as_numpy_iterator():
        found = example["taught_item_indices"].tolist()
        assert found[0] == example["item_indices"][0]
        if example["user_index"] == 1:
            assert found == [8, 5]
        else:
            drawn[tuple(found[1:])] += 1
    expected = {(1, 3): 1 / 8, (1, 4): 1 / 8, (2, 3): 3 / 8, (2, 4): 3 / 8}  # places draw apart
    assert drawn.keys() == expected.keys() and drawn.total() == 2000
    for pair, share in expected.items():
        assert drawn[pair] / 2000 == pytest.approx(share, abs=5 * (share / 2000) ** 0.5)


@pytest.mark.parametrize("targets", ["every_item", "window", "one"])
def test_the_task_asks_for_what_is_taught(shop, targets):
    import gin

    titles = corpus.read_catalogue(shop).texts
    taught = taught_items.read(shop)
    task = seqio.get_mixture_or_task(f"{shop}_distillation")
    with gin.unlock_config():
        gin.bind_parameter("next_item_windows.targets", targets)
    try:
        found = list(task.get_dataset(LENGTHS, "train", seed=0, num_epochs=20).as_numpy_iterator())
    finally:
        gin.clear_config()
    by_user = train_histories()
    num_taught = 0
    for example in found:
        user = int(example["user_index"])
        taken = [titles[item] for item in by_user[user]]
        allowed = [
            {titles[item] for item in taught.item_indices[place]}
            for place in range(taught.begins[user], taught.begins[user + 1])
        ]
        answers = example["targets_pretokenized"].decode().split(" | ")
        shown = example["inputs_pretokenized"].decode()
        history = [name for name in taken if f" {name};" in shown]
        begin = taken.index(history[0]) if history else 0
        if targets != "every_item":
            assert len(answers) == 1 and answers[0] in allowed[begin + len(history)]
            assert answers[0] not in history
            num_taught += 1
            continue
        # The first of a run has nothing before it, so it is the item itself.
        assert not history or answers[0] == history[0]
        for number, answer in enumerate(answers[1:], begin + 1):
            assert answer in allowed[number] and answer not in taken[:number]
            num_taught += 1
    assert num_taught > 50


def test_golden_text(shop):
    """The train split has two items of cat's: the last item of all is taught after the first."""
    at_build = corpus.num_items_at_build(shop)
    taught = TaughtItems(
        options={},
        begins=taught_items.read(shop).begins,
        item_indices=np.full((sum(map(len, train_histories())), 1), at_build - 1, np.int32),
    )
    taught_items.write(shop, taught, np.zeros((at_build, 1), np.float32))
    task = seqio.get_mixture_or_task(f"{shop}_distillation")
    found = {
        (example["inputs_pretokenized"], example["targets_pretokenized"])
        for example in task.get_dataset(LENGTHS, "train", seed=0, num_epochs=40).as_numpy_iterator()
        if example["user_index"] == small_corpus.user_index("cat")
    }
    last = corpus.read_catalogue(shop).texts[at_build - 1]
    expected = (
        "Recommend the next item. History: Side Table;",
        f"Side Table | {last}",
    )
    assert tuple(text.encode() for text in expected) in found


def test_the_mixture_draws_both_and_is_known_by_what_is_taught(shop, tmp_path):
    from rec_align.pipeline import compiling

    def compiled(name):
        return compiling.compile_mixture(
            f"{shop}_distilled", tmp_path / name, num_epochs=1, task_feature_lengths=LENGTHS
        )

    manifest = compiled("one")
    assert manifest["tasks"] == {f"{shop}_retrieval": 0.5, f"{shop}_distillation": 0.5}
    assert manifest["taught_items_sha256"] == taught_items.sha256(shop)
    rows = CompiledMixture.open(tmp_path / "one").train["decoder_target_tokens"]
    teaching.teach(shop, num_draws=1, seed=1, force=True, report=len)
    assert compiled("other")["taught_items_sha256"] != manifest["taught_items_sha256"]
    assert (
        rows.tobytes()
        != CompiledMixture.open(tmp_path / "other").train["decoder_target_tokens"].tobytes()
    )


def test_who_has_taken_everything_is_taught_what_he_takes_again():
    history = np.array([2, 0, 1, 0])
    users, places = np.zeros(4, int), np.arange(4)
    drawn = teaching._draw(ByIndex(3), [history], users, places, 50, np.random.default_rng(0))
    assert [set(row) for row in drawn.tolist()] == [{2}, {0, 1}, {1}, {0}]


def test_validation_and_test_items_are_taught_only_from_train(shop, monkeypatch):
    """The teacher is given the train split and, to stop, the validation targets; no more."""
    given = {}

    def fit(histories, num_items, *, validation, seed, report):
        given.update(histories=histories, validation=validation, seed=seed)
        return ByIndex(num_items)

    monkeypatch.setitem(BASELINES, teaching.TEACHER, fit)
    teaching.teach(shop, num_draws=2, seed=4, force=True, report=len)
    for one, other in zip(given["histories"], train_histories(), strict=True):
        np.testing.assert_array_equal(one, other)
    expected = {
        int(e["user_index"]): int(e["item_indices"][-1]) for e in read_histories(shop, "validation")
    }
    validation = given["validation"]
    assert (
        dict(zip(validation.users.tolist(), validation.targets.tolist(), strict=True)) == expected
    )
    assert given["seed"] == 4


def test_several_teachers_draw_by_the_mean_of_their_log_probabilities(shop, monkeypatch):
    """Two that differ in the first item alone: odds of 1 and of 256 are 16 together."""
    num_items = corpus.num_items_at_build(shop)

    class BySeed:
        def __init__(self, seed):
            self.item_embeddings = np.full((num_items, 2), float(seed))
            self.logits = np.zeros(num_items)
            self.logits[0] = np.log({5: 1, 6: 256}[seed])

        def score(self, users, histories):
            return np.tile(self.logits, (len(users), 1))

    monkeypatch.setitem(BASELINES, teaching.TEACHER, lambda *_, seed, **__: BySeed(seed))
    taught = teaching.teach(shop, num_draws=2000, num_teachers=2, seed=5, force=True, report=len)
    assert taught.options["num_teachers"] == 2
    num_found = 0
    for user, history in enumerate(train_histories()):
        for number, place in enumerate(range(*taught.begins[user : user + 2])):
            left = set(range(num_items)) - set(history[:number])
            if number and 0 in left:
                expected = 16 / (16 + len(left) - 1)
                found = (taught.item_indices[place] == 0).mean()
                error = (expected * (1 - expected) / 2000) ** 0.5
                assert found == pytest.approx(expected, abs=5 * error)
                num_found += 1
    assert num_found
    assert np.load(taught_items.embeddings_path(shop))[3].tolist() == [5.0, 5.0, 6.0, 6.0]


def test_the_command_keeps_what_is_there_and_refuses_another(data_dir, monkeypatch, capsys):
    """With SASRec itself."""
    monkeypatch.setattr(sasrec, "LEAST_STEPS", 2)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    command = ["teach", SHOP, "--num-draws", "4"]
    assert rec_align_cli([*command, "--force"]) == 0
    out = capsys.readouterr().out
    num_places = sum(map(len, train_histories()))
    assert "SASRec: epoch" in out and f"4 draws for each of the {num_places:,} places" in out
    embeddings = taught_items.embeddings_path(SHOP)
    assert str(embeddings) in out
    assert np.load(embeddings).shape == (corpus.num_items_at_build(SHOP), 64)
    taught = taught_items.read(SHOP)
    for user, history in enumerate(train_histories()):
        for number, place in enumerate(range(*taught.begins[user : user + 2])):
            assert not set(taught.item_indices[place]) & set(history[:number])
    assert rec_align_cli(command) == 0
    assert "already taught" in capsys.readouterr().out
    assert rec_align_cli([*command, "--seed", "1"]) == 1
    assert "give --force" in capsys.readouterr().err
    assert rec_align_cli(["teach", SHOP, "--num-draws", "0"]) == 1
    assert "keep 1 or more" in capsys.readouterr().err
    assert rec_align_cli(["teach", SHOP, "--num-teachers", "0"]) == 1
    assert "at least 1" in capsys.readouterr().err


def test_taught_items_of_another_version_are_refused(shop, capsys):
    path = corpus.corpus_dir(shop) / "taught_items.npz"
    np.savez(path, options="{}", begins=np.zeros(1), item_indices=np.zeros((0, 2)), ends=0)
    assert rec_align_cli(["teach", shop]) == 1
    assert "another version" in capsys.readouterr().err
    teaching.teach(shop, num_draws=1, force=True, report=len)
    assert taught_items.read(shop).options["num_draws"] == 1
    taught_items.embeddings_path(shop).unlink()
    assert rec_align_cli(["teach", shop, "--num-draws", "1"]) == 1
    assert "another version" in capsys.readouterr().err
    with pytest.raises(ValueError, match="teach small_shop --force"):
        taught_items.embeddings_path(shop)


def test_without_taught_items_the_task_says_how_to_make_them(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    import tasks

    tasks.register_built_corpora()
    for name in ("unrated_shop_distillation", "unrated_shop_distilled"):
        with pytest.raises(ValueError, match="rec-align teach unrated_shop"):
            seqio.get_mixture_or_task(name).get_dataset(LENGTHS, "train")
