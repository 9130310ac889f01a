"""SeqIO: corpora -> tasks' examples -> the arrays the model trains on.

The way through the room, in the order of a task's preprocessors:

  sources          user histories and items as tf.data
  seeds            a seed an example; every later draw is a pure function of it
  windows          which items are history, which are targets
  negatives, masking, attributes   what the ranking, masked and item tasks add
  phrasing         items and ratings -> text parts
  templates        parts -> the prompt, still as parts
  tokenization     parts -> tokens and blocks, cut to length
  features         output features, and the converter to model features
  packing          many examples in a row
  batches          a mixture -> an endless, resumable stream of batches

A *part* is a piece of text that is tokenised whole. *Blocks* say who sees whom: an encoder token
sees the blocks up to its own, a target sees the blocks before its own (see
`rec_align/models/masks.py`).
"""
