"""The RQ-VAE on rows of clusters in clusters: what it learns, and that no code stays dead."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rec_align.indexing import report, rq_vae
from rec_align.indexing.rq_vae import RQVAE

SMALL = {"num_levels": 3, "num_codes": 16}
WIDE = rq_vae.HIDDEN


def clustered(num_rows, dim, num_coarse, seed=0):
    """Returns rows around centres around centres, and which coarse centre each is of."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(num_coarse, dim)) * 2
    fine = rng.normal(size=(num_coarse, 20, dim))
    of_coarse, of_fine = rng.integers(num_coarse, size=num_rows), rng.integers(20, size=num_rows)
    noise = rng.normal(size=(num_rows, dim)) * 0.4
    return (3 + coarse[of_coarse] + fine[of_coarse, of_fine] + noise).astype(np.float32), of_coarse


def silent(line):
    del line


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """Rows of so few clusters need no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rq_vae, "HIDDEN", (96, 64))
        yield


@pytest.fixture(scope="module")
def rows():
    return clustered(600, 24, 6)


@pytest.fixture(scope="module")
def fitted(rows):
    return RQVAE.fit(rows[0], **SMALL, num_steps=200, report=silent)


def error(rows, reconstructed):
    return float(((rows - reconstructed) ** 2).sum(1).mean())


def test_the_error_falls_by_level_and_below_a_random_codebooks(rows, fitted):
    embeddings = rows[0]
    codes = fitted.codes(embeddings)
    assert codes.shape == (600, 3) and codes.dtype == np.int32
    errors = [error(embeddings, fitted.reconstruct(codes[:, :levels])) for levels in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    books = fitted.params["codebooks"]
    random = np.random.default_rng(0).normal(size=books.shape) * books.std((1, 2), keepdims=True)
    other = dataclasses.replace(fitted, params={**fitted.params, "codebooks": random})
    assert errors[2] < 0.5 * error(embeddings, other.reconstruct(other.codes(embeddings)))


def test_rows_that_share_their_first_code_are_near(rows, fitted):
    _, of_coarse = rows
    first = fitted.codes(rows[0])[:, 0]
    most = [np.bincount(of_coarse[first == code]).max() for code in np.unique(first)]
    assert sum(most) > 0.9 * len(first)  # by chance: about a sixth


def test_the_seed_decides(rows):
    first, same, other = (
        RQVAE.fit(rows[0], **SMALL, num_steps=20, seed=seed, report=silent).codes(rows[0])
        for seed in (0, 0, 5)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_saved_and_loaded_it_gives_new_rows_the_same_codes(tmp_path, rows, fitted):
    fitted.save(tmp_path / "quantizer.npz")
    loaded = RQVAE.load(tmp_path / "quantizer.npz")
    new = clustered(50, 24, 6, seed=9)[0]
    codes = loaded.codes(new)
    np.testing.assert_array_equal(codes, fitted.codes(new))
    np.testing.assert_array_equal(loaded.reconstruct(codes), fitted.reconstruct(codes))
    assert loaded.codebook_sizes == (16, 16, 16)
    np.savez(tmp_path / "other.npz", x=new)
    with pytest.raises(ValueError, match="holds no RQ-VAE"):
        RQVAE.load(tmp_path / "other.npz")


def test_the_gradients_are_those_of_the_paper(fitted):
    """Straight through for the encoder, each half of the code losses to its own side."""
    params = jax.tree.map(jnp.asarray, fitted.params)
    batch = jnp.asarray(rq_vae.standardised(fitted, clustered(8, 24, 6)[0]))
    grads = jax.grad(rq_vae._loss, has_aux=True)(params, batch)[0]
    latents = rq_vae._encode(params, batch)
    codes, picked, residuals = rq_vae._quantize(params["codebooks"], latents)
    # Each code: the mean over the batch of 2 (code - residual) of the rows that picked it.
    expected = np.zeros_like(params["codebooks"])
    for level in range(3):
        of_rows = 2 * np.asarray(picked[level] - residuals[level]) / 8
        np.add.at(expected[level], np.asarray(codes[:, level]), of_rows)
    np.testing.assert_allclose(grads["codebooks"], expected, atol=1e-5)

    def encoder_loss(encoder):
        moved = rq_vae._encode({"encoder": encoder}, batch)
        decoded = rq_vae._decode(params, picked.sum(0) + moved - latents)
        # The residual of a level is the latent less codes that are held still.
        commitment = ((moved - latents + residuals - picked) ** 2).sum((0, 2)).mean()
        return ((batch - decoded) ** 2).sum(1).mean() + rq_vae.BETA * commitment

    expected = jax.grad(encoder_loss)(params["encoder"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), grads["encoder"], expected
    )


def shares_used(model, embeddings):
    levels = report.describe(model.codes(embeddings), model.codebook_sizes)["levels"]
    return [level["num_used"] / level["codebook_size"] for level in levels]


@pytest.mark.parametrize("revive", [True, False])
def test_dead_codes_restart(revive):
    embeddings = clustered(1_000, 64, 40)[0]
    model = rq_vae.start(embeddings, num_levels=2, num_codes=128, seed=0)
    books = model.params["codebooks"].copy()
    books[:, 20:] = 1e3  # so far away that no row is nearest
    model = dataclasses.replace(model, params={**model.params, "codebooks": books})
    trained = rq_vae.train(model, embeddings, num_steps=500, revive=revive, report=silent)
    used = shares_used(trained, embeddings)
    assert min(used) > 0.5 if revive else max(used) <= 20 / 128


def test_half_of_each_codebook_is_used_on_real_titles(beauty_embeddings, monkeypatch):
    monkeypatch.setattr(rq_vae, "HIDDEN", WIDE)
    model = RQVAE.fit(beauty_embeddings, num_steps=300, report=silent)
    assert min(shares_used(model, beauty_embeddings)) > 0.5


def test_few_or_equal_rows_make_few_codes():
    rows = np.eye(3, 6, dtype=np.float32)[[0, 1, 2, 0]]
    model = RQVAE.fit(rows, num_levels=2, num_steps=20, report=silent)
    assert model.codebook_sizes == (3, 3)
    codes = model.codes(rows)
    assert codes[0].tolist() == codes[3].tolist() and codes.max() <= 2
    equal = RQVAE.fit(np.ones((5, 6)), num_levels=2, num_steps=20, report=silent)
    assert equal.codes(np.ones((5, 6))).tolist() == [[0, 0]] * 5


def test_what_cannot_be_used_is_refused(fitted):
    with pytest.raises(ValueError, match="num_steps is 0"):
        RQVAE.fit(np.ones((3, 8)), num_steps=0)
    with pytest.raises(ValueError, match="num_levels is 0"):
        RQVAE.fit(np.ones((3, 8)), num_levels=0)
    with pytest.raises(ValueError, match="have 5 dimensions, the codes were fitted on 24"):
        fitted.codes(np.zeros((3, 5)))
