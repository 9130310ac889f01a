"""Plans against real arrays, XLA's own numbers, formulas and the TPU compiler."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import optax
import pytest

from rec_align.models.lora import Lora
from rec_align.models.t5 import Transformer
from rec_align.training import flops, optimizers, sharding, topology
from rec_align.training.plan import GIB, _refused, make_plan
from tests.training import plan_run

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = plan_run.CONFIG
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu, the TPU compiler, is not installed: pip install 'rec_align[tpu]'",
)


def run(*arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.plan_run", *arguments],
        cwd=ROOT,
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def eight_devices() -> dict:
    return run("on_cpu", "2x2x2", "adamw")


def test_arguments_are_the_shards_of_real_arrays_and_what_xla_says(eight_devices):
    memory, xla = eight_devices["plan"]["memory"], eight_devices["xla"]
    assert {kind: memory[kind] for kind in eight_devices["real"]} == eight_devices["real"]
    assert memory["frozen parameters"] == memory["layout padding"] == 0  # a CPU pads nothing
    assert sum(eight_devices["real"].values()) == xla["arguments"]


def test_the_rest_is_what_xla_says_of_the_step_on_real_arrays(eight_devices):
    memory, xla = eight_devices["plan"]["memory"], eight_devices["xla"]
    assert memory["temporaries"] == xla["temporaries"] > 0
    assert memory["outputs"] == xla["outputs"] - xla["aliased"]
    whole = xla["arguments"] + xla["temporaries"] + xla["outputs"] - xla["aliased"]
    assert eight_devices["total"] == whole


def test_it_fits_from_the_total_on(eight_devices):
    assert eight_devices["fits"] == [False, True, True]


def test_parameters_and_moments_by_formula(eight_devices):
    config, memory = CONFIG, eight_devices["plan"]["memory"]
    joined, emb = config.num_heads * config.head_dim, config.emb_dim
    attention, mlp = 4 * emb * joined, 3 * emb * config.mlp_dim
    matrices = 2 * config.vocab_size * emb + 2 * (3 * attention + 2 * mlp)
    norms = emb * (2 * 2 + 2 * 3 + 2)
    biases = 2 * 32 * config.num_heads
    # Matrices are split over fsdp and model, norms over fsdp, relative biases over model.
    shards = 4 * (matrices // 4 + norms // 2 + biases // 2)
    assert memory["parameters"] == shards
    assert memory["optimizer state"] == 2 * shards + 3 * 4  # two moments; steps are counted thrice
    assert eight_devices["plan"]["num_parameters"] == matrices + norms + biases


def test_data_parallel_gradients_are_all_reduced_once():
    found = run("planned", "8x1x1", "adafactor")
    inputs, targets = plan_run.SIZES["inputs"], plan_run.SIZES["targets"]
    # The embedding's gradients of both look-ups go apart; those of the relative biases as matrices.
    embedding = CONFIG.vocab_size * CONFIG.emb_dim
    biases = CONFIG.num_heads * (inputs**2 + targets**2 - 2 * 32)
    sums = 2  # loss and number of tokens
    elements = found["num_parameters"] + embedding + biases + sums
    assert found["collectives"] == {"all-reduce": 4 * elements}


COLLECTIVES = {  # a device's part is [1, 16, 24] float32
    "psum": {"all-reduce": 1536},
    "repeated": {"all-reduce": 5 * 1536},
    "nested": {"all-reduce": 3 * 5 * 1536},
    "stepped": {"all-reduce": 5 * 1536},
    "until_small": {"all-reduce": 1536},  # nobody knows how often
    "all_gather": {"all-gather": 8 * 1536},
    "psum_scatter": {"reduce-scatter": 1536},
    "all_to_all": {"all-to-all": 1536},
    "ppermute": {"collective-permute": 1536},
    "nothing": {},
}


def check_collectives(expected: dict, found: list[dict]) -> None:
    expected = {name: [kinds, int(name == "until_small")] for name, kinds in expected.items()}
    noted, followed = found
    assert noted == expected
    assert followed == expected


def test_collectives_of_known_programs():
    check_collectives(COLLECTIVES, run("collectives"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"remat_policy": "minimal"},
        {"remat_policy": "full"},
        {"logits_via_embedding": True, "mlp_activations": ("relu",)},
        {"lora": Lora(rank=4)},
    ],
    ids=str,
)
def test_flops_are_xlas_within_some_per_cent(changes):
    config = dataclasses.replace(
        CONFIG, emb_dim=256, head_dim=64, mlp_dim=1024, vocab_size=2048, dropout_rate=0.0, **changes
    )
    mesh = sharding.make_mesh("1x1x1", jax.devices()[:1])
    optimizer = optimizers.adafactor(optax.constant_schedule(1e-3))
    plan = make_plan(Transformer(config), optimizer, mesh, batch_size=8, inputs=128, targets=64)
    # XLA counts all operations; it keeps cross-attention's keys and values under "full", and goes
    # back no further than the first adapter: a fair part of two layers.
    assert 0.96 < plan.xla_flops / plan.flops < 1.04


def test_a_loop_hides_flops_from_xla_but_not_from_us():
    network = Transformer(dataclasses.replace(CONFIG, num_encoder_layers=4, scan_layers=True))
    mesh = sharding.make_mesh("1x1x1", jax.devices()[:1])
    optimizer = optimizers.adafactor(optax.constant_schedule(1e-3))
    plan = make_plan(network, optimizer, mesh, batch_size=2, inputs=64, targets=32)
    assert plan.xla_flops < 0.7 * plan.flops


def test_flops_are_linear_in_rows_and_layers():
    def count(rows: int, **changes) -> float:
        config = dataclasses.replace(CONFIG, **changes)
        params = sharding.abstract_params(Transformer(config))
        return flops.step_flops(config, params, rows, 32, 16)

    assert count(6) == 3 * count(2)
    four, two, none = (count(2, num_decoder_layers=n) for n in (4, 2, 1))
    assert four - two == 2 * (two - none)


def test_the_message_of_a_refusal_is_read():
    arguments = {"parameters": 3 * GIB}
    early = "RESOURCE_EXHAUSTED: ... HLO temporaries (18.50G) exceeds available HBM (15.75G)."
    late = "RESOURCE_EXHAUSTED: Used 18.50G of 15.75G hbm. Exceeded hbm capacity by 2.75G."
    for message in (early, late):
        found = _refused(jax.errors.JaxRuntimeError(message), arguments)
        assert found["available"] == 15.75 * GIB
        assert found["memory"] == {"parameters": 3 * GIB, "temporaries": 15.5 * GIB}
    with pytest.raises(jax.errors.JaxRuntimeError, match="another"):
        _refused(jax.errors.JaxRuntimeError("another"), arguments)


def test_what_does_not_divide_is_refused():
    network, optimizer = Transformer(CONFIG), optimizers.adamw(optax.constant_schedule(1.0))
    mesh = sharding.make_mesh("1x1x1", jax.devices()[:1])
    with pytest.raises(ValueError, match="BATCH_SIZE: 3 does not divide"):
        make_plan(network, optimizer, mesh, batch_size=3, inputs=8, targets=8, num_microbatches=2)


def test_topologies_without_the_compiler_say_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'rec_align\[tpu\]'"):
        topology.topology_devices("v5e:8x8")


@needs_libtpu
def test_a_plan_by_the_tpu_compiler():
    found = run("on_tpu")
    plan, refused = found["plan"], found["refused"]
    assert plan["device_kind"] == "TPU v5 lite"
    assert plan["memory"]["program"] > 0
    assert plan["memory"]["layout padding"] > 0  # norms of 64 numbers, in tiles of 1,024
    assert plan["unknown_loops"] == 0 and plan["collectives"]
    assert found["total"] == sum(plan["memory"].values())
    assert refused["available"] == 15.75 * GIB < found["refused_total"]
    assert not found["refused_fits"] and refused["memory"]["parameters"] > 0


@needs_libtpu
def test_collectives_of_known_programs_on_tpu():
    # The TPU compiler reduces small arrays whole and keeps a part.
    check_collectives(
        COLLECTIVES | {"psum_scatter": {"all-reduce": 1536}}, run("collectives", "v5e:2x4")
    )


@needs_libtpu
def test_the_memory_of_each_generation_is_what_its_compiler_grants():
    for generation, available in run("tpu_limits").items():
        assert available == pytest.approx(topology.HBM_GIB[generation] * GIB, rel=1e-3)


@needs_libtpu
def test_an_unknown_topology_is_refused_with_those_that_are_known():
    for name in ("v9:2x2", "v4:2x3x4", "v5e"):
        with pytest.raises(ValueError, match=f"--topology {name}.*v4:2x2x4"):
            topology.topology_devices(name)
