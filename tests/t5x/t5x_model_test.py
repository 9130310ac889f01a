"""The T5X model against the built-in engine: predictions, scores, placement, adapters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seqio
import tensorflow as tf

pytest.importorskip("t5x.models", reason="T5X is not installed, see docs/t5x.md")

from jax.sharding import PartitionSpec
from t5x import adafactor, optimizers, partitioning, trainer, utils

import tasks  # noqa: F401
from rec_align import eval as eval_script
from rec_align import runs
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.lora import Lora
from rec_align.models.t5 import T5Config, Transformer
from rec_align.pipeline.entity_values import entity_tokens
from rec_align.t5x.model import RecommenderModel
from rec_align.t5x.optimizers import from_optax
from rec_align.training import optimizers as built_in
from rec_align.training.prediction import Predictor
from rec_align.training.state import split_trained

LENGTHS = {"inputs": 128, "targets": 24}
BATCH_SIZE, NUM_USERS = 4, 6  # the last batch is not full
SIZE = {
    "emb_dim": 16,
    "num_heads": 2,
    "head_dim": 8,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "mlp_dim": 16,
    "item_age_bias": True,
    "repeat_bias": True,
}


@pytest.fixture(scope="module", autouse=True)
def data_dir(ml_100k_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(ml_100k_dir))
        yield


def make_model(task_name="ml_100k_aligned", optimizer_def=None, **size) -> RecommenderModel:
    return RecommenderModel(Transformer(T5Config(**SIZE | size)), task_name, optimizer_def)


def make_optimizer(name: str) -> optimizers.OptimizerDef:
    def constant(*, total_steps: int):
        return built_in.constant(peak=1e-2, total_steps=total_steps)

    if name == "adafactor":
        return adafactor.Adafactor()
    return from_optax(built_in.adamw, constant, total_steps=2)


def make_initializer(model: RecommenderModel) -> utils.TrainStateInitializer:
    rules = partitioning.standard_logical_axis_rules(additional_rules=[("lora_rank", None)])
    partitioner = partitioning.PjitPartitioner(num_partitions=1, logical_axis_rules=rules)
    return utils.TrainStateInitializer(
        model.optimizer_def, model.get_initial_variables, {}, partitioner
    )


def uneven(params):
    """Fresh networks hardly tell items apart: noise makes scores differ."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda p: jnp.asarray(p + 0.3 * rng.standard_normal(p.shape), jnp.float32), params
    )


def test_users(task_name: str, model=RecommenderModel) -> tf.data.Dataset:
    """Enumerated model features, as SeqIO's Evaluator gives them to T5X."""
    task = seqio.get_mixture_or_task(task_name)
    examples = task.get_dataset(LENGTHS, "test", shuffle=False, num_epochs=1).take(NUM_USERS)
    converter = model.FEATURE_CONVERTER_CLS(pack=False)
    features = converter(examples, LENGTHS)
    return features.apply(tf.data.experimental.assert_cardinality(NUM_USERS)).enumerate()


test_users.__test__ = False


@pytest.mark.parametrize(
    ("task", "entity_embedding"),
    [
        ("retrieval", "two_dimensional"),
        ("ranking", "whole_word"),
        ("rating", "none"),
        ("entity_infilling", "two_dimensional"),
    ],
)
def test_predictions_are_those_of_the_built_in_engine(task, entity_embedding):
    task_name = f"ml_100k_{task}"
    model = make_model(task_name, entity_embedding=entity_embedding)
    initializer = make_initializer(model)
    state = initializer.from_scratch(jax.random.PRNGKey(0))
    params = uneven(state.params)
    infer = utils.get_infer_fn(
        model.predict_batch_with_aux,
        BATCH_SIZE,
        initializer.train_state_axes,
        initializer._partitioner,
    )
    found, found_aux = infer(test_users(task_name, model), state.replace_params(params))
    items = runs.item_tokens(model.output_vocabulary)
    predictor = Predictor(
        model.module,
        params,
        CatalogueTrie.build(items),
        max_text_tokens=LENGTHS["targets"],
        open_entity_tries=lambda: runs.open_entity_tries(model.output_vocabulary),
    )
    users = test_users(task_name, model)
    assert ("encoder_entities" in users.element_spec[1]) == (entity_embedding != "none")
    expected = eval_script.predict(predictor, items, users, BATCH_SIZE)
    for (index, tokens), (expected_index, expected_tokens) in zip(found, expected[0], strict=True):
        assert index == expected_index
        length = min(len(tokens), len(expected_tokens))
        np.testing.assert_array_equal(tokens[:length], expected_tokens[:length])
        assert not any(tokens[length:]) and not any(expected_tokens[length:])
    assert found_aux.keys() == expected[1].keys()
    for name, values in expected[1].items():
        np.testing.assert_allclose(found_aux[name], values, rtol=1e-5, err_msg=name)
    if task == "entity_infilling":  # every answer is a known value of the kind asked for
        known = entity_tokens(model.output_vocabulary)
        asked = [int(features["entity_kind"]) for _, features in users.as_numpy_iterator()]
        assert len(set(asked)) > 1
        for (_, tokens), kind in zip(found, asked, strict=True):
            rows = {tuple(row[row > 0]) for row in known[kind]}
            assert tuple(np.trim_zeros(tokens, "b")) in rows
    if task == "retrieval":
        for (_, tokens), listed, scores, returned in zip(
            found,
            found_aux["item_indices"],
            found_aux["scores"],
            found_aux["num_returned"],
            strict=True,
        ):
            # Best first, and the prediction is the first: T5X's beams are best last.
            assert (np.diff(scores[:returned]) <= 0).all() and returned > 1
            np.testing.assert_array_equal(tokens, items[listed[0]])


def test_score_batch_is_the_log_probability_of_the_target():
    model = make_model()
    variables = model.get_initial_variables(jax.random.PRNGKey(0), {})
    params = uneven(variables["params"])
    _, batch = next(test_users("ml_100k_retrieval").batch(NUM_USERS).as_numpy_iterator())
    items = runs.item_tokens(model.output_vocabulary)
    predictor = Predictor(model.module, params, CatalogueTrie.build(items))
    candidates = batch["decoder_target_tokens"][:, None]
    expected = predictor.rank(batch | {"candidate_tokens": candidates})[:, 0]
    np.testing.assert_allclose(model.score_batch(params, batch), expected, rtol=1e-5)


def test_rating_heads_are_refused():
    with pytest.raises(ValueError, match="trained by the built-in engine alone"):
        make_model("ml_100k_rating", rating_head="regression")


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_t5x_places_every_parameter(optimizer, lora):
    model = make_model(optimizer_def=make_optimizer(optimizer), lora=lora)
    initializer = make_initializer(model)
    axes = initializer.train_state_axes.params
    shapes = initializer.global_train_state_shape.params
    assert jax.tree.structure(shapes) == jax.tree.structure(
        axes, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)
    )
    assert axes["token_embedder"]["embedding"] == PartitionSpec("model", None)
    assert axes["encoder"]["layers_0"]["mlp"]["wo"]["kernel"] == PartitionSpec("model", None)
    assert axes["encoder"]["encoder_norm"]["scale"] == PartitionSpec(None)
    assert shapes["token_embedder"]["embedding"].shape[0] == model.module.config.vocab_size


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_adapters_alone_are_trained(optimizer):
    model = make_model(optimizer_def=make_optimizer(optimizer), lora=Lora(rank=2))
    initializer = make_initializer(model)
    state = initializer.from_scratch(jax.random.PRNGKey(0))
    before = jax.device_get(state.params)
    _, batch = next(test_users("ml_100k_retrieval").batch(NUM_USERS).as_numpy_iterator())
    del batch["in_catalogue"]
    with trainer.Trainer(
        model=model,
        train_state=state,
        partitioner=initializer._partitioner,
        eval_names=[],
        summary_dir=None,
        train_state_axes=initializer.train_state_axes,
        rng=jax.random.PRNGKey(0),
        learning_rate_fn=lambda step: 1e-2,
        num_microbatches=None,
    ) as run:
        # B starts at zero, so A moves from the second step on.
        run.train(iter([batch, batch]), num_steps=2)
        trained, rest = split_trained(model.module, jax.device_get(run.train_state.params))
    trained_before, rest_before = split_trained(model.module, before)
    assert "repeat_bias" in trained  # no pretrained network has it
    jax.tree.map(np.testing.assert_array_equal, rest, rest_before)
    for leaf, leaf_before in zip(
        jax.tree.leaves(trained), jax.tree.leaves(trained_before), strict=True
    ):
        assert (leaf != leaf_before).any()
