"""What a rating head is told of a task."""

import csv
import re

import gin
import pytest
import seqio

from rec_align import prompts, train
from rec_align.cli.main import main as rec_align_cli
from rec_align.data import corpus, sources
from rec_align.pipeline import compiling
from rec_align.pipeline.rating_targets import first_other_rating, rating_tokens


def test_ratings_are_written_as_the_targets_are(small_shop):
    task = seqio.get_mixture_or_task(f"{small_shop}_rating")
    written = rating_tokens(task)
    dataset = task.get_dataset({"inputs": 64, "targets": 32}, "test", shuffle=False, num_epochs=1)
    for example in dataset.as_numpy_iterator():
        assert tuple(example["targets"].tolist()) == written[int(example["rating"]) - 1]


def test_a_mixture_with_other_targets_has_none(small_shop):
    for name in ("recommendation", "retrieval"):
        assert rating_tokens(seqio.get_mixture_or_task(f"{small_shop}_{name}")) is None
    assert rating_tokens(seqio.get_mixture_or_task(f"{small_shop}_rating_unseen"))


HEADS = ("classes", "regression")


@pytest.fixture
def half_star_shop(small_data_dir, tmp_path, monkeypatch) -> str:
    """A corpus in whose train split one of the ratings is 3.5."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user_id", "item_id", "timestamp", "rating"))
        for user, items in {"ann": "k1 p1 l1 c1 t1", "bob": "k2 k1 l2 l3 c2"}.items():
            for time, item in enumerate(items.split()):
                writer.writerow((user, item, time, 3.5 if (user, time) == ("bob", 1) else 4))
    source = sources.Tables(
        interactions=tmp_path / "rows.csv", items=small_data_dir / "items.jsonl"
    )
    corpus.build_corpus(
        "half_star_shop",
        source,
        data_dir=tmp_path,
        k_core=0,
        texts=prompts.all_texts(),
        report=len,
    )
    import tasks

    tasks.register_built_corpora()
    return "half_star_shop"


def test_a_rating_that_no_head_reads_is_found(small_shop):
    assert first_other_rating(seqio.get_mixture_or_task(f"{small_shop}_rating")) is None


@pytest.mark.parametrize("head", HEADS)
def test_half_stars_are_refused_before_training(half_star_shop, head, tmp_path, capsys):
    assert first_other_rating(seqio.get_mixture_or_task(f"{half_star_shop}_rating")) == 3.5
    named = rf"rating_head is '{head}'.* has a rating of 3\.5: .* set it to 'none'"
    gin.clear_config()
    arguments = [
        *("--gin_file=gin/models/tiny.gin", "--gin_file=gin/runs/train.gin"),
        f"--gin.MIXTURE_OR_TASK_NAME='{half_star_shop}_rating'",
        f"--gin.MODEL_DIR='{tmp_path / 'run'}'",
        f"--gin.T5Config.rating_head='{head}'",
    ]
    assert train.main(arguments) == 1
    gin.clear_config()
    assert re.search(named, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()

    compiled = tmp_path / "compiled"
    compiling.compile_mixture(
        f"{half_star_shop}_rating",
        compiled,
        num_epochs=1,
        task_feature_lengths={"inputs": 64, "targets": 32},
    )
    model = ["--model", "tiny", "--model-dir", str(tmp_path / "run")]
    options = ["--set", f"rating_head={head!r}"]
    assert rec_align_cli(["train-compiled", str(compiled), *model, *options]) == 1
    assert re.search(named, capsys.readouterr().err)
