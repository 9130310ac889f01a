"""Decoding on the device: catalogue trie, constrained beam search, greedy text, exact scores."""
