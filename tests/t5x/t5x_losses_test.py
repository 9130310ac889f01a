"""Both engines from the same parameters on the same batches: the same losses."""

import jax
import numpy as np
import pytest

pytest.importorskip("t5x.models", reason="T5X is not installed, see docs/t5x.md")

from flax.core import unfreeze
from t5x import adafactor, partitioning, trainer, utils

import tasks  # noqa: F401
from rec_align.models.t5 import T5Config, Transformer
from rec_align.pipeline.batches import train_batches
from rec_align.t5x.model import RecommenderModel
from rec_align.t5x.optimizers import from_optax
from rec_align.training import optimizers, sharding
from rec_align.training.state import init_state, make_train_step

MIXTURE = "ml_100k_aligned"
NUM_STEPS, LEARNING_RATE, Z_LOSS = 20, 1e-3, 1e-4
# Kernels of 128 x 128 and more, which Adafactor factors, beside norms and biases, which it does
# not.
NETWORK = Transformer(
    T5Config(
        emb_dim=128,
        num_heads=4,
        head_dim=32,
        num_encoder_layers=1,
        num_decoder_layers=1,
        mlp_dim=256,
        item_age_bias=True,
        repeat_bias=True,
        dropout_rate=0.0,
    )
)


def constant(*, total_steps: int):
    return optimizers.constant(peak=LEARNING_RATE, total_steps=total_steps)


@pytest.fixture(scope="module")
def batches(ml_100k_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
        stream = train_batches(
            MIXTURE, task_feature_lengths={"inputs": 128, "targets": 64}, batch_size=4, seed=0
        )
        yield [next(stream) for _ in range(NUM_STEPS)]


@pytest.mark.parametrize("name", ["adafactor", "adamw"])
def test_both_engines_have_the_same_losses(batches, name):
    if name == "adafactor":
        optimizer_def = adafactor.Adafactor()
    else:
        optimizer_def = from_optax(optimizers.adamw, constant, total_steps=NUM_STEPS)
    optimizer = getattr(optimizers, name)(constant(total_steps=NUM_STEPS))
    model = RecommenderModel(NETWORK, MIXTURE, optimizer_def, z_loss=Z_LOSS)
    partitioner = partitioning.PjitPartitioner(
        num_partitions=1, logical_axis_rules=partitioning.standard_logical_axis_rules()
    )
    initializer = utils.TrainStateInitializer(
        optimizer_def, model.get_initial_variables, {}, partitioner
    )
    state = initializer.from_scratch(jax.random.PRNGKey(0))
    params = unfreeze(jax.device_get(state.params))
    theirs = []
    with trainer.Trainer(
        model=model,
        train_state=state,
        partitioner=partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=initializer.train_state_axes,
        rng=jax.random.PRNGKey(1),
        learning_rate_fn=lambda step: LEARNING_RATE,
        num_microbatches=None,
    ) as run:
        for step, batch in enumerate(batches):
            metrics = run.train(iter([batch]), num_steps=1, start_step=step).result()
            theirs.append(float(metrics["cross_ent_loss"].value))

    mesh = sharding.make_mesh()
    with jax.set_mesh(mesh):
        train_step = make_train_step(model.module, optimizer, seed=0, z_loss=Z_LOSS)
        state, frozen = init_state(model.module, optimizer, mesh, seed=0, given=params)
        ours = []
        for batch in batches:
            state, sums = train_step(state, frozen, sharding.shard_batch(batch, mesh))
            ours.append(float(sums["loss_sum"] / sums["num_tokens"]))
    np.testing.assert_allclose(ours[:15], theirs[:15], rtol=0, atol=1e-5)
    # As between meshes: what two programs round otherwise grows with each step of AdamW.
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert ours[-1] < ours[0] - 1  # they do learn
