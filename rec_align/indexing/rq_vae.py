"""Codes by a residual-quantised autoencoder, the RQ-VAE of TIGER (Rajput et al. 2023, section 3.1).

An MLP maps an embedding to a latent vector, each level's codebook quantises what the levels before
it left over (Zeghidour et al. 2021), and an MLP maps the sum of the codes back. The loss is

  |x - decoded|^2 + sum over levels of |sg(residual) - code|^2 + BETA |residual - sg(code)|^2

with the gradient of the reconstruction passed straight through the quantiser.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath
from flax import linen as nn
from flax import traverse_util

from rec_align.data.arrays import write_arrays
from rec_align.indexing.residual_kmeans import (
    check_embeddings,
    check_sizes,
    kmeans,
    nearest,
)

Array = jax.Array

HIDDEN = (512, 256, 128)  # the decoder's are these in reverse
LATENT = 32
BETA = 0.25
BATCH_SIZE = 512  # half of TIGER's: twice the steps in the same time
_WINDOW = 100  # steps of one jitted call; a code unused for so long is dead
_SECONDS = 5  # between two lines of progress
_CHUNK = 8_192  # rows encoded at once


class Mlp(nn.Module):
    """Dense layers of these widths with ReLU between them: [batch, d] -> [batch, widths[-1]]."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.widths[:-1]:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RQVAE:
    """A trained quantiser, used like `residual_kmeans.ResidualKMeans`.

    Attributes:
      params: 'encoder' and 'decoder', the variables of an `Mlp`, and 'codebooks',
        [levels, num_codes, LATENT] float32.
      mean: [d] float32, taken from each embedding.
      scale: what embeddings are divided by after that.
    """

    params: Mapping
    mean: np.ndarray
    scale: float

    @classmethod
    def fit(
        cls,
        embeddings: np.ndarray,
        *,
        num_levels: int = 3,
        num_codes: int = 256,
        seed: int = 0,
        num_steps: int = 4_000,
        optimizer: optax.GradientTransformation | None = None,
        report: Callable[[str], None] = print,
    ) -> "RQVAE":
        """Trains on embeddings.

        Args:
          embeddings: [n, d] float32, finite. They are centred and scaled, all dimensions alike.
          num_levels: codes of an item.
          num_codes: codes of a level, fewer where fewer rows differ.
          seed: of the weights, the codebooks and the batches; the same one gives the same codes on
            the same kind of machine.
          num_steps: of `BATCH_SIZE` rows.
          optimizer: None for `default_optimizer(num_steps)`.
          report: takes a line of progress every few seconds.

        Raises:
          ValueError: the embeddings or the sizes cannot be used.
        """
        check_sizes(num_levels, num_codes)
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}: at least 1 is needed")
        model = start(embeddings, num_levels=num_levels, num_codes=num_codes, seed=seed)
        return train(
            model, embeddings, num_steps=num_steps, optimizer=optimizer, seed=seed, report=report
        )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        levels, num_codes, _ = self.params["codebooks"].shape
        return (num_codes,) * levels

    def codes(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns [n, levels] int32, of embeddings old or new; `ValueError` for other widths."""
        rows = standardised(self, embeddings)
        chunks = [rows[begin : begin + _CHUNK] for begin in range(0, len(rows), _CHUNK)]
        return np.concatenate([np.asarray(_codes(self.params, chunk)) for chunk in chunks])

    def reconstruct(self, codes: np.ndarray) -> np.ndarray:
        """Returns [n, d] float32, what codes [n, levels] stand for; fewer levels are a prefix."""
        codes = np.asarray(codes)
        levels = np.arange(codes.shape[1])
        latents = np.asarray(self.params["codebooks"])[levels, codes].sum(1)
        return np.asarray(_decode(self.params, latents)) * self.scale + self.mean

    def save(self, path: epath.PathLike) -> None:
        """Writes one file, an .npz of all arrays."""
        arrays = traverse_util.flatten_dict(dict(self.params), sep="/")
        write_arrays(path, {"mean": self.mean, "scale": np.float32(self.scale), **arrays})

    @classmethod
    def load(cls, path: epath.PathLike) -> "RQVAE":
        """Reads what `save` wrote; `ValueError` where it is something else."""
        with epath.Path(path).open("rb") as file, np.load(file) as stored:
            if "codebooks" not in stored:
                raise ValueError(f"{path} holds no RQ-VAE: it has {stored.files}")
            arrays = dict(stored)
        mean, scale = arrays.pop("mean"), float(arrays.pop("scale"))
        return cls(params=traverse_util.unflatten_dict(arrays, sep="/"), mean=mean, scale=scale)


@functools.cache  # the steps are compiled for each optimizer anew
def default_optimizer(num_steps: int) -> optax.GradientTransformation:
    """Adam, from 1e-3 down to 0 along a cosine."""
    return optax.adam(optax.cosine_decay_schedule(1e-3, num_steps))


def start(embeddings: np.ndarray, *, num_levels: int, num_codes: int, seed: int) -> RQVAE:
    """Makes a model with fresh weights, and codebooks by k-means on what its encoder gives."""
    embeddings = check_embeddings(embeddings)
    mean = embeddings.mean(0)
    # Equal rows have no scale.
    scale = float(np.sqrt(((embeddings - mean) ** 2).mean())) or 1.0
    dim = embeddings.shape[1]
    for_encoder, for_decoder = jax.random.split(jax.random.key(seed))
    params = {
        "encoder": Mlp((*HIDDEN, LATENT)).init(for_encoder, jnp.zeros((1, dim))),
        "decoder": Mlp((*HIDDEN[::-1], dim)).init(for_decoder, jnp.zeros((1, LATENT))),
    }
    model = RQVAE(params=params, mean=mean, scale=scale)
    residuals = np.array(_encode(params, standardised(model, embeddings)))
    num_codes = min(num_codes, len(np.unique(residuals, axis=0)))
    codebooks = []
    for level in range(num_levels):
        centres = kmeans(residuals, num_codes, seed=seed + level)
        residuals -= centres[nearest(residuals, centres)]
        codebooks.append(np.resize(centres, (num_codes, LATENT)))  # repeated where there are fewer
    return dataclasses.replace(model, params={**params, "codebooks": np.stack(codebooks)})


def train(
    model: RQVAE,
    embeddings: np.ndarray,
    *,
    num_steps: int,
    optimizer: optax.GradientTransformation | None = None,
    seed: int = 0,
    revive: bool = True,
    report: Callable[[str], None] = print,
) -> RQVAE:
    """Trains a model further.

    A code that no row of the last `_WINDOW` steps was nearest to restarts at the residual of a
    random row of the batch, except in the last tenth of the steps: it could not settle any more.

    Args:
      revive: whether unused codes restart.

    Returns:
      The trained model; the rest is as in `RQVAE.fit`.
    """
    rows = jnp.asarray(standardised(model, embeddings))
    optimizer = optimizer or default_optimizer(num_steps)
    state = (model.params, optimizer.init(model.params), jax.random.key(seed))
    said = time.monotonic()
    for begin in range(0, num_steps, _WINDOW):
        end = min(begin + _WINDOW, num_steps)
        state, losses = _steps(
            state,
            rows,
            revive and end <= 0.9 * num_steps,
            optimizer=optimizer,
            num_steps=end - begin,
            batch_size=min(BATCH_SIZE, len(rows)),
        )
        if time.monotonic() - said > _SECONDS:
            said = time.monotonic()
            report(
                f"RQ-VAE: step {end:,} of {num_steps:,}, loss {losses['loss']:.4f}, "
                f"{losses['reconstruction']:.1%} of the variance not reconstructed"
            )
    return dataclasses.replace(model, params=jax.tree.map(np.asarray, state[0]))


def standardised(model: RQVAE, embeddings: np.ndarray) -> np.ndarray:
    """Returns what the encoder takes, [n, d] float32."""
    return (check_embeddings(embeddings, len(model.mean)) - model.mean) / np.float32(model.scale)


@functools.partial(jax.jit, static_argnames=("optimizer", "num_steps", "batch_size"))
def _steps(state, rows, revive, *, optimizer, num_steps, batch_size):
    """Takes some steps, then restarts dead codes; returns the state and the losses' means."""

    def step(state, _):
        params, opt_state, key = state
        key, for_batch = jax.random.split(key)
        batch = rows[jax.random.randint(for_batch, (batch_size,), 0, len(rows))]
        grads, (losses, codes, residuals) = jax.grad(_loss, has_aux=True)(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        counts = jax.nn.one_hot(codes, params["codebooks"].shape[1]).sum(0)  # [levels, num_codes]
        return (optax.apply_updates(params, updates), opt_state, key), (losses, counts, residuals)

    state, (losses, counts, residuals) = jax.lax.scan(step, state, length=num_steps)
    params, opt_state, key = state
    key, for_restart = jax.random.split(key)
    codebooks = params["codebooks"]
    levels, num_codes, _ = codebooks.shape
    row = jax.random.randint(for_restart, (levels, num_codes), 0, batch_size)
    restarted = jnp.take_along_axis(residuals[-1], row[:, :, None], 1)
    dead = revive & (counts.sum(0) == 0)
    params = {**params, "codebooks": jnp.where(dead[:, :, None], restarted, codebooks)}
    return (params, opt_state, key), jax.tree.map(jnp.mean, losses)


def _loss(params, batch):
    """Returns the loss; and its parts, codes [batch, levels], residuals [levels, batch, LATENT]."""
    latents = _encode(params, batch)
    codes, picked, residuals = _quantize(params["codebooks"], latents)
    quantized = latents + jax.lax.stop_gradient(picked.sum(0) - latents)
    reconstruction = ((batch - _decode(params, quantized)) ** 2).sum(1).mean()
    codebook = ((jax.lax.stop_gradient(residuals) - picked) ** 2).sum((0, 2)).mean()
    commitment = ((residuals - jax.lax.stop_gradient(picked)) ** 2).sum((0, 2)).mean()
    loss = reconstruction + codebook + BETA * commitment
    # The rows' variance is 1 a dimension.
    losses = {"loss": loss, "reconstruction": reconstruction / batch.shape[1]}
    return loss, (losses, codes, residuals)


def _quantize(codebooks: Array, latents: Array) -> tuple[Array, Array, Array]:
    """Returns codes [batch, levels], and what they are and quantise, [levels, batch, LATENT]."""
    codes, picked, residuals = [], [], []
    residual = latents
    for codebook in codebooks:
        distances = (codebook**2).sum(1) - 2 * residual @ codebook.T
        code = distances.argmin(1).astype(jnp.int32)
        codes.append(code)
        picked.append(codebook[code])
        residuals.append(residual)
        residual = residual - jax.lax.stop_gradient(picked[-1])
    return jnp.stack(codes, 1), jnp.stack(picked), jnp.stack(residuals)


def _encode(params, rows: Array) -> Array:
    return Mlp((*HIDDEN, LATENT)).apply(params["encoder"], rows)


def _decode(params, latents: Array) -> Array:
    dim = params["encoder"]["params"]["Dense_0"]["kernel"].shape[0]
    return Mlp((*HIDDEN[::-1], dim)).apply(params["decoder"], latents)


@jax.jit
def _codes(params, rows: Array) -> Array:
    return _quantize(params["codebooks"], _encode(params, rows))[0]
