"""What a rating head is told of a task."""

import seqio

from rec_align.pipeline.rating_targets import rating_tokens


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
