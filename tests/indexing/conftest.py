"""Real embeddings without a neural encoder: TF-IDF of Beauty's titles, made dense."""

import gzip
import json
import pathlib

import numpy as np
import pytest

BEAUTY = pathlib.Path(__file__).parents[3] / "shared/data/amazon2014_beauty/items.jsonl.gz"


@pytest.fixture(scope="session")
def beauty_embeddings() -> np.ndarray:
    """[3000, 64] float32, rows of length 1."""
    if not BEAUTY.exists():
        pytest.skip(f"the Amazon Beauty files are not in {BEAUTY.parent}")
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    with gzip.open(BEAUTY, "rt") as file:
        items = [json.loads(line) for line in file]
    titles = [item["title"] for item in items if item.get("title")][:3000]
    dense = TruncatedSVD(64, random_state=0).fit_transform(TfidfVectorizer().fit_transform(titles))
    lengths = np.linalg.norm(dense, axis=1, keepdims=True)
    return (dense / np.maximum(lengths, 1e-6)).astype(np.float32)
