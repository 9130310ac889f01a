"""SASRec trained on a planted rule: what it learns, keeps and writes."""

import dataclasses

import jax
import numpy as np
import pytest

from rec_align.baselines import protocol
from rec_align.baselines.popularity import Popularity
from rec_align.baselines.sasrec import SASRec, _fresh_params, _loss, _NextItems, default_config

NUM_ITEMS = 40
SMALL = dataclasses.replace(default_config(NUM_ITEMS), emb_dim=16, max_length=6)


def silent(line):
    del line


def follow(rng, num_users, num_items=NUM_ITEMS):
    """Histories whose next item is 7 further on, after an item that may be any."""
    starts = rng.integers(num_items, size=num_users)
    lengths = rng.integers(4, 12, size=num_users)
    return [
        (start + 7 * np.arange(length)) % num_items
        for start, length in zip(starts, lengths, strict=True)
    ]


def last_held_out(whole):
    return protocol.HeldOut(
        users=np.arange(len(whole)),
        histories=[items[:-1] for items in whole],
        targets=np.array([items[-1] for items in whole]),
    )


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return follow(rng, 100), last_held_out(follow(rng, 50)), last_held_out(follow(rng, 60))


def fit(data, **options):
    histories, validation, _ = data
    options = {"config": SMALL, "num_epochs": 3, "report": silent, **options}
    return SASRec.fit(histories, NUM_ITEMS, validation=validation, **options)


@pytest.fixture(scope="module")
def fitted(data):
    return fit(data)


@pytest.mark.parametrize("num_negatives", [None, 10])
def test_a_rule_is_learnt(data, num_negatives):
    config = dataclasses.replace(SMALL, num_negatives=num_negatives)
    model = fit(data, config=config, num_epochs=10)
    popularity = Popularity.fit(data[0], NUM_ITEMS)
    of_rule, of_popularity = (
        protocol.ranks(baseline, data[2], exclude_history=True) for baseline in (model, popularity)
    )
    assert (of_rule == 1).mean() > 0.85 and (of_popularity == 1).mean() < 0.2


def test_the_seed_decides(data, fitted):
    same, other = fit(data), fit(data, seed=1)
    jax.tree.map(np.testing.assert_array_equal, same.params, fitted.params)
    assert np.abs(other.params["item_embedding"] - fitted.params["item_embedding"]).max() > 0.1


def test_what_is_dropped_of_an_item_is_dropped_everywhere(data):
    """A number of the table that is dropped has no gradient, neither as history nor as a score."""
    config = dataclasses.replace(SMALL, dropout_rate=0.25, num_negatives=None)
    pairs = _NextItems.of(data[0], NUM_ITEMS)
    batch = jax.tree.map(lambda rows: rows[0], pairs.rows(6, np.random.default_rng(0)))
    params = _fresh_params(config, jax.random.key(0))
    gradient = jax.jit(jax.grad(_loss), static_argnums=3)(params, batch, jax.random.key(1), config)
    share = (gradient["item_embedding"] == 0).mean()
    assert share == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / (NUM_ITEMS * 16)) ** 0.5)


def test_scores_are_of_the_recent_items_and_not_of_the_other_users(data, fitted):
    histories = [*data[0][:5], np.array([], int), np.array([3])]
    together = fitted.score(np.arange(7), histories)
    assert together.shape == (7, NUM_ITEMS) and together.dtype == np.float32
    for row, history in zip(together, histories, strict=True):
        np.testing.assert_allclose(fitted.score([0], [history])[0], row, atol=1e-4)
        longer = np.append([8, 9], history[-6:]) if len(history) >= 6 else history
        np.testing.assert_allclose(fitted.score([0], [longer])[0], row, atol=1e-4)
    assert (together[5] == 0).all()


def test_the_best_epoch_is_kept_and_patience_ends_it(data):
    told = []
    wrong = dataclasses.replace(data[1], targets=(data[1].targets + 1) % NUM_ITEMS)
    # The rule that is learnt makes these targets ever less likely.
    stopped = fit((data[0], wrong, None), num_epochs=50, patience=2, report=told.append)
    epoch, best = (int(told[-1].split(word)[1].split()[0]) for word in ("epoch", "after epoch"))
    assert epoch == best + 2 < 50
    again = fit((data[0], wrong, None), num_epochs=best)
    jax.tree.map(np.testing.assert_array_equal, stopped.params, again.params)


def test_the_history_is_excluded_unless_all_targets_are_of_it(data, monkeypatch):
    asked = set()
    ranks = protocol.ranks

    def noted(model, held_out, *, exclude_history):
        asked.add(exclude_history)
        return ranks(model, held_out, exclude_history=exclude_history)

    monkeypatch.setattr(protocol, "ranks", noted)
    fit(data, num_epochs=1)
    assert asked == {True}
    asked.clear()
    last = np.array([history[-1] for history in data[1].histories])
    fit((data[0], dataclasses.replace(data[1], targets=last), None), num_epochs=1)
    assert asked == {False}


def test_saved_and_loaded_it_scores_the_same(tmp_path, data, fitted):
    fitted.save(tmp_path / "sasrec.npz")
    loaded = SASRec.load(tmp_path / "sasrec.npz")
    assert loaded.config == fitted.config
    test = data[2]
    np.testing.assert_array_equal(
        loaded.score(test.users, test.histories), fitted.score(test.users, test.histories)
    )
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(ValueError, match="holds no SASRec"):
        SASRec.load(tmp_path / "other.npz")
    older = {k: v for k, v in np.load(tmp_path / "sasrec.npz").items() if "query_layer" not in k}
    np.savez(tmp_path / "older.npz", **older)
    with pytest.raises(ValueError, match="another version"):
        SASRec.load(tmp_path / "older.npz")


def test_an_epoch_has_every_pair_as_often_as_any():
    histories = [np.arange(10), np.array([], int), np.array([20]), np.array([30, 31, 30])]
    pairs = _NextItems.of(histories, NUM_ITEMS)
    rows = pairs.rows(4, np.random.default_rng(0))
    real = rows["segment_ids"] > 0
    found, counts = np.unique(
        np.stack([rows["item_indices"][real], rows["targets"][real]]), axis=1, return_counts=True
    )
    expected = [(i, i + 1) for i in range(9)] + [(30, 31), (31, 30)]
    assert sorted(map(tuple, found.T.tolist())) == expected and len(set(counts)) == 1
    # Within a row an item of a segment is followed by its target.
    same = rows["segment_ids"][..., 1:] == rows["segment_ids"][..., :-1]
    inside = same & real[..., 1:]
    np.testing.assert_array_equal(
        rows["targets"][..., :-1][inside], rows["item_indices"][..., 1:][inside]
    )


def test_what_cannot_be_used_is_refused(data, fitted):
    nobody = protocol.HeldOut.from_examples([])
    for options, named in (
        ({"config": default_config(7)}, "config.num_items is 7 and num_items 40"),
        ({"config": dataclasses.replace(SMALL, num_heads=3)}, "not a multiple of num_heads 3"),
        ({"num_epochs": 0}, "num_epochs is 0"),
    ):
        with pytest.raises(ValueError, match=named):
            fit(data, **options)
    with pytest.raises(ValueError, match="no user has two train items"):
        fit(([np.array([1])], data[1], None))
    with pytest.raises(ValueError, match="validation has no targets"):
        fit((data[0], nobody, None))
    with pytest.raises(ValueError, match="indices from 40 to 40"):
        fitted.score([0], [[40]])
