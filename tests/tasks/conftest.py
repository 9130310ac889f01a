"""The fixtures of tests/pipeline serve here too."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "pipeline"))

import importlib.util

_spec = importlib.util.spec_from_file_location(
    "pipeline_fixtures", pathlib.Path(__file__).parents[1] / "pipeline" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
small_data_dir, small_shop = _fixtures.small_data_dir, _fixtures.small_shop

NUM_WRITERS = 8


@pytest.fixture(scope="session")
def review_data_dir(tmp_path_factory) -> pathlib.Path:
    """A data directory with `review_shop`: four items a user, of the third nobody wrote.

    Reviews of 'Amp' and 'Horn' explain, the one of 'Drum' does not and has no headline.
    """
    from rec_align import prompts
    from rec_align.data import corpus, sources

    data_dir = tmp_path_factory.mktemp("review_corpora")
    titles = ("Amp", "Drum", "Harp", "Horn")
    texts = ("It came. I like the sound of this amp, says {}.", "Fine.", "", "The sound is {}.")
    reviews = [
        {"reviewerID": f"u{user}", "asin": f"i{item}", "unixReviewTime": 10 + item}
        | {"reviewText": texts[item].format("deep and warm" if item else user)}
        | {"overall": 4.0 if item else 1 + user % 5, "summary": ("Good amp", "", "", "Warm")[item]}
        for user in range(NUM_WRITERS)
        for item in range(4)
    ]
    meta = [{"asin": f"i{item}", "title": title} for item, title in enumerate(titles)]
    meta += [{"asin": f"i{4 + k}", "title": f"Extra {k}"} for k in range(2)]
    reviews += [
        {"reviewerID": f"extra{k}", "asin": f"i{item}", "unixReviewTime": 5, "overall": 3.0}
        for k in range(2)
        for item in (0, 4 + k)
    ]
    for name, rows in (("reviews", reviews), ("meta", meta)):
        (data_dir / f"{name}.json").write_text("\n".join(map(json.dumps, rows)))
    source = sources.Amazon2014(
        reviews_path=data_dir / "reviews.json", meta_path=data_dir / "meta.json"
    )
    corpus.build_corpus(
        *("review_shop", source), data_dir=data_dir, k_core=0, texts=prompts.all_texts(), report=len
    )
    return data_dir


@pytest.fixture
def review_shop(review_data_dir, monkeypatch) -> str:
    """The name of the corpus with reviews, whose tasks are registered and whose files are found."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(review_data_dir))
    import tasks

    tasks.register_built_corpora()
    return "review_shop"
