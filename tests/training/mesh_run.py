"""Small deterministic runs on meshes, started in processes of their own by mesh_test.py.

python -m tests.training.mesh_run FOLDER MESH[,MESH...] STEPS [ADDRESS COUNT INDEX]
Trains in FOLDER/MESH; writes a JSON line for each mesh to FOLDER/results_INDEX.jsonl: its losses,
how it ended, and what the trained network recommends. With ADDRESS it trains on until a signal
stops it, and writes a line of that.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.lora import Lora
from rec_align.models.t5 import T5Config, Transformer
from rec_align.pretrained import adapters
from rec_align.training import loop, optimizers, sharding
from rec_align.training.prediction import Predictor

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
        repeat_bias=True,
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


def run(
    model_dir: str, mesh_shape: str, steps: int, checkpoint_every: int = 5, **kwargs
) -> tuple[loop.Outcome, list[float]]:
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
        loop.Schedule(total_steps=steps, log_every=1, checkpoint_every=checkpoint_every),
        mesh=mesh,
        writers=[keep],
        **kwargs,
    )
    return outcome, losses


def recommend(params: Any, mesh_shape: str) -> dict[str, Any]:
    """Items, candidate scores and text for the users of a batch; whole on every host."""
    rng = np.random.default_rng(0)
    rows = sorted({tuple(rng.integers(2, 20, rng.integers(1, 4))) for _ in range(40)})
    items = np.array([[*row, 1, 0, 0][:4] for row in rows], np.int32)
    predictor = Predictor(
        NETWORK,
        params,
        CatalogueTrie.build(items),
        mesh=sharding.make_mesh(mesh_shape),
        beam_size=5,
        num_results=8,
        max_text_tokens=3,
    )
    users = make_batch(20_000)
    candidates = np.stack([items[:6]] * BATCH_SIZE)
    return {
        "items": predictor.recommend(users).item_indices.tolist(),
        "scores": predictor.rank(users | {"candidate_tokens": candidates}).tolist(),
        "text": predictor.generate(users).tolist(),
    }


def run_adapters(folder: str, mesh_shape: str) -> list[float]:
    """All options at once: adapters of the run in FOLDER/one, scanned and rematerialised layers,
    microbatches, Adafactor. The losses of four steps."""
    config = dataclasses.replace(
        NETWORK.config, lora=Lora(rank=2), scan_layers=True, remat_policy="full", dropout_rate=0.0
    )
    network = NETWORK.clone(config=config)
    model_dir = os.path.join(folder, f"adapters_{mesh_shape}")
    return run(
        model_dir,
        mesh_shape,
        4,
        network=network,
        optimizer=optimizers.adafactor(optax.constant_schedule(1.0)),
        initial_params=adapters.initial_params(network, os.path.join(folder, "one"), model_dir),
        num_microbatches=2,
    )[1]


def main() -> None:
    folder, meshes, steps, *hosts = sys.argv[1:]
    if hosts:
        jax.distributed.initialize(hosts[0], int(hosts[1]), int(hosts[2]))
    runs = [(mesh, int(steps)) for mesh in meshes.split(",")]
    if hosts:
        runs.append((runs[-1][0], 1_000_000))
    ends = []
    for mesh, until in runs:
        outcome, losses = run(os.path.join(folder, mesh), mesh, until)
        step = int(outcome.state.step)
        ended = {"losses": losses, "stopped_by": outcome.stopped_by, "step": step}
        if mesh == "2x2x2" and not outcome.stopped_by:  # all axes; prediction compiles longest
            ended |= recommend(outcome.state.params, mesh)
            if not hosts:
                ended["adapters"] = run_adapters(folder, mesh)
        ends.append(json.dumps(ended))
    results = pathlib.Path(folder, f"results_{jax.process_index()}.jsonl")
    results.write_text("\n".join(ends))  # not printed: gloo writes to stdout too


if __name__ == "__main__":
    main()
