"""Floating-point operations of a training step, counted from the network's shapes.

XLA's own count takes the body of a loop once, however often it runs, so it is too small for scanned
layers and for microbatches. This one is of the matrix products alone, which are all but a few per
cent of a large network's work.
"""

import math
from typing import Any

import jax

from rec_align.models.lora import ADAPTER_NAMES
from rec_align.models.t5 import T5Config
from rec_align.models.t5_config import ADDED_PARTS


def step_flops(config: T5Config, params: Any, rows: int, inputs: int, targets: int) -> float:
    """Floating-point operations of one step over all devices; a multiply-add is two.

    With B rows, L input and T target tokens a row, J = heads x head_dim, forward takes

      kernels:   2 x size x B L        for a kernel of the encoder and the decoder's cross-attention
                                       key and value; B T for the decoder's others and the logits
      attention: 4 B J x (L L          for an encoder layer
                 + T T + T L)          for a decoder layer

    Backward takes twice that: the gradients of a product's inputs and of its kernel. A frozen
    kernel has none of its own. `remat_policy` adds what is computed again: "full" a layer's forward
    but for the MLP's last product, which nothing needs (and, where layers are not scanned, XLA
    keeps cross-attention's keys and values instead), "minimal" attention.

    Args:
      config: of the network.
      params: its parameters or their shapes.
      rows: B, of all devices.
      inputs: L, tokens.
      targets: T, tokens.
    """
    total = 0.0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [key.key for key in path]
        if names[-1] not in ("kernel", *ADAPTER_NAMES) or names[0] in ADDED_PARTS:
            continue
        cross_keys_values = names[-3] == "encoder_decoder_attention" and names[-2] in _FROM_ENCODER
        length = inputs if names[0] == "encoder" or cross_keys_values else targets
        passes = 3 - (config.lora is not None and names[-1] == "kernel")
        in_layer = names[1].startswith("layers_")
        passes += config.remat_policy == "full" and in_layer and names[-2] != "wo"
        total += passes * 2 * math.prod(leaf.shape) * rows * length
    if config.logits_via_embedding:
        total += 3 * 2 * config.vocab_size * config.emb_dim * rows * targets
    encoder = config.num_encoder_layers * inputs * inputs
    decoder = config.num_decoder_layers * targets * (targets + inputs)
    joined = config.num_heads * config.head_dim
    passes = 3 + (config.remat_policy != "none")
    return total + passes * 4 * rows * joined * (encoder + decoder)


_FROM_ENCODER = ("key", "value")
