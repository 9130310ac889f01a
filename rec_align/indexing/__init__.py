"""How items get codes: short sequences of integers, alike for items that are alike.

Codes are [num_items, levels] int32, -1 where an item has no code at that level, which only happens
after its last code. `residual_kmeans` and `rq_vae` make them of text embeddings (which
`sentence_encoder` can give), `collaborative` of who is bought with whom in train; `distinct` tells
apart items that got the same ones, and `report` says how well the codebooks are used. Nothing here
imports TensorFlow or SeqIO.
"""
