"""The reviews of a corpus as a SeqIO source. Nothing is read before a dataset is asked for."""

import seqio
import tensorflow as tf

from rec_align.data import corpus as corpus_lib
from rec_align.pipeline.sources import SPLITS, load_split


def _hold_out(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """As the steps know held-out examples from those for training, see `sources.is_train`."""
    return example | {"held_out_item_index": example["item_index"]}


class ReviewSource(seqio.TfdsDataSource):
    """The reviews of a corpus, each in the split that has its interaction as news.

    Examples: `user_index` int64, `item_index` int32, `rating` float32 (1-5,
    NaN where there is none), `timestamp` int64 (seconds since 1970), and the strings `text` (never
    empty), `summary`, `explanation` (the sentence of the text that explains it) and `feature` (the
    word that it is about), each empty where there is none. Those of `validation` and `test` also
    have `held_out_item_index`, the same as `item_index`.

    A corpus without reviews has no usable split, so mixtures leave the task out, and asking for its
    dataset says why. A split without reviews is left out in the same way.

    Attributes:
      corpus: the corpus's name, looked up in the data directory at each use.
      needs_ratings: whether the task is about ratings, which a corpus may lack.
      needs_explanations: whether it is about explanations, which a split may lack.
    """

    def __init__(
        self,
        corpus: str,
        splits: tuple[str, ...] = SPLITS,
        *,
        needs_ratings: bool = False,
        needs_explanations: bool = False,
    ):
        super().__init__()
        self.corpus = corpus
        self.needs_ratings = needs_ratings
        self.needs_explanations = needs_explanations
        self._wanted_splits = splits

    @property
    def tfds_dataset(self) -> seqio.LazyTfdsLoader:
        return seqio.LazyTfdsLoader(
            data_dir=str(corpus_lib.reviews_dir(self.corpus)), read_only=True
        )

    @property
    def splits(self) -> tuple[str, ...]:
        # As for `CorpusSource`: SeqIO refuses a task with no splits at all.
        usable = self._num_usable()
        return tuple(split for split in self._wanted_splits if usable.get(split)) or (
            f"none_without_{self._needed()}",
        )

    def _needed(self) -> str:
        """What the corpus lacks if no split is usable."""
        if self.needs_ratings and not corpus_lib.read_manifest(self.corpus)["has_ratings"]:
            return "ratings"
        has_reviews = bool(corpus_lib.num_reviews(self.corpus))
        return "explanations" if self.needs_explanations and has_reviews else "reviews"

    def _num_usable(self) -> dict[str, int]:
        """split -> how many reviews may be used; {} where the corpus lacks what is needed."""
        manifest = corpus_lib.read_manifest(self.corpus)
        if self.needs_ratings and not manifest["has_ratings"]:
            return {}
        name = "num_explanations" if self.needs_explanations else "num_reviews"
        return manifest.get(name, {})  # older manifests do not say

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
          ValueError: the corpus has no such reviews, or not in that split.
        """
        del sequence_length, use_cached, num_epochs
        split = split or "train"
        if not any(self._num_usable().values()):
            raise ValueError(
                f"corpus '{self.corpus}' has no {self._needed()}, so it has no such task; use its "
                "other tasks, or build it from review text: "
                f"`rec-align data build {self.corpus} amazon2014 --reviews FILE`"
            )
        if split not in self.splits:
            raise ValueError(f"split={split!r}: this task has {', '.join(self.splits)}")
        dataset = load_split(self, split, shuffle, seed, shard_info)
        return dataset if split == "train" else dataset.map(_hold_out)
