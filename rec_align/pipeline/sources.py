"""Sources: a corpus on disk as tf.data. Nothing is read before a dataset is asked for.

Whether a dataset is for training is known from its form: examples of held-out splits carry
`held_out_item_index`, those of `train` do not (`is_train`). So every step is built for its split,
with no branch at run time.
"""

import numpy as np
import seqio
import tensorflow as tf

from rec_align.data.corpus import corpus_dir, read_catalogue, read_manifest, train_item_counts
from rec_align.pipeline.item_writing import open_writing

SPLITS = ("train", "validation", "test")
HELD_OUT_SPLITS = ("validation", "test")

# Raw histories or reviews kept for shuffling; about 2 KB each.
USER_SHUFFLE_BUFFER_SIZE = 20_000


def _without_handovers(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Steps on single examples stay in their thread: handing one over takes longer than the step.

    Measured: 36 against 5 to 17 microseconds a step. The option holds for all that is made from
    the dataset; steps on batches ask for their threads.
    """
    options = tf.data.Options()
    options.experimental_optimization.map_parallelization = False
    return dataset.with_options(options)


def load_split(
    source: seqio.TfdsDataSource,
    split: str,
    shuffle: bool,
    seed: int | None,
    shard_info: seqio.ShardInfo | None,
) -> tf.data.Dataset:
    """Reads the examples of a split, as they are stored or shuffled; arguments as of SeqIO."""
    num_examples = source.num_input_examples(split)
    span = split
    if shuffle and num_examples > USER_SHUFFLE_BUFFER_SIZE:
        # Start anywhere: short rounds of a large corpus would else see its first users only.
        start = int(np.random.default_rng(seed).integers(num_examples))
        span = f"{split}[{start}:]+{split}[:{start}]"
    dataset = source.tfds_dataset.load(
        span, shuffle_files=shuffle, seed=seed, shard_info=shard_info
    )
    if shuffle:
        dataset = dataset.shuffle(min(num_examples, USER_SHUFFLE_BUFFER_SIZE), seed=seed)
    return _without_handovers(dataset)


def is_train(dataset: tf.data.Dataset) -> bool:
    """Whether the examples are for training: those of held-out splits carry their target apart."""
    return "held_out_item_index" not in dataset.element_spec


def _hold_out_last(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        "user_index": example["user_index"],
        "item_indices": example["item_indices"][:-1],
        "ratings": example["ratings"][:-1],
        "timestamps": example["timestamps"][:-1],
        "held_out_item_index": example["item_indices"][-1],
        "held_out_rating": example["ratings"][-1],
        "held_out_timestamp": example["timestamps"][-1],
    }


class CorpusSource(seqio.TfdsDataSource):
    """The user histories of a corpus.

    Examples of `train`: `user_index` int64, `item_indices` [n] int32, `ratings` [n] float32 (NaN
    where there is none), `timestamps` [n] int64. In `validation` and `test` the last entry of each
    is taken off: `held_out_item_index` int32, `held_out_rating` float32, `held_out_timestamp`
    int64.

    Attributes:
      corpus: the corpus's name, looked up in the data directory at each use.
      needs_ratings: whether the task is about ratings. For a corpus without any, such a source has
        no usable split, so mixtures leave its task out, and asking for its dataset says why.
    """

    def __init__(
        self, corpus: str, splits: tuple[str, ...] = SPLITS, *, needs_ratings: bool = False
    ):
        super().__init__()
        self.corpus = corpus
        self.needs_ratings = needs_ratings
        self._wanted_splits = splits

    @property
    def tfds_dataset(self) -> seqio.LazyTfdsLoader:
        return seqio.LazyTfdsLoader(data_dir=str(corpus_dir(self.corpus)), read_only=True)

    @property
    def splits(self) -> tuple[str, ...]:
        # SeqIO refuses a task with no splits at all, even inside a mixture; a split nobody asks for
        # makes it skip the task.
        if self.needs_ratings and not self._has_what_it_needs():
            return ("none_without_ratings",)
        return self._wanted_splits

    def _has_what_it_needs(self) -> bool:
        """Also says clearly when the corpus is not built."""
        return bool(read_manifest(self.corpus)["has_ratings"]) or not self.needs_ratings

    def get_dataset(
        self,
        split: str | None = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        *,
        sequence_length=None,
        use_cached: bool = False,
        num_epochs: int | None = 1,
    ) -> tf.data.Dataset:
        del sequence_length, use_cached, num_epochs
        split = split or "train"
        if not self._has_what_it_needs():
            raise ValueError(
                f"corpus '{self.corpus}' has no ratings, so it has no rating task; use its other "
                "tasks, or build it from interactions with a rating column"
            )
        if split not in self._wanted_splits:
            raise ValueError(f"split={split!r}: this task has {', '.join(self._wanted_splits)}")
        dataset = load_split(self, split, shuffle, seed, shard_info)
        if split == "train":
            return dataset
        return dataset.map(_hold_out_last)


class ItemSource(seqio.DataSource):
    """The items that train has, one example each: `item_index` int32. It has a train split only.

    Attributes:
      corpus: the corpus's name, looked up in the data directory at each use.
    """

    def __init__(self, corpus: str):
        super().__init__(splits=("train",))
        self.corpus = corpus

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train",) if has_attributes(self.corpus) else ("none_without_attributes",)

    @property
    def supports_arbitrary_sharding(self) -> bool:
        return False

    def list_shards(self, split: str) -> list[str]:
        return [split]

    def num_input_examples(self, split: str) -> int:
        del split
        return len(self._items())

    def _items(self) -> np.ndarray:
        """[n] int32: nothing is learned of items that are held out, or came later."""
        return np.flatnonzero(train_item_counts(self.corpus)).astype(np.int32)

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        *,
        sequence_length=None,
        use_cached: bool = False,
        num_epochs: int | None = 1,
    ) -> tf.data.Dataset:
        del sequence_length, use_cached, num_epochs
        if split != "train":
            raise ValueError(f"split={split!r}: tasks about items have a train split only")
        if not has_attributes(self.corpus):
            raise ValueError(
                f"nothing but titles is known of the items of corpus {self.corpus!r}, so it has no "
                "item_embedding task; use its other tasks, or build it with categories or brands"
            )
        item_indices = self._items()
        if shuffle:
            np.random.default_rng(seed).shuffle(item_indices)
        dataset = tf.data.Dataset.from_tensor_slices({"item_index": item_indices})
        if shard_info:
            dataset = dataset.shard(shard_info.num_shards, shard_info.index)
        return _without_handovers(dataset)


def has_attributes(corpus: str) -> bool:
    """Whether more is known of a corpus's items than how they are written."""
    catalogue = read_catalogue(corpus)
    if not open_writing(corpus).has_titles:
        return True
    return any(catalogue.categories) or any(catalogue.brands) or any(catalogue.years)
