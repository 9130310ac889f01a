"""Meshes of eight simulated devices, two processes, and checkpoints between them."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from rec_align.models.partitioning import mesh_axes
from rec_align.training import optimizers, sharding
from rec_align.training.state import abstract_state
from tests.training import mesh_run

ROOT = pathlib.Path(__file__).parents[2]


def start(model_dir, mesh: str, steps: int, *hosts, devices: int = 8) -> subprocess.Popen:
    environment = dict(os.environ, JAX_PLATFORMS="cpu")
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    arguments = [str(argument) for argument in (model_dir, mesh, steps, *hosts)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.mesh_run", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen) -> dict:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return f"localhost:{found.getsockname()[1]}"


def start_two(model_dir, mesh: str, steps: int) -> list[subprocess.Popen]:
    address = free_address()
    return [start(model_dir, mesh, steps, address, 2, index, devices=4) for index in range(2)]


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The losses of eight steps on one device, and the run's folder."""
    model_dir = tmp_path_factory.mktemp("one")
    return model_dir, mesh_run.run(model_dir, "1x1x1", 8)[1]


@pytest.mark.parametrize("mesh", ["1x8", "8x1", "2x2x2", "1x8x1"])
def test_every_mesh_gives_the_losses_of_one_device(tmp_path, one_device, mesh):
    losses = result(start(tmp_path, mesh, 8))["losses"]
    np.testing.assert_allclose(losses, one_device[1], rtol=2e-5)


def test_two_processes_give_the_losses_of_one_device(tmp_path, one_device):
    found = [result(process) for process in start_two(tmp_path, "2x2x2", 8)]
    assert found[0] == found[1]
    # What a host counts is its own part, what the loss is made of is everything.
    np.testing.assert_allclose(found[0]["losses"], one_device[1], rtol=2e-5)


def test_a_checkpoint_of_one_mesh_loads_on_another(tmp_path, one_device):
    mesh_run.run(tmp_path, "1x1x1", 5)
    resumed = result(start(tmp_path, "2x2x2", 8))["losses"]
    np.testing.assert_allclose(resumed, one_device[1][-len(resumed) :], rtol=2e-5)
    _, done = mesh_run.run(tmp_path, "1x1x1", 9)  # what eight devices wrote, on one
    whole = mesh_run.run(tmp_path / "whole", "1x1x1", 9)[1]
    np.testing.assert_allclose(done, whole[-len(done) :], rtol=2e-5)


def test_a_signal_to_one_process_stops_both_after_the_same_step(tmp_path):
    processes = start_two(tmp_path, "1x8x1", 100_000)
    checkpoints = tmp_path / "checkpoints"
    deadline = time.monotonic() + 200
    while not (checkpoints.exists() and any(p.name.isdigit() for p in checkpoints.iterdir())):
        assert time.monotonic() < deadline and processes[0].poll() is None
        time.sleep(0.2)
    processes[1].send_signal(signal.SIGTERM)
    found = [result(process) for process in processes]
    assert found[0] == found[1]
    assert found[0]["stopped_by"] == "SIGTERM"
    assert (checkpoints / str(found[0]["step"])).exists()


def mesh(**sizes):
    return jax.sharding.AbstractMesh(tuple(sizes.values()), tuple(sizes))


def test_rules_split_what_divides():
    eight = mesh(data=2, fsdp=2, model=2)
    assert mesh_axes(("embed", "mlp"), (64, 255), eight) == PartitionSpec(("fsdp",), None)
    batch = mesh_axes(("batch", "length", "embed"), (8, 16, 64), eight)
    assert batch == PartitionSpec(("data", "fsdp"), None, None)  # a batch goes before embed
    assert mesh_axes(("batch",), (2,), eight) == PartitionSpec(("data",))


@pytest.mark.parametrize("make", [optimizers.adamw, optimizers.adafactor])
def test_all_large_arrays_are_split(make):
    config = {**vars(mesh_run.NETWORK.config), "emb_dim": 256, "mlp_dim": 512, "vocab_size": 1024}
    network = mesh_run.Transformer(mesh_run.T5Config(**config))
    devices = mesh(data=1, fsdp=2, model=2)
    state, _ = abstract_state(network, make(optax.constant_schedule(1.0)), devices)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if np.prod(leaf.shape) >= 256:
            parts = np.prod(leaf.shape) / np.prod(leaf.sharding.shard_shape(leaf.shape))
            # Norms and what a factored moment keeps have one dimension to be split.
            assert parts == (2 if len(leaf.shape) == 1 else 4), jax.tree_util.keystr(path)


def test_what_does_not_fit_is_refused():
    for shape in ("3x1x1", "axb", "1x1x1x1", "0x1", "-1x-1"):
        with pytest.raises(ValueError, match="MESH"):
            sharding.make_mesh(shape)
    with pytest.raises(ValueError, match="BATCH_SIZE: 3 does not divide"):
        sharding.host_shard(mesh(data=2, fsdp=1, model=1), 3)
