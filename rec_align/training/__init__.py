"""The built-in engine: state, sharding, optimisers, checkpoints, the loop, batched prediction.

Never imports TensorFlow or SeqIO: batches come in as dicts of NumPy arrays.
"""
