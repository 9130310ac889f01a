"""Writes reviews as a TFDS dataset of its own, in the folder `reviews` of a corpus.

`tfds.builder_from_directory("DATA_DIR/NAME/1.0.0/reviews")` opens it. Each interaction with text is
one example of one split, the one that has its interaction as news; a split without reviews is not
there. Users come in the order of `user_index`, each user's reviews in the order of time:

  user_index: int64
  item_index: int32
  rating: float32, 1-5, NaN where there is none
  timestamp: int64, seconds since 1970
  text: the review, cleaned (see `items.clean_text`), never ''
  summary: its headline, '' where there is none
  explanation: the sentence of it that explains it (see `explanations`), '' where there is none
  feature: the word that it is about, '' where there is none
"""

from collections.abc import Mapping

import numpy as np
from etils import epath

from rec_align.data import explanations, review_parts, shards, splits, user_log
from rec_align.data.example_bytes import Encoded, example, text_feature

FOLDER = "reviews"


def write_reviews(
    reviews: review_parts.ReviewParts, log: user_log.UserLog, name: str, directory: epath.PathLike
) -> Mapping[str, int]:
    """Writes the splits that have reviews into `FOLDER` of an existing directory.

    Args:
      reviews: the text.
      log: its interactions.
      name: the corpus's name.
      directory: the corpus's.

    Returns:
      split -> how many of its reviews have an explanation.
    """
    import tensorflow_datasets as tfds  # seconds to import; only builds pay

    name = f"{name}_{FOLDER}"
    directory = epath.Path(directory) / FOLDER
    directory.mkdir()
    lengths = {
        split: shards.shard_lengths(count) for split, count in reviews.num_reviews.items() if count
    }
    written = {
        split: shards.Shards(shards.template(name, directory, split), lengths[split])
        for split in lengths
    }
    num_explained = dict.fromkeys(splits.SPLITS, 0)
    first_user = 0
    for path, rows_path, histories in zip(
        reviews.files, log.history_rows, log.histories, strict=True
    ):
        users = np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))
        encoded = {
            "user_index": Encoded(first_user + users),
            "item_index": Encoded(histories.item_indices),
            "rating": Encoded(histories.ratings),
            "timestamp": Encoded(histories.timestamps),
        }
        numbers = histories.split_numbers()
        for at, text, summary in review_parts.read(path, review_parts.load_rows(rows_path)):
            split = splits.SPLITS[numbers[at]]
            explanation, feature = explanations.explain(text, reviews.features)
            num_explained[split] += bool(explanation)
            texts = {"text": text, "summary": summary}
            texts |= {"explanation": explanation, "feature": feature}
            record = {key: values.feature(at, at + 1) for key, values in encoded.items()}
            record |= {key: text_feature(value) for key, value in texts.items()}
            written[split].write([example(record)])
        first_user += histories.num_users
    shards.write_metadata(
        name,
        directory,
        {
            "user_index": np.int64,
            "item_index": np.int32,
            "rating": np.float32,
            "timestamp": np.int64,
            **dict.fromkeys(("text", "summary", "explanation", "feature"), tfds.features.Text()),
        },
        lengths,
        {split: shards_of_split.close() for split, shards_of_split in written.items()},
        f"Reviews of {name.removesuffix(f'_{FOLDER}')}, by rec_align.",
    )
    return num_explained
