"""Parameters from elsewhere and back: Hugging Face T5 directories, T5X checkpoints, our own runs.

Every kind is opened as one `Checkpoint`, whose parameters have the network's names and are read
one at a time, so that a model larger than half of the memory can be converted.
"""
