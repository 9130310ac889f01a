"""Real data for tests: ML-100K, found or downloaded once, and built once a session."""

import os
import pathlib
import tempfile

import pytest

from rec_align import prompts
from rec_align.data import corpus, sources

# Compiling is most of what the tests do. What one test compiled the others need not, in this
# process, in those that it starts, and in all workers: these have the environment of the process
# that started them. And tiny networks run faster than XLA could make them faster.
# The emitters of fusions pay off at run time alone, too: without, gradients compile in half.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ["XLA_FLAGS"] = " ".join(  # flags that are given come last, and so prevail
        ["--xla_cpu_use_fusion_emitters=false", os.environ.get("XLA_FLAGS", "")]
    )

BEAUTY = pathlib.Path(__file__).parents[2] / "shared/data/amazon2014_beauty"


@pytest.fixture(scope="session")
def ml_100k_wheel() -> pathlib.Path:
    """The wheel of recbole==1.2.1: $REC_ALIGN_ML100K, the cache, or a download."""
    if os.environ.get("REC_ALIGN_ML100K"):
        return pathlib.Path(os.environ["REC_ALIGN_ML100K"])
    try:
        return sources.find_ml_100k()
    except ValueError as error:
        pytest.skip(f"set REC_ALIGN_ML100K to the wheel of recbole==1.2.1: {error}")


@pytest.fixture(scope="session")
def ml_100k_dir(ml_100k_wheel, tmp_path_factory) -> pathlib.Path:
    """A data directory that holds the corpus `ml_100k`."""
    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    source = sources.MovieLens100K(path=ml_100k_wheel)
    corpus.build_corpus("ml_100k", source, data_dir=data_dir, texts=prompts.all_texts())
    return data_dir


@pytest.fixture(scope="session")
def beauty_dir(tmp_path_factory) -> pathlib.Path:
    """A data directory that holds the corpus `amazon_beauty`."""
    if not BEAUTY.exists():
        pytest.skip(f"the Amazon Beauty files are not in {BEAUTY}")
    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    source = sources.Tables(
        interactions=BEAUTY / "interactions.csv.gz", items=BEAUTY / "items.jsonl.gz"
    )
    corpus.build_corpus("amazon_beauty", source, data_dir=data_dir)
    return data_dir
