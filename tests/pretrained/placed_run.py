"""Loads checkpoints onto eight simulated devices: `python placed_run.py PATH ...`, from a test."""

import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from rec_align.models.t5 import Transformer
from rec_align.pretrained import opening
from rec_align.pretrained.sizes import config_of
from rec_align.training.state import init_params


def main(path: str) -> None:
    checkpoint = opening.open_checkpoint(path)
    mesh = jax.make_mesh((2, 4), ("data", "model"))
    spec = {1: PartitionSpec(), 2: PartitionSpec(None, "model")}
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec[len(leaf.shape)])
        ),
        jax.eval_shape(lambda: init_params(Transformer(config_of(checkpoint.shapes)), 0)),
    )
    params = opening.load_params(path, like)
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = "/".join(key.key for key in key_path)
        whole = checkpoint.read(name, ())
        assert leaf.sharding == NamedSharding(mesh, spec[leaf.ndim]), name
        assert len(leaf.addressable_shards) == 8
        for shard in leaf.addressable_shards:
            if leaf.ndim == 2:
                assert shard.data.shape == (leaf.shape[0], leaf.shape[1] // 4), name
            np.testing.assert_array_equal(shard.data, whole[shard.index])

    # Devices with the same part share one reading, and nobody reads more than its part.
    calls = []

    def read(name, index):
        calls.append(index)
        return checkpoint.read(name, index)

    counted = type(checkpoint)(**vars(checkpoint) | {"read": read})
    opening._place(counted, "token_embedder/embedding", like["token_embedder"]["embedding"])
    assert sorted(index[1].start for index in calls) == [0, 4, 8, 12], calls
    print(f"placed {path}")


for path in sys.argv[1:]:
    main(path)
