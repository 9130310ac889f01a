"""Small deterministic runs on meshes, started in processes of their own by mesh_test.py.

python -m tests.training.mesh_run FOLDER MESH[,MESH...] STEPS [ADDRESS COUNT INDEX]
Trains in FOLDER/MESH; prints a JSON line for each mesh: its losses and how it ended.
"""

import json
import os
import sys
from collections.abc import Iterator

import jax
import numpy as np
import optax

from rec_align.models.t5 import T5Config, Transformer
from rec_align.training import loop, optimizers, sharding

BATCH_SIZE = 16
NETWORK = Transformer(
    T5Config(
        vocab_size=128,
        emb_dim=16,
        num_heads=2,
        head_dim=8,
        num_encoder_layers=2,
        num_decoder_layers=1,
        mlp_dim=16,
        item_age_bias=True,
        dropout_rate=0.1,
    )
)


def make_batch(step: int) -> dict[str, np.ndarray]:
    """Copying: the target is the input's first token; half of the rows count."""
    rng = np.random.default_rng(step)
    inputs = rng.integers(2, 20, (BATCH_SIZE, 6))
    first = inputs[:, :1]
    ones = np.ones((BATCH_SIZE, 1), int)
    weights = ones * (np.arange(BATCH_SIZE) % 4 < 3)[:, None]
    return {
        "encoder_input_tokens": inputs,
        "encoder_blocks": np.repeat([[0, 0, 1, 1, 2, 2]], BATCH_SIZE, axis=0),
        "decoder_blocks": np.repeat([[3, 3]], BATCH_SIZE, axis=0),
        "decoder_input_tokens": np.concatenate([0 * ones, first], axis=1),
        "decoder_target_tokens": np.concatenate([first, ones], axis=1),
        "decoder_loss_weights": np.repeat(weights, 2, axis=1),
    }


def run(model_dir: str, mesh_shape: str, steps: int, **kwargs) -> tuple[loop.Outcome, list[float]]:
    mesh = sharding.make_mesh(mesh_shape)
    host, num_hosts = sharding.host_shard(mesh, BATCH_SIZE)
    rows = slice(host * BATCH_SIZE // num_hosts, (host + 1) * BATCH_SIZE // num_hosts)

    def batches_from(step: int) -> Iterator[dict[str, np.ndarray]]:
        while True:
            yield {name: array[rows] for name, array in make_batch(step).items()}
            step += 1

    losses = []

    def keep(step: int, metrics: dict[str, float]) -> None:
        losses.append(metrics.get("loss", metrics.get("validation_loss")))

    outcome = loop.train(
        kwargs.pop("network", NETWORK),
        kwargs.pop("optimizer", optimizers.adamw(optax.constant_schedule(1e-2))),
        batches_from,
        [make_batch(10_000)],
        model_dir,
        loop.Schedule(total_steps=steps, log_every=1, checkpoint_every=5),
        mesh=mesh,
        writers=[keep],
        **kwargs,
    )
    return outcome, losses


def main() -> None:
    folder, meshes, steps, *hosts = sys.argv[1:]
    if hosts:
        jax.distributed.initialize(hosts[0], int(hosts[1]), int(hosts[2]))
    for mesh in meshes.split(","):
        outcome, losses = run(os.path.join(folder, mesh), mesh, int(steps))
        step = int(outcome.state.step)
        print(json.dumps({"losses": losses, "stopped_by": outcome.stopped_by, "step": step}))


if __name__ == "__main__":
    main()
