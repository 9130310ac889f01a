"""The corpus's own text encoder: a small T5 that learned what its items are.

It is trained on `{corpus}_item_embedding` (title <-> categories, brand, year) of the items that the
train split has, or on `{corpus}_mlm`, the train histories, where nothing but titles is known; the
embedding of a text is the mean of the encoder's outputs. No user's held-out item takes part.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from rec_align import runs
from rec_align.models.t5 import T5Config, Transformer
from rec_align.pipeline import item_writing
from rec_align.pipeline.sources import has_attributes
from rec_align.pipeline.vocabulary import EOS_ID
from rec_align.train import train
from rec_align.training import optimizers

STEPS = 1000
_LENGTHS = {"inputs": 256, "targets": 128}
_MAX_TOKENS = 64
_BATCH_SIZE = 256


def train_text_encoder(corpus: str, folder: epath.PathLike) -> None:
    """Trains the encoder into `folder`; goes on where an earlier call was stopped.

    Raises:
      KeyboardInterrupt: a signal stopped it; what was learned is saved.
    """
    num_devices = jax.device_count()
    with item_writing.using("title"):
        family = "item_embedding" if has_attributes(corpus) else "mlm"
        exit_code = train(
            model=_network(),
            mixture_or_task_name=_task(corpus, family),
            task_feature_lengths=_LENGTHS,
            model_dir=str(folder),
            train_steps=STEPS,
            batch_size=-(-4 // num_devices) * num_devices,
            optimizer=optimizers.adamw,
            learning_rate=functools.partial(optimizers.warmup_linear_decay, peak=3e-3),
            checkpoint_every=STEPS,
            keep_checkpoints=1,
        )
    if exit_code:
        raise KeyboardInterrupt


def encode_texts(corpus: str, folder: epath.PathLike, texts: Sequence[str]) -> np.ndarray:
    """[n, emb_dim] float32, by the encoder that `train_text_encoder` left in `folder`."""
    with item_writing.using("title"):
        vocabulary = runs.corpus_vocabulary(_task(corpus, "mlm"))
        network = runs.for_vocabulary(_network(), vocabulary)
        rows = vocabulary.tokenizer.EncodeAsIds(list(texts))
    _, params = runs.load_run(network, folder, "latest")

    @jax.jit
    def embed(tokens: jax.Array) -> jax.Array:
        encoded = network.apply({"params": params}, tokens, method="encode")
        weights = (tokens > 0)[..., None].astype(jnp.float32)
        return (encoded.astype(jnp.float32) * weights).sum(1) / weights.sum(1)

    tokens = np.zeros((-(-len(rows) // _BATCH_SIZE) * _BATCH_SIZE, _MAX_TOKENS), np.int32)
    tokens[:, 0] = EOS_ID
    for row, ids in enumerate(rows):
        ids = [*ids[: _MAX_TOKENS - 1], EOS_ID]
        tokens[row, : len(ids)] = ids
    batches = [embed(batch) for batch in tokens.reshape(-1, _BATCH_SIZE, _MAX_TOKENS)]
    return np.concatenate(jax.device_get(batches))[: len(rows)]


def _network() -> Transformer:
    # Its size is fixed here: encoders that are stored stay readable whatever `tiny` becomes.
    return Transformer(
        T5Config(
            emb_dim=64,
            num_heads=2,
            head_dim=32,
            num_encoder_layers=2,
            num_decoder_layers=1,
            mlp_dim=256,
            embedding_init_std=0.05,
            dropout_rate=0.0,
        )
    )


def _task(corpus: str, family: str) -> str:
    import tasks

    tasks.register_corpus(corpus)
    return f"{corpus}_{family}"
