"""What leaves a task (`output_features`), and its conversion to what the model takes."""

from collections.abc import Mapping

import seqio
import tensorflow as tf

from rec_align.pipeline.packing import pack
from rec_align.pipeline.vocabulary import EOS_ID, CorpusVocabulary

_SPEC = seqio.FeatureConverter.FeatureSpec
# Examples of a task shuffled after sampling. The sources have shuffled the users before, so this
# only parts the windows of one user; filling a larger one delays the first batch by seconds.
SHUFFLE_BUFFER_SIZE = 256
# Blocks lie beside tokens and have their length; so do entities, where a network reads them.
BESIDE = {"inputs_blocks": "inputs", "targets_blocks": "targets"}
ENTITIES = {"inputs_entities": "inputs"}
# What evaluation needs beside tokens, where a task has it.
PASSTHROUGH = {
    "candidate_tokens": _SPEC(dtype=tf.int32, rank=2),
    "in_catalogue": _SPEC(dtype=tf.int32, rank=0),
    "entity_kind": _SPEC(dtype=tf.int32, rank=0),
}


def output_features(corpus: str) -> dict[str, seqio.Feature]:
    """The output features of every task of a corpus. EOS is put by `tokenize_parts`."""
    vocabulary = CorpusVocabulary(corpus)
    tokens = seqio.Feature(vocabulary=vocabulary, add_eos=False)
    numbers = seqio.Feature(vocabulary=seqio.PassThroughVocabulary(size=0), add_eos=False)
    return {
        "inputs": tokens,
        "inputs_blocks": numbers,
        "inputs_entities": numbers,
        "targets": tokens,
        "targets_blocks": numbers,
    }


def shift_right(targets: tf.Tensor, bos_id: int = 0) -> tf.Tensor:
    """Decoder inputs: BOS at the start of every target, else the token before.

    Example: targets 5 6 1 7 1 0 -> 0 5 6 0 7 0. [..., length] int32 -> the same.
    """
    before = tf.concat([tf.fill(tf.shape(targets[..., :1]), EOS_ID), targets[..., :-1]], -1)
    return tf.where(tf.equal(before, EOS_ID), bos_id, before)


class RecFeatureConverter(seqio.EncDecFeatureConverter):
    """Converts tasks' examples with blocks for an encoder-decoder.

    Only the lengths of `inputs` and `targets` are needed; blocks follow them. Without packing,
    `candidate_tokens`, `in_catalogue` and `entity_kind` pass through where the dataset has them.
    With `entities` there is also `encoder_entities`, from `inputs_entities`: which entity of its
    example a token is of, 1 first, 0 = none; for networks with `T5Config.entity_embedding`.

    Worked example, a block-causal one with two targets packed before a plain one:

      ds = [{"inputs": [7, 8, 5], "inputs_blocks": [0, 0, 1],
             "targets": [3, 1, 5, 1], "targets_blocks": [1, 1, 2, 2]},
            {"inputs": [9, 1], "inputs_blocks": [0, 0],
             "targets": [4, 1], "targets_blocks": [1, 1]}]

      {"encoder_input_tokens":  [7, 8, 5, 9, 1, 0],
       "encoder_blocks":        [0, 0, 1, 0, 0, 0],
       "encoder_segment_ids":   [1, 1, 1, 2, 2, 0],
       "encoder_positions":     [0, 1, 2, 0, 1, 0],
       "decoder_target_tokens": [3, 1, 5, 1, 4, 1, 0],
       "decoder_input_tokens":  [0, 3, 0, 5, 0, 4, 0],
       "decoder_loss_weights":  [1, 1, 1, 1, 1, 1, 0],
       "decoder_blocks":        [1, 1, 2, 2, 1, 1, 0],
       "decoder_segment_ids":   [1, 1, 1, 1, 2, 2, 0],
       "decoder_positions":     [0, 1, 2, 3, 0, 1, 0]}
    """

    TASK_FEATURES = {  # noqa: RUF012 - SeqIO's name and form
        **seqio.EncDecFeatureConverter.TASK_FEATURES,
        **{name: _SPEC(dtype=tf.int32) for name in BESIDE},
    }
    MODEL_FEATURES = {  # noqa: RUF012
        **seqio.EncDecFeatureConverter.MODEL_FEATURES,
        "encoder_blocks": _SPEC(dtype=tf.int32),
        "decoder_blocks": _SPEC(dtype=tf.int32),
    }

    def __init__(self, *args, entities: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        self._beside = BESIDE | (ENTITIES if entities else {})
        if entities:
            numbers = _SPEC(dtype=tf.int32)
            self.TASK_FEATURES = {**self.TASK_FEATURES, "inputs_entities": numbers}
            self.MODEL_FEATURES = {**self.MODEL_FEATURES, "encoder_entities": numbers}

    def __call__(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        lengths = {name: task_feature_lengths[name] for name in ("inputs", "targets")}
        lengths |= {name: lengths[tokens] for name, tokens in self._beside.items()}
        passed = {} if self.pack else {k: v for k, v in PASSTHROUGH.items() if k in ds.element_spec}
        if passed.keys() == self._passthrough_features.keys():
            sizes = {k: [*ds.element_spec[k].shape, 0][0] for k in passed}
            return super().__call__(ds, lengths | sizes)
        # Which features pass depends on the task, and one converter may serve many.
        converter = type(self)(
            pack=False,
            apply_length_check=self._apply_length_check,
            bos_id=self.bos_id,
            passthrough_features=passed,
            entities="inputs_entities" in self._beside,
        )
        return converter(ds, task_feature_lengths)

    def _convert_example(self, features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        """Each feature [length], or [rows, length]."""
        targets = features["targets"]
        converted = {
            "encoder_input_tokens": features["inputs"],
            "encoder_blocks": features["inputs_blocks"],
            "decoder_target_tokens": targets,
            "decoder_input_tokens": tf.where(targets > 0, shift_right(targets, self.bos_id), 0),
            "decoder_loss_weights": tf.cast(targets > 0, tf.int32),
            "decoder_blocks": features["targets_blocks"],
        }
        if "inputs_entities" in self._beside:
            converted["encoder_entities"] = features["inputs_entities"]
        if self.pack:
            for ours, theirs in (("inputs", "encoder"), ("targets", "decoder")):
                converted |= {
                    f"{theirs}_{kind}": features[f"{ours}_{kind}"]
                    for kind in ("segment_ids", "positions")
                }
        return converted | {name: features[name] for name in self._passthrough_features}

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        if not self.pack:
            return super()._convert_features(ds, task_feature_lengths)
        lengths = {name: task_feature_lengths[name] for name in ("inputs", "targets")}
        return pack(ds, lengths, self._beside, self._convert_example)

    def _pack_or_pad(
        self, ds: tf.data.Dataset, packed_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        lengths = {k: v for k, v in packed_lengths.items() if k in self.TASK_FEATURES}
        return seqio.trim_and_pad_dataset(ds, lengths)

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> Mapping[str, int]:
        inputs, targets = (task_feature_lengths[name] for name in ("inputs", "targets"))
        lengths = {"encoder_blocks": inputs, "decoder_blocks": targets}
        if "inputs_entities" in self._beside:
            lengths["encoder_entities"] = inputs
        return {**super().get_model_feature_lengths(task_feature_lengths), **lengths}
