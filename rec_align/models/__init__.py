"""Flax networks and losses. Never imports TensorFlow or SeqIO."""
