"""Users by name in the prompt, as P5 has them (Geng et al. 2022, section 3.1): an option, off.

A user is written 'User 1234.', the number being `user_index`: the rank of a hash of the user's id,
so it tells nothing of when a user came or what they took. A user that train does not have is a
stranger to the model, which is why it is off.
"""

import gin
import tensorflow as tf

from rec_align.pipeline.ragged import Batch, map_batches


@gin.configurable
def name_users(dataset: tf.data.Dataset, *, enabled: bool = False) -> tf.data.Dataset:
    """Puts the user before the prompt where it is enabled.

    Example: parts 'Rate:' 'A:' of user 12 -> 'User 12.' 'Rate:' 'A:'.

    Args:
      dataset: examples of `fill_template`.
      enabled: `--gin.name_users.enabled=True`, for training and evaluation alike.

    Returns:
      Examples with one more part in front, in block 0, which is never cut: their first entity.
    """
    if not enabled:
        return dataset

    def name(batch: Batch) -> Batch:
        users = tf.strings.join(["User ", tf.strings.as_string(batch["user_index"]), "."])
        nothing = tf.zeros_like(users[:, None], tf.int32)
        entities = batch["inputs_part_entities"]
        later = entities.with_values(entities.values + tf.cast(entities.values > 0, tf.int32))
        return batch | {
            "inputs_parts": tf.concat([users[:, None], batch["inputs_parts"]], axis=1),
            "inputs_part_blocks": tf.concat([nothing, batch["inputs_part_blocks"]], axis=1),
            "inputs_part_items": tf.concat([nothing, batch["inputs_part_items"]], axis=1),
            "inputs_part_entities": tf.concat([nothing + 1, later], axis=1),
            "inputs_pretokenized": tf.strings.join(
                [users, batch["inputs_pretokenized"]], separator=" "
            ),
        }

    return map_batches(dataset, name)
