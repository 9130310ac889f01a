"""Residual k-means on planted clusters and on hand-made rows."""

import dataclasses

import numpy as np
import pytest

from rec_align.indexing.residual_kmeans import ResidualKMeans


@pytest.fixture(scope="module")
def planted():
    """300 rows: 6 groups, 5 smaller ones in each, little noise; and the group of each row."""
    rng = np.random.default_rng(0)
    coarse, fine = rng.normal(size=(6, 8)) * 4, rng.normal(size=(6, 5, 8))
    group = np.arange(300) % 6
    rows = coarse[group] + fine[group, np.arange(300) // 6 % 5] + rng.normal(size=(300, 8)) * 0.05
    return rows.astype(np.float32), group


@pytest.fixture(scope="module")
def fitted(planted):
    return ResidualKMeans.fit(planted[0], num_levels=3, num_codes=8)


def error(rows, reconstructed):
    return float(((rows - reconstructed) ** 2).sum(1).mean())


def test_the_error_falls_by_level_and_below_a_random_codebooks(planted, fitted):
    rows, _ = planted
    codes = fitted.codes(rows)
    assert codes.shape == (300, 3) and codes.dtype == np.int32
    errors = [error(rows, fitted.reconstruct(codes[:, :levels])) for levels in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    rng = np.random.default_rng(1)
    books = [rng.normal(size=book.shape) * book.std() for book in fitted.codebooks]
    random = dataclasses.replace(fitted, codebooks=tuple(books))
    assert errors[2] < 0.5 * error(rows, random.reconstruct(random.codes(rows)))


def test_only_rows_of_a_group_share_their_first_code(planted):
    rows, group = planted
    first = ResidualKMeans.fit(rows, num_levels=1, num_codes=12).codes(rows)[:, 0]
    assert len(set(zip(group.tolist(), first.tolist(), strict=True))) == len(set(first)) == 12


def test_titles_that_are_near_share_their_first_code(beauty_embeddings):
    rows = beauty_embeddings
    codes = ResidualKMeans.fit(rows).codes(rows)
    near = rows @ rows.T
    np.fill_diagonal(near, -1)
    shared = (codes[near.argmax(1)] == codes).cumprod(1).mean(0)  # by prefixes of 1, 2, 3
    other = (np.roll(codes, 1, axis=0) == codes).cumprod(1).mean(0)
    assert shared[0] > 0.4 and shared[1] > 0.1 and (shared > 10 * other).all()


def test_the_seed_decides(planted, fitted):
    rows, _ = planted
    again = ResidualKMeans.fit(rows, num_levels=3, num_codes=8)
    other = ResidualKMeans.fit(rows, num_levels=3, num_codes=8, seed=7)
    for book, same in zip(fitted.codebooks, again.codebooks, strict=True):
        np.testing.assert_array_equal(book, same)
    assert not np.array_equal(fitted.codebooks[2], other.codebooks[2])


def test_saved_and_loaded_it_gives_new_rows_the_same_codes(tmp_path, planted, fitted):
    fitted.save(tmp_path / "quantizer.npz")
    loaded = ResidualKMeans.load(tmp_path / "quantizer.npz")
    new = planted[0][::-1] + np.float32(0.3)
    np.testing.assert_array_equal(loaded.codes(new), fitted.codes(new))
    assert loaded.codebook_sizes == fitted.codebook_sizes == (8, 8, 8)
    np.savez(tmp_path / "other.npz", x=new)
    with pytest.raises(ValueError, match="holds no residual k-means"):
        ResidualKMeans.load(tmp_path / "other.npz")


def test_few_or_equal_rows_make_few_codes():
    rows = np.array([[0, 0], [0, 3], [5, 0]], np.float32)[[0, 1, 2, 0, 0, 1]]
    quantizer = ResidualKMeans.fit(rows, num_levels=2, num_codes=256)
    assert quantizer.codebook_sizes == (3, 1)
    codes = quantizer.codes(rows)
    np.testing.assert_allclose(quantizer.reconstruct(codes), rows, atol=1e-5)
    assert codes.tolist() == [[0, 0], [1, 0], [2, 0], [0, 0], [0, 0], [1, 0]]


def test_wide_rows_are_reconstructed_from_their_principal_components():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 100)) + 7  # five dimensions of a hundred
    quantizer = ResidualKMeans.fit(rows, num_levels=1, num_codes=40)
    assert quantizer.basis.shape == (100, 64)
    np.testing.assert_allclose(quantizer.basis.T @ quantizer.basis, np.eye(64), atol=1e-5)
    np.testing.assert_allclose(quantizer.reconstruct(quantizer.codes(rows)), rows, atol=1e-3)


def test_what_cannot_be_used_is_refused(fitted):
    with pytest.raises(ValueError, match=r"\[n, d\] and not empty"):
        ResidualKMeans.fit(np.zeros((0, 8)))
    with pytest.raises(ValueError, match="1 rows are not finite, the first is 2"):
        ResidualKMeans.fit(np.array([[0.0], [1], [np.nan]]))
    with pytest.raises(ValueError, match="num_codes 1"):
        ResidualKMeans.fit(np.zeros((3, 8)), num_codes=1)
    with pytest.raises(ValueError, match="have 5 dimensions, the codes were fitted on 8"):
        fitted.codes(np.zeros((3, 5)))
