"""The reviews of a corpus as a SeqIO source. Nothing is read before a dataset is asked for."""

import seqio
import tensorflow as tf

from rec_align.data import corpus as corpus_lib
from rec_align.pipeline.sources import SPLITS, load_split


class ReviewSource(seqio.TfdsDataSource):
    """The reviews of a corpus, each in the split that has its interaction as news.

    Examples, of all splits alike: `user_index` int64, `item_index` int32, `rating` float32 (1-5,
    NaN where there is none), `timestamp` int64 (seconds since 1970), and the strings `text` (never
    empty), `summary`, `explanation` (the sentence of the text that explains it) and `feature` (the
    word that it is about), each empty where there is none.

    A corpus without reviews has no usable split, so mixtures leave the task out, and asking for its
    dataset says why. A split without reviews is left out in the same way.

    Attributes:
      corpus: the corpus's name, looked up in the data directory at each use.
    """

    def __init__(self, corpus: str, splits: tuple[str, ...] = SPLITS):
        super().__init__()
        self.corpus = corpus
        self._wanted_splits = splits

    @property
    def tfds_dataset(self) -> seqio.LazyTfdsLoader:
        return seqio.LazyTfdsLoader(
            data_dir=str(corpus_lib.reviews_dir(self.corpus)), read_only=True
        )

    @property
    def splits(self) -> tuple[str, ...]:
        # As for `CorpusSource`: SeqIO refuses a task with no splits at all.
        num_reviews = corpus_lib.num_reviews(self.corpus)
        return tuple(split for split in self._wanted_splits if num_reviews.get(split)) or (
            "none_without_reviews",
        )

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
        """Gives the reviews of a split.

        Raises:
          ValueError: the corpus has no reviews, or not in that split.
        """
        del sequence_length, use_cached, num_epochs
        split = split or "train"
        if not corpus_lib.num_reviews(self.corpus):
            raise ValueError(
                f"corpus '{self.corpus}' has no reviews, so it has no review task; use its other "
                "tasks, or build it from review text: "
                f"`rec-align data build {self.corpus} amazon2014 --reviews FILE`"
            )
        if split not in self.splits:
            raise ValueError(f"split={split!r}: this task has {', '.join(self.splits)}")
        return load_split(self, split, shuffle, seed, shard_info)
