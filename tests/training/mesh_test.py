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
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.state import abstract_state
from tests.training import mesh_run

ROOT = pathlib.Path(__file__).parents[2]


MESHES = ["8x1", "2x2x2", "1x8"]  # the last one goes on with a run of one device
STEPS = 8


def start(folder, meshes: str, steps: int, *hosts, devices: int = 8) -> subprocess.Popen:
    environment = dict(os.environ, JAX_PLATFORMS="cpu")
    flags = [os.environ.get("XLA_FLAGS", ""), f"--xla_force_host_platform_device_count={devices}"]
    environment["XLA_FLAGS"] = " ".join(flags)
    arguments = [str(argument) for argument in (folder, meshes, steps, *hosts)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.mesh_run", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(folder, mesh: str, steps: int) -> list[subprocess.Popen]:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        address = f"localhost:{found.getsockname()[1]}"
    return [start(folder, mesh, steps, address, 2, index, devices=4) for index in range(2)]


def results(folder, processes: list[subprocess.Popen]) -> list[list[dict]]:
    """What each process found, a dict for each mesh."""
    found = []
    for index, process in enumerate(processes):
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-3000:]
        lines = (folder / f"results_{index}.jsonl").read_text().splitlines()
        found.append([json.loads(line) for line in lines])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a run of five steps of one device, for eight to go on from."""
    folder = tmp_path_factory.mktemp("runs")
    mesh_run.run(folder / MESHES[-1], "1x1x1", 5)
    return folder


@pytest.fixture(scope="module")
def one_device(folder):
    """Train and validation losses on one device, of one step more than on eight."""
    return mesh_run.run(folder / "one", "1x1x1", STEPS + 1)[1]


@pytest.fixture(scope="module")
def eight_devices(folder, one_device):
    (found,) = results(folder, [start(folder, ",".join(MESHES), STEPS)])
    return dict(zip(MESHES, found, strict=True))


def test_a_mesh_gives_the_predictions_of_one_device(folder, eight_devices):
    params = Checkpoints(folder / "2x2x2", create=False).restore_params(
        sharding.abstract_params(mesh_run.NETWORK, sharding.make_mesh("1x1x1")), STEPS
    )[1]
    expected, found = mesh_run.recommend(params, "1x1x1"), eight_devices["2x2x2"]
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)
    for name in ("items", "text"):
        same = np.equal(found[name], expected[name]).all(axis=1)
        assert same.mean() > 0.9, name  # equal scores may stand in either order


@pytest.mark.parametrize("mesh", MESHES[:-1])
def test_every_mesh_gives_the_losses_of_one_device(one_device, eight_devices, mesh):
    np.testing.assert_allclose(
        eight_devices[mesh]["losses"][:-1], one_device[: STEPS + 1], rtol=2e-5
    )


def test_a_checkpoint_of_one_mesh_loads_on_another(folder, one_device, eight_devices):
    found = eight_devices[MESHES[-1]]["losses"]
    assert len(found) == STEPS - 5 + 1  # it did go on, and validated at its end
    np.testing.assert_allclose(found[:-1], one_device[6 : STEPS + 1], rtol=2e-5)
    # And what eight devices wrote, on one.
    _, found = mesh_run.run(folder / MESHES[-1], "1x1x1", STEPS + 1)
    np.testing.assert_allclose(found, one_device[-2:], rtol=2e-5)


def test_a_mesh_trains_adapters_as_one_device_does(folder, eight_devices):
    expected = mesh_run.run_adapters(folder, "1x1x1")
    np.testing.assert_allclose(eight_devices["2x2x2"]["adapters"], expected, rtol=2e-5)
    assert len(set(expected)) == 5  # four steps that moved, and a validation


def test_two_processes(tmp_path, one_device):
    """They give the losses and predictions of one, and a signal to one stops both."""
    processes = start_two(tmp_path, "2x2x2", STEPS)  # which then go on until they are stopped
    deadline = time.monotonic() + 600
    try:
        while max(steps_of(tmp_path), default=0) <= STEPS:
            assert time.monotonic() < deadline and processes[0].poll() is None
            time.sleep(0.2)
        processes[1].send_signal(signal.SIGTERM)
        (one, stopped), (other, other_stopped) = results(tmp_path, processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert one == other and "items" in one
    np.testing.assert_allclose(one["losses"][:-1], one_device[: STEPS + 1], rtol=2e-5)
    assert stopped == other_stopped
    assert stopped["stopped_by"] == "SIGTERM"
    np.testing.assert_allclose(stopped["losses"][0], one_device[STEPS + 1], rtol=2e-5)
    assert stopped["step"] > STEPS and stopped["step"] in steps_of(tmp_path)


def steps_of(folder) -> set[int]:
    return {int(path.name) for path in folder.glob("*/checkpoints/*") if path.name.isdigit()}


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
            # Norms, single columns and what a factored moment keeps are split in one dimension.
            num_dimensions = sum(size > 1 for size in leaf.shape)
            assert parts == 2**num_dimensions, jax.tree_util.keystr(path)


def test_what_does_not_fit_is_refused():
    for shape in ("3x1x1", "axb", "1x1x1x1", "0x1", "-1x-1"):
        with pytest.raises(ValueError, match="MESH"):
            sharding.make_mesh(shape)
    with pytest.raises(ValueError, match="BATCH_SIZE: 3 does not divide"):
        sharding.host_shard(mesh(data=2, fsdp=1, model=1), 3)
    with pytest.raises(ValueError, match=r"NUM_MICROBATCHES \(4\)"):
        sharding.host_shard(mesh(data=1, fsdp=64, model=1), 128, 4)
