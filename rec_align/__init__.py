"""rec_align: turn recommender data into language-model recommenders.

The rooms, from raw logs to scored recommendations: `data`, `prompts`, `pipeline`, `models`,
`training`, `decoding`, `metrics`. Importing this package loads neither JAX nor TensorFlow.
"""

__version__ = "0.1.0"
