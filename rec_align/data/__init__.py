"""Raw interaction logs -> TFDS datasets of user histories, with a catalogue and a vocabulary.

The way through the room: `sources` finds files, `tables` reads any table, `interactions` and
`items` give its columns meaning, `kcore` and `splits` cut histories, `catalogue` names the items,
`vocabulary` trains the tokenizer, `histories_tfds` writes the dataset, and `corpus` builds and
opens all of it. A new dataset is one file here (see `movielens`). Nothing here imports JAX;
TensorFlow is imported only while a dataset is being written.
"""
