"""What training, evaluation and inference share: the network for a corpus, and its predictor."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio
from jax.sharding import Mesh

from rec_align.data.corpus import read_manifest
from rec_align.decoding import entity_tries
from rec_align.decoding.trie import CatalogueTrie
from rec_align.models.lora import join, split_adapters
from rec_align.models.t5 import Transformer
from rec_align.pipeline.entity_values import entity_tokens
from rec_align.pipeline.item_index import open_item_index
from rec_align.pipeline.rating_targets import rating_tokens
from rec_align.pipeline.vocabulary import CorpusVocabulary
from rec_align.pretrained import adapters
from rec_align.pretrained.opening import load_params
from rec_align.training import run_vocabulary, sharding
from rec_align.training.checkpoints import Checkpoints
from rec_align.training.prediction import Predictor
from rec_align.training.state import split_trained


def corpus_vocabulary(mixture_or_task_name: str) -> CorpusVocabulary:
    """The vocabulary, which knows its corpus, of a registered task or mixture.

    Raises:
      ValueError: nothing is registered under that name, or its corpus is not built.
    """
    try:
        provider = seqio.get_mixture_or_task(mixture_or_task_name)
    except ValueError as error:
        raise ValueError(
            f"MIXTURE_OR_TASK_NAME: no task or mixture {mixture_or_task_name!r} is registered. "
            "Build its corpus with `rec-align data build`, or name your module with --import."
        ) from error
    vocabulary = provider.output_features["targets"].vocabulary
    read_manifest(vocabulary.corpus)  # says how to build the corpus where it is not there
    return vocabulary


def subtasks(mixture_or_task_name: str) -> Sequence[seqio.Task]:
    return seqio.get_subtasks(seqio.get_mixture_or_task(mixture_or_task_name))


def for_vocabulary(network: Transformer, vocabulary: seqio.Vocabulary) -> Transformer:
    """The network with an embedding row for each token of the vocabulary."""
    return network.clone(config=network.config.with_vocab_size(vocabulary.vocab_size))


def for_task(network: Transformer, mixture_or_task_name: str) -> Transformer:
    """The network for a task's vocabulary and, where it has a rating head, for its targets.

    Raises:
      ValueError: there is a rating head, and the task asks for something else.
    """
    network = for_vocabulary(network, corpus_vocabulary(mixture_or_task_name))
    written = rating_tokens(seqio.get_mixture_or_task(mixture_or_task_name))
    return network.clone(config=network.config.with_rating_tokens(written, mixture_or_task_name))


def item_tokens(vocabulary: CorpusVocabulary) -> np.ndarray:
    """[num_items, max_item_tokens] int32, how each item of the corpus is written."""
    return open_item_index(vocabulary.corpus, vocabulary).item_tokens


def open_entity_tries(vocabulary: CorpusVocabulary) -> entity_tries.EntityTries:
    """The trie of the known values of each kind of entity."""
    return entity_tries.build(entity_tokens(vocabulary))


def load_run(
    network: Transformer,
    model_dir: str | os.PathLike[str],
    checkpoint: int | str = "best",
    mesh: Mesh | None = None,
) -> tuple[int, Any]:
    """The step and all parameters of a run's checkpoint, those that adapters adapt included.

    Args:
      network: fits the vocabulary already.
      model_dir: the run.
      checkpoint: "best" by validation loss, "latest", or a step.
      mesh: where the parameters go; None: all devices are data.
    """
    abstract = sharding.abstract_params(network, mesh or sharding.make_mesh())
    trained, frozen = split_trained(network, abstract)
    unadapted = split_adapters(abstract)[1]
    base = adapters.read_base(model_dir) if frozen else None
    checkpoints = Checkpoints(model_dir, create=False)
    step, params = checkpoints.restore_params(trained, checkpoint)
    checkpoints.close()
    if base:
        params = join(load_params(base, unadapted), params)  # what was trained counts
    return step, params


def load_predictor(
    network: Transformer,
    vocabulary: CorpusVocabulary,
    model_dir: str | os.PathLike[str],
    *,
    checkpoint: int | str = "best",
    mesh: str | None = None,
    beam_size: int = 20,
    num_results: int = 50,
    max_text_tokens: int = 16,
) -> tuple[int, Predictor]:
    """The step of the checkpoint, and a predictor with its parameters.

    Args:
      network: fits the vocabulary already.
      vocabulary: of the corpus whose items are recommended.
      model_dir: the run.
      checkpoint: "best" by validation loss, "latest", or a step.
      mesh: DATAxFSDPxMODEL devices; None: all devices are data.
      beam_size: see `Predictor`.
      num_results: likewise.
      max_text_tokens: likewise.
    """
    run_vocabulary.check(model_dir, vocabulary.sha256)
    device_mesh = sharding.make_mesh(mesh)
    step, params = load_run(network, model_dir, checkpoint, device_mesh)
    trie = CatalogueTrie.build(item_tokens(vocabulary))
    predictor = Predictor(
        network,
        params,
        trie,
        mesh=device_mesh,
        beam_size=beam_size,
        num_results=num_results,
        max_text_tokens=max_text_tokens,
        open_entity_tries=functools.partial(open_entity_tries, vocabulary),
    )
    return step, predictor
