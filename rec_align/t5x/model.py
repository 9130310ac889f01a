"""Our network as a T5X model, for `python -m t5x.train`, `t5x.eval` and `t5x.infer`.

T5X brings the loop, the partitioning and the checkpoints; this class gives it our network, our
feature converter, and prediction as the metrics of our tasks need it. Bound in gin/t5x/*.gin.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from t5x import models
from t5x.optimizers import OptimizerDefType

from rec_align import runs
from rec_align.decoding.entity_tries import EntityTries
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.lora import join
from rec_align.models.t5 import Transformer
from rec_align.pipeline.features import RecFeatureConverter
from rec_align.training import prediction
from rec_align.training.state import NETWORK_FEATURES, split_trained


class RecommenderModel(models.EncoderDecoderModel):
    """The network, its loss per target token, and one best answer a row with what metrics need.

    Where T5X's own models return beams best last, here nothing is to be turned: the prediction is
    the one best answer, and the lists beside it stay best first, as our metrics read them.

    Args:
      module: the network; a vocab_size of 0 is taken from the vocabulary.
      mixture_or_task_name: whose vocabulary and catalogue.
      optimizer_def: for training only.
      beam_size: prefixes kept alive a user, where an item of the catalogue is asked for.
      num_results: items returned a user; more than `beam_size` costs almost nothing.
      label_smoothing: as T5X has it: spread over the other tokens, not over all.
      z_loss: weight of log(Z)^2.
    """

    # Blocks follow the lengths of their tokens, which SeqIO's own check does not know.
    FEATURE_CONVERTER_CLS = staticmethod(
        functools.partial(RecFeatureConverter, apply_length_check=False)
    )

    def __init__(
        self,
        module: Transformer,
        mixture_or_task_name: str,
        optimizer_def: OptimizerDefType | None = None,
        *,
        beam_size: int = 20,
        num_results: int = 50,
        label_smoothing: float = 0.0,
        z_loss: float = 1e-4,
    ):
        if module.config.rates:
            raise ValueError(
                f"T5Config.rating_head is {module.config.rating_head!r}: heads are trained by the "
                "built-in engine alone, python -m rec_align.train; T5X generates ratings as text."
            )
        vocabulary = runs.corpus_vocabulary(mixture_or_task_name)
        super().__init__(
            module=runs.for_vocabulary(module, vocabulary),
            input_vocabulary=vocabulary,
            output_vocabulary=vocabulary,
            optimizer_def=optimizer_def,
            feature_converter_cls=functools.partial(
                self.FEATURE_CONVERTER_CLS, entities=module.config.reads_entities
            ),
            label_smoothing=label_smoothing,
            z_loss=z_loss,
            # The mean over the batch's target tokens, as in the built-in engine.
            loss_normalizing_factor="NUM_REAL_TARGET_TOKENS",
        )
        self._beam_size = beam_size
        self._num_results = num_results

    def get_initial_variables(
        self,
        rng: jax.Array,
        input_shapes: Mapping[str, Any],
        input_types: Mapping[str, Any] | None = None,
    ) -> flax.core.FrozenDict:
        """Fresh parameters and their logical axes; no shape of the input matters for them."""
        del input_shapes, input_types
        tokens = jnp.ones((1, 2), jnp.int32)
        return flax.core.freeze(self.module.init(rng, tokens, tokens))

    def _compute_logits(
        self,
        params: Any,
        batch: Mapping[str, jax.Array],
        dropout_rng: jax.Array | None = None,
        mutable: Any = False,
        other_variables: Mapping[str, Any] | None = None,
    ) -> Any:
        """Teacher forcing, with blocks; T5X's loss, metrics and `score_batch` build on it."""
        if self.module.config.lora:
            # T5X would train everything: without a gradient the frozen parameters stay.
            trained, frozen = split_trained(self.module, params)
            params = join(trained, jax.lax.stop_gradient(frozen))
        return self.module.apply(
            {"params": params, **(other_variables or {})},
            **{name: batch[name] for name in NETWORK_FEATURES if name in batch},
            enable_dropout=dropout_rng is not None,
            rngs=None if dropout_rng is None else {"dropout": dropout_rng},
            mutable=mutable,
        )

    @functools.cached_property
    def _catalogue(self) -> tuple[CatalogueTrie, np.ndarray]:
        # Read when first decoded, so that training alone never does. T5X gives no place for
        # arguments beside the batch: both become constants of the compiled program.
        item_tokens = runs.item_tokens(self.output_vocabulary)
        return CatalogueTrie.build(item_tokens), item_tokens

    @functools.cached_property
    def _entity_tries(self) -> EntityTries:
        return runs.open_entity_tries(self.output_vocabulary)

    def predict_batch_with_aux(
        self, params: Any, batch: Mapping[str, jax.Array], rng: jax.Array | None = None
    ) -> prediction.Outputs:
        """The best answer of each row: a candidate, an item, an entity, or free text.

        Rows with `candidate_tokens` are ranked exactly, those with `in_catalogue` decoded within
        the catalogue, those with `entity_kind` within the values of that kind; others are decoded
        greedily, as long as the batch's targets at most.

        Args:
          params: of the network.
          batch: model features of one task, not packed.
          rng: unused, nothing is sampled.

        Returns:
          Tokens [batch, length], 0 after EOS; and `candidate_scores`, or `item_indices`, `scores`,
          `num_returned` and `num_exact`, or nothing, each with [batch] first.
        """
        del rng
        inputs = prediction.user_inputs(batch)
        if "candidate_tokens" in batch:
            candidates = batch["candidate_tokens"]
            scores = prediction.rank(self.module, params, inputs, candidates)
            return prediction.ranking_outputs(candidates, scores)
        if "in_catalogue" in batch:
            trie, item_tokens = self._catalogue
            found = prediction.recommend(
                self.module,
                params,
                inputs,
                trie,
                beam_size=self._beam_size,
                num_results=self._num_results,
            )
            return prediction.retrieval_outputs(jnp.asarray(item_tokens), found)
        if "entity_kind" in batch:
            answers = prediction.fill(
                self.module,
                params,
                inputs,
                batch["entity_kind"],
                self._entity_tries,
                beam_size=self._beam_size,
            )
            return answers, {}
        max_steps = batch["decoder_input_tokens"].shape[1]
        return prediction.generate(self.module, params, inputs, max_steps=max_steps), {}
