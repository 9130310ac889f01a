import pathlib

import pytest
import seqio
import small_corpus


@pytest.fixture(scope="session")
def small_data_dir(tmp_path_factory) -> pathlib.Path:
    data_dir = tmp_path_factory.mktemp("small_corpora")
    small_corpus.build(data_dir)
    return data_dir


@pytest.fixture
def small_shop(small_data_dir, monkeypatch) -> str:
    """The name of the small corpus, whose tasks are registered and whose files are found."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(small_data_dir))
    import tasks

    tasks.register_built_corpora()
    return "small_shop"


@pytest.fixture
def t5_vocabulary() -> seqio.SentencePieceVocabulary:
    path = pathlib.Path(__file__).parents[3] / "shared/data/t5_vocab/spiece.model"
    if not path.exists():
        pytest.skip(f"the public T5 vocabulary is not in {path}")
    return seqio.SentencePieceVocabulary(str(path), extra_ids=100)
