"""The loop: it learns, resumes bit for bit, keeps the right checkpoints, stops when asked."""

import json
import os
import signal

import jax
import numpy as np
import optax
import pytest

from rec_align.models.t5 import T5Config, Transformer
from rec_align.training import loop, sharding
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.prefetch import prefetch
from rec_align.training.progress import JsonlWriter
from rec_align.training.state import init_state

NETWORK = Transformer(
    T5Config(
        vocab_size=128,
        emb_dim=16,
        num_heads=2,
        head_dim=8,
        num_encoder_layers=1,
        num_decoder_layers=1,
        mlp_dim=16,
        dropout_rate=0.1,  # so that resuming must repeat dropout, too
    )
)
OPTIMIZER = optax.adam(1e-2)


def batch(step: int) -> dict[str, np.ndarray]:
    """Copying: the target is the input's first token."""
    rng = np.random.default_rng(step)
    inputs = rng.integers(2, 20, (8, 4))
    targets = np.stack([inputs[:, 0], np.ones(8, int)], axis=1)
    return {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.stack([np.zeros(8, int), inputs[:, 0]], axis=1),
        "decoder_target_tokens": targets,
        "decoder_loss_weights": np.ones((8, 2), int),
    }


def batches_from(step: int):
    while True:
        yield batch(step)
        step += 1


def run(model_dir, total_steps, batches=batches_from, checkpoint_every=5, **kwargs):
    return loop.train(
        NETWORK,
        OPTIMIZER,
        batches,
        [batch(10_000)],
        model_dir,
        loop.Schedule(total_steps=total_steps, log_every=5, checkpoint_every=checkpoint_every),
        **kwargs,
    )


def leaves(outcome):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(outcome.state)]


def test_it_learns(tmp_path):
    run(tmp_path, 150, checkpoint_every=75, writers=[JsonlWriter(tmp_path)])
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert len(losses) == 2 and losses[-1] < 0.7 * np.log(18)  # of two tokens, one is always EOS
    train = next(row for row in rows if "loss" in row)
    assert train["step"] == 5 and train["targets_per_second"] > 0
    assert train["padding_share_inputs"] == 0


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_label_smoothing_is_a_share_below_one(tmp_path, share):
    with pytest.raises(ValueError, match="give 0, or a share below 1"):
        run(tmp_path, 1, label_smoothing=share)


def test_resuming_is_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole", 12)
    run(tmp_path / "parts", 7, checkpoint_every=7)
    resumed = run(tmp_path / "parts", 12)
    for expected, found in zip(leaves(whole), leaves(resumed), strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on(tmp_path, number):
    def interrupted(step):
        for current, made in enumerate(batches_from(step), step):
            if current == 6:
                os.kill(os.getpid(), number)
            yield made

    before = signal.getsignal(number)
    stopped = run(tmp_path / "stopped", 12, interrupted)
    assert stopped.stopped_by == signal.Signals(number).name
    assert 1 <= int(stopped.state.step) < 12
    resumed = run(tmp_path / "stopped", 12)
    assert resumed.stopped_by is None
    whole = run(tmp_path / "whole", 12)
    for expected, found in zip(leaves(whole), leaves(resumed), strict=True):
        np.testing.assert_array_equal(expected, found)
    assert signal.getsignal(number) == before


def test_the_newest_and_the_best_are_kept(tmp_path):
    mesh = sharding.make_mesh()
    checkpoints = Checkpoints(tmp_path, keep=2)
    state, _ = init_state(NETWORK, OPTIMIZER, mesh, seed=0)
    params = state.params
    for step, loss in [(1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5), (5, 2.6)]:
        marked = jax.tree.map(lambda p, step=step: p * 0 + step, params)
        checkpoints.save(state._replace(step=jax.numpy.int32(step), params=marked), loss)
        checkpoints.wait()
    kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert kept == [2, 4, 5]
    abstract = sharding.abstract_params(NETWORK, mesh)
    for which, expected in [("best", 2), ("latest", 5), (4, 4)]:
        step, restored = checkpoints.restore_params(abstract, which)
        assert step == expected
        assert all(np.all(np.asarray(leaf) == expected) for leaf in jax.tree.leaves(restored))
    with pytest.raises(ValueError, match=r"no checkpoint of step 3 .*\[2, 4, 5\]"):
        checkpoints.restore_params(abstract, 3)


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path):
    run(tmp_path, 2)
    other = Transformer(T5Config(**{**vars(NETWORK.config), "mlp_dim": 24}))
    abstract = sharding.abstract_params(other)
    with pytest.raises(
        ValueError, match=r"mlp/wi_0/kernel: checkpoint \(16, 16\), network \(16, 24"
    ):
        Checkpoints(tmp_path).restore_params(abstract)
    with pytest.raises(ValueError, match="no checkpoint in"):
        Checkpoints(tmp_path / "empty", create=False)
    assert not (tmp_path / "empty").exists()


def test_prefetch_keeps_order_and_raises():
    assert list(prefetch(iter(range(50)), depth=2)) == list(range(50))

    def failing():
        yield 1
        raise ValueError("broken source")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken source"):
        next(items)
