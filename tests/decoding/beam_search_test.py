"""Beam search against a NumPy brute force over every item."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.decoding.beam_search import BeamResults, beam_search
from rec_align.decoding.trie import CatalogueTrie

CATALOGUES = {
    "prefixes of one another": [(5,), (5, 6), (5, 6, 7), (6,), (5, 7), (6, 6, 6, 6)],
    "one item": [(3, 4)],
    "an empty text": [(), (3,), (4, 3)],
    "one token each": [(token,) for token in range(2, 12)],
    "long": [(2,) * 30, (2,) * 29, (2, 3) * 15, (4,)],
    "one fat node": [(3, a, b) for a in range(2, 12) for b in (2, 5)] + [(3,), (4, 4)],
}


def search(model, rows, beam_size, num_results, trie=None, step_fn=None) -> BeamResults:
    """Runs under jit with the trie as an argument, as users do."""
    trie = CatalogueTrie.build(rows) if trie is None else trie
    run = functools.partial(
        beam_search,
        step_fn or model.step_fn,
        batch_size=model.batch,
        beam_size=beam_size,
        num_results=num_results,
    )
    results = jax.jit(lambda cache, trie: run(cache, trie))(model.cache(), trie)
    return BeamResults(*map(np.asarray, results))


def assert_is_the_exact_top(results, scores):
    num_results, num_items = results.item_indices.shape[1], scores.shape[1]
    found = min(num_results, num_items)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :found]
    np.testing.assert_array_equal(results.item_indices[:, :found], order)
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_allclose(results.log_probs[:, :found], expected, atol=1e-5)
    assert (results.item_indices[:, found:] == -1).all()
    assert (results.log_probs[:, found:] == -np.inf).all()


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_full_beam_is_brute_force(name, toy_model, padded):
    rows = padded(CATALOGUES[name])
    model = toy_model(seed=len(name), sharpness=1.0)
    results = search(model, rows, beam_size=len(rows) + 2, num_results=len(rows) + 3)
    assert_is_the_exact_top(results, model.brute_force(rows))
    assert (results.num_exact == len(rows)).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_full_beam_is_brute_force_on_random_catalogues(seed, toy_model, catalogue):
    rows, model = catalogue(seed), toy_model(seed)
    results = search(model, rows, beam_size=len(rows), num_results=len(rows))
    assert_is_the_exact_top(results, model.brute_force(rows))
    assert (results.num_exact == len(rows)).all()


def test_a_catalogue_with_every_width_of_the_ladder(toy_model, padded):
    # Widths (2, 9, 70): 70 children under (2), 10 under (2, 2), one too many for 9, then 1.
    items = [(2, a) for a in range(3, 72)] + [(3, a, 5, 6) for a in range(4, 13)]
    items += [(2, 2, a, 7) for a in range(9, 19)]
    rows, model = padded(items), toy_model(seed=1, vocab=80, sharpness=0.5)
    assert CatalogueTrie.build(rows).max_degree == 70
    results = search(model, rows, beam_size=len(rows), num_results=len(rows))
    assert_is_the_exact_top(results, model.brute_force(rows))


def test_num_exact_is_a_proof(toy_model, catalogue):
    num_proven = num_wrong = 0
    for seed in range(6):
        rows, model = catalogue(seed, num_items=60), toy_model(seed, batch=8)
        results = search(model, rows, beam_size=3, num_results=10)
        scores = model.brute_force(rows)
        order = np.argsort(-scores, axis=1)[:, :10]
        for user in range(model.batch):
            items, exact = results.item_indices[user], int(results.num_exact[user])
            valid = items[items >= 0]
            assert len(set(valid.tolist())) == len(valid)
            assert (items[len(valid) :] == -1).all()
            expected = scores[user, valid]
            np.testing.assert_allclose(results.log_probs[user, : len(valid)], expected, atol=1e-5)
            assert (np.diff(results.log_probs[user, : len(valid)]) <= 0).all()
            np.testing.assert_array_equal(items[:exact], order[user, :exact])
            num_proven += exact
            num_wrong += (items != order[user]).any()
    # Some top is proven and some search goes wrong, or the proof was never put to the test.
    assert num_proven > 30
    assert num_wrong > 30


def test_a_dropped_prefix_takes_the_proof(toy_model, padded):
    rows, model = padded([(5,), (6, 7)]), toy_model(seed=0, batch=1)
    model.output[:] = 0.0  # uniform
    results = search(model, rows, beam_size=1, num_results=2)
    # Beam 1 keeps 5 and drops 6, whose log(1/12) lies above item 0's 2 log(1/12).
    np.testing.assert_array_equal(results.item_indices, [[0, -1]])
    np.testing.assert_allclose(results.log_probs[0, 0], 2 * np.log(1 / 12), rtol=1e-6)
    assert results.num_exact[0] == 0


def test_early_stop_changes_nothing_and_does_stop(toy_model, padded):
    num_steps = []

    def counting(step_fn):
        def step(tokens, cache, step):
            jax.debug.callback(lambda s: num_steps.append(int(s)), step)
            return step_fn(tokens, cache, step)

        return step

    items = [(a, b) for a in range(2, 7) for b in range(2, 6)] + [(9,) * 25, (9,) * 20 + (3,)]
    rows, model = padded(items), toy_model(seed=3, sharpness=1.0)
    num_used = {}
    results = {}
    for num_results in (2, len(items)):  # a pool for all items is full only at the very end
        num_steps.clear()
        step_fn = counting(model.step_fn)
        results[num_results] = search(model, rows, 4, num_results, step_fn=step_fn)
        jax.effects_barrier()
        num_used[num_results] = len(num_steps)
    short, full = results.values()
    np.testing.assert_array_equal(short.item_indices, full.item_indices[:, :2])
    np.testing.assert_array_equal(short.log_probs, full.log_probs[:, :2])
    np.testing.assert_array_equal(short.num_exact, np.minimum(full.num_exact, 2))
    assert num_used[2] < 15 < num_used[len(items)]


def test_users_do_not_depend_on_each_other(toy_model, catalogue):
    rows, model, others = catalogue(5, num_items=80), toy_model(5), toy_model(6)
    together = search(model, rows, beam_size=4, num_results=6)
    for user in range(model.batch):
        mixed = toy_model(6)
        mixed.embedding, mixed.recurrent = model.embedding, model.recurrent
        mixed.context[user], mixed.output[user] = model.context[user], model.output[user]
        apart = search(mixed, rows, beam_size=4, num_results=6)
        assert (mixed.context != others.context).any()
        np.testing.assert_array_equal(apart.item_indices[user], together.item_indices[user])
        np.testing.assert_allclose(apart.log_probs[user], together.log_probs[user], atol=1e-6)
        assert apart.num_exact[user] == together.num_exact[user]


def test_ties_stand_in_item_order(toy_model, padded):
    rows = padded([(9, 9), (3, 4), (5, 2), (3, 3), (9, 2)])
    model = toy_model(seed=0)
    model.output[:] = 0.0
    results = search(model, rows, beam_size=5, num_results=4)
    np.testing.assert_array_equal(results.item_indices, [[0, 1, 2, 3]] * model.batch)


def test_a_tie_that_ends_later_is_waited_for(toy_model, padded):
    # 0 -> 5 or 7 with one half each; 5 -> 6, 6 -> EOS and 7 -> EOS for sure.
    follows = np.full((8, 8), -np.inf, np.float32)
    follows[[0, 0, 5, 6, 7], [5, 7, 6, 1, 1]] = 0.0

    def step_fn(tokens, cache, step):
        return jnp.asarray(follows)[tokens], cache

    rows, model = padded([(5, 6), (7,)]), toy_model(seed=0)
    results = search(model, rows, beam_size=2, num_results=1, step_fn=step_fn)
    np.testing.assert_array_equal(results.item_indices, [[0]] * model.batch)
    np.testing.assert_allclose(results.log_probs, np.log(0.5), rtol=1e-6)


def test_items_the_model_rules_out_are_not_returned(toy_model, padded):
    def step_fn(tokens, cache, step):
        logits, cache = model.step_fn(tokens, cache, step)
        return logits.at[..., 7].set(-jnp.inf), cache

    rows, model = padded([(5,), (7,), (5, 7), (6,)]), toy_model(seed=2)
    results = search(model, rows, beam_size=4, num_results=4, step_fn=step_fn)
    assert {tuple(sorted(row)) for row in results.item_indices.tolist()} == {(-1, -1, 0, 3)}
    assert np.isneginf(results.log_probs[:, 2:]).all()


def test_bfloat16_logits_are_summed_in_float32(toy_model, catalogue):
    def rounded(dtype):
        def step_fn(tokens, cache, step):
            logits, cache = model.step_fn(tokens, cache, step)
            return logits.astype(jnp.bfloat16).astype(dtype), cache

        return step_fn

    rows, model = catalogue(seed=1), toy_model(seed=1)
    low = search(model, rows, 10, 10, step_fn=rounded(jnp.bfloat16))
    high = search(model, rows, 10, 10, step_fn=rounded(jnp.float32))
    assert low.log_probs.dtype == np.float32
    np.testing.assert_array_equal(low.item_indices, high.item_indices)
    np.testing.assert_allclose(low.log_probs, high.log_probs, atol=1e-5)


def test_a_loaded_trie_gives_the_same(toy_model, catalogue, tmp_path):
    rows, model = catalogue(seed=2), toy_model(seed=2)
    CatalogueTrie.build(rows).save(tmp_path)
    jax.tree.map(
        np.testing.assert_array_equal,
        search(model, rows, 5, 5, trie=CatalogueTrie.load(tmp_path)),
        search(model, rows, 5, 5),
    )


def test_bad_arguments_are_refused(toy_model, padded):
    rows, model = padded([(5,), (11,)]), toy_model(seed=0)
    with pytest.raises(ValueError, match="beam_size=0"):
        search(model, rows, beam_size=0, num_results=1)
    with pytest.raises(ValueError, match="num_results=0"):
        search(model, rows, beam_size=1, num_results=0)
    with pytest.raises(ValueError, match="vocab > 12"):
        search(model, padded([(5,), (12,)]), beam_size=1, num_results=1)
    trie = CatalogueTrie.build(rows)
    cache = {"state": jnp.zeros((3, 4, 6)), "index": jnp.zeros(())}
    with pytest.raises(ValueError, match=r"cache\['index'\] has shape \(\)"):
        beam_search(model.step_fn, cache, trie, batch_size=3, beam_size=4, num_results=1)
