"""Running a stack of equal layers: one after the other, rematerialised, or as one scanned layer.

The parameters are the same in all cases (`layers_0`, `layers_1`, ...), in memory and on disk. A
scan stacks them inside the step: XLA compiles one layer instead of many, for one more copy of the
stack's parameters and gradients while the step runs.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

# What the backward pass keeps of a layer instead of computing it again; T5X's names.
REMAT_POLICIES = {
    "none": None,  # everything is kept
    "minimal": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


def run_layers(
    layers: Sequence[nn.Module],
    x: jax.Array,
    *context: jax.Array,
    deterministic: bool,
    remat_policy: str,
    scan: bool,
) -> jax.Array:
    """Applies the layers in turn: each is called with (x, *context, deterministic) -> x.

    Args:
      layers: equal but for their parameters.
      x: [batch, length, emb_dim].
      *context: what every layer is given beside it.
      deterministic: no dropout.
      remat_policy: a key of `REMAT_POLICIES`.
      scan: compile one layer only.

    Raises:
      ValueError: an unknown policy.
    """
    if remat_policy not in REMAT_POLICIES:
        raise ValueError(
            f"T5Config.remat_policy is {remat_policy!r}; it must be one of {list(REMAT_POLICIES)}."
        )
    if layers[0].is_initializing() or (remat_policy == "none" and not scan):
        for layer in layers:
            x = layer(x, *context, deterministic)
        return x

    unbound = layers[0].clone(parent=None)

    def apply(x: jax.Array, layer_state: tuple) -> tuple[jax.Array, None]:
        params, key = layer_state
        rngs = None if deterministic else {"dropout": key}
        return unbound.apply({"params": params}, x, *context, deterministic, rngs=rngs), None

    if remat_policy != "none":
        # The barrier against common subexpressions is not needed within a scan.
        apply = jax.checkpoint(apply, policy=REMAT_POLICIES[remat_policy], prevent_cse=not scan)
    key = jax.random.key(0) if deterministic else layers[0].make_rng("dropout")
    states = [
        (layer.variables["params"], jax.random.fold_in(key, number))
        for number, layer in enumerate(layers)
    ]
    if scan:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        return jax.lax.scan(apply, x, stacked)[0]
    for state in states:
        x, _ = apply(x, state)
    return x
