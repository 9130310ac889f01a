"""Raw interaction logs -> TFDS datasets of user histories, with a catalogue and a vocabulary.

The way through the room: `sources` finds files, `tables` reads any table in batches,
`interactions` and `items` give its columns meaning, `user_parts` puts the log on disk by user,
`kcore` and `splits` cut histories, `catalogue` names the items (`user_log` is the way so far, and
`beam_build` the same on Apache Beam: `by_part` sums what the parts say), `vocabulary` trains the
tokenizer, `histories_tfds` writes the dataset, and `corpus` builds and opens all of it. Where a
source has review text (see `amazon2014`), `review_parts` takes it to the users' parts,
`explanations` finds the sentence that matters, and `reviews_tfds` writes a dataset of its own. A
new dataset is one file here (see `movielens`). Nothing here imports JAX; TensorFlow is imported
only while a dataset is being written.
"""
