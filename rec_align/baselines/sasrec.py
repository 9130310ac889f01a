"""SASRec: trained by the epoch in one jitted scan, stopped early, kept in one file.

The network is in `models/sasrec.py`. All users' items lie one after the other, in a fresh order
each epoch, and are cut into rows of `max_length`: no padding, and a long history is cut at another
place each time.
"""

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath
from flax import linen as nn
from flax import traverse_util

from rec_align.baselines import protocol
from rec_align.data.arrays import write_arrays
from rec_align.metrics.ranking import ndcg
from rec_align.models.sasrec import (
    SASRecConfig,
    SASRecNetwork,
    full_softmax_loss,
    sampled_softmax_loss,
)

# Up to so many items the softmax is over all of them: exact, and on a CPU still seconds an epoch.
MOST_ITEMS_OF_FULL_SOFTMAX = 5_000
ITEMS_IN_BATCH = 800  # with their targets; about 16 rows of 50
LEAST_STEPS = 100  # of an epoch: a small corpus is gone through more than once
OPTIMIZER = optax.adam(1e-3, b2=0.98)  # as in the authors' code
_SECONDS = 5  # between two lines of progress

Array = jax.Array


def default_config(num_items: int) -> SASRecConfig:
    """The recipe for a catalogue.

    Sizes and dropout are those that others found best on Amazon's catalogues. On small ones the
    softmax is over the whole. On others the history is no more among the negatives than anything
    else, so its items stand high: compare, and recommend, without it. Other sizes:
    `dataclasses.replace(default_config(num_items), emb_dim=128)`.

    Example:
      >>> default_config(1_349).num_negatives, default_config(12_101).num_negatives
      (None, 1024)
    """
    return SASRecConfig(
        num_items=num_items,
        num_negatives=None if num_items <= MOST_ITEMS_OF_FULL_SOFTMAX else 1_024,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SASRec:
    """A trained network.

    Attributes:
      config: its size.
      params: its parameters, NumPy arrays.
    """

    config: SASRecConfig
    params: Mapping

    @classmethod
    def fit(
        cls,
        histories: protocol.Histories,
        num_items: int,
        *,
        validation: protocol.HeldOut,
        seed: int = 0,
        report: Callable[[str], None] = print,
        config: SASRecConfig | None = None,
        num_epochs: int = 200,
        patience: int = 20,
    ) -> "SASRec":
        """Trains until validation NDCG@10 no longer rises, the history excluded.

        Where all validation targets are of their users' histories, these are not excluded. See
        `protocol.Fit`.

        Args:
          config: None for `default_config(num_items)`.
          num_epochs: most rounds over the interactions, each of `LEAST_STEPS` or more.
          patience: epochs without a better NDCG@10 that end it. The best epoch's parameters stay.

        Raises:
          ValueError: no history has two items, there are no validation targets, an item is outside
            the catalogue, or the config is for another catalogue.
        """
        config = config or default_config(num_items)
        pairs = _NextItems.of(histories, num_items)
        _check(config, pairs, num_items, validation, num_epochs)
        key = jax.random.key(seed)
        rng = np.random.default_rng(seed)
        params = _fresh_params(config, key)
        state = (params, OPTIMIZER.init(params), jax.random.fold_in(key, 1))
        exclude_history = not all(map(np.isin, validation.targets, validation.histories))
        best, best_ndcg, best_epoch, said = None, -1.0, 0, time.monotonic()
        for epoch in range(1, num_epochs + 1):
            state, loss = _train_epoch(state, pairs.rows(config.max_length, rng), config=config)
            model = cls(config=config, params=state[0])
            ranks = protocol.ranks(model, validation, exclude_history=exclude_history)
            found = float(ndcg(ranks, 10).mean())
            if found > best_ndcg:
                # A copy: the next epoch is given these very buffers.
                best, best_ndcg, best_epoch = jax.tree.map(np.array, state[0]), found, epoch
            stopped = epoch - best_epoch >= patience
            if time.monotonic() - said > _SECONDS or stopped or epoch == num_epochs:
                said = time.monotonic()
                report(
                    f"SASRec: epoch {epoch} of {num_epochs} at most, loss {loss:.4f}, validation "
                    f"NDCG@10 {found:.4f}, best {best_ndcg:.4f} after epoch {best_epoch}"
                )
            if stopped:
                break
        return cls(config=config, params=best)

    def score(self, users: np.ndarray, histories: protocol.Histories) -> np.ndarray:
        """See `protocol.Baseline.score`; 0 for all items where there is no history."""
        del users
        protocol.flatten(histories, self.config.num_items)
        recent = [np.asarray(history)[-self.config.max_length :] for history in histories]
        lengths = np.array([len(history) for history in recent], np.int32)
        # Rows of a few sizes only: each is compiled once.
        length = min(self.config.max_length, _power_of_two(lengths.max(initial=1)))
        items = np.zeros((_power_of_two(len(recent)), length), np.int32)
        for row, history in zip(items, recent, strict=False):
            row[: len(history)] = history
        padded = np.pad(lengths, (0, len(items) - len(recent)))
        scores = _score(self.params, items, padded, config=self.config)
        return np.asarray(scores)[: len(recent)]

    @property
    def item_embeddings(self) -> np.ndarray:
        """[num_items, emb_dim] float32, by which it scores."""
        return np.asarray(self.params["item_embedding"])

    def save(self, path: epath.PathLike) -> None:
        """Writes one file, an .npz of all arrays and the config."""
        arrays = traverse_util.flatten_dict(jax.device_get(dict(self.params)), sep="/")
        write_arrays(path, {"config": json.dumps(dataclasses.asdict(self.config)), **arrays})

    @classmethod
    def load(cls, path: epath.PathLike) -> "SASRec":
        """Reads what `save` wrote; `ValueError` where it is something else."""
        with epath.Path(path).open("rb") as file, np.load(file) as stored:
            if "config" not in stored or "item_embedding" not in stored:
                raise ValueError(f"{path} holds no SASRec: it has {stored.files}")
            arrays = dict(stored)
        config = SASRecConfig(**json.loads(str(arrays.pop("config"))))
        params = traverse_util.unflatten_dict(arrays, sep="/")
        fresh = jax.eval_shape(functools.partial(_fresh_params, config), jax.random.key(0))
        if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, fresh):
            raise ValueError(f"{path} holds the SASRec of another version: fit it again")
        return cls(config=config, params=params)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _NextItems:
    """Every item of train with the one after it, one user after the other.

    Attributes:
      inputs: [total] int32.
      targets: [total] int32, the item after each input.
      lengths: [num_users] int, a user's pairs; users without any are left out.
    """

    inputs: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, histories: protocol.Histories, num_items: int) -> "_NextItems":
        users, items = protocol.flatten(histories, num_items)
        items = items.astype(np.int32)
        has_next = users[:-1] == users[1:]
        return cls(
            inputs=items[:-1][has_next],
            targets=items[1:][has_next],
            lengths=np.unique(users[:-1][has_next], return_counts=True)[1],
        )

    def rows(self, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Rows in random order, in batches.

        Returns:
          "item_indices", "segment_ids" and "targets", [num_batches, batch, length] int32; the last
          rows are filled with padding, segment 0.
        """
        batch_size = max(1, ITEMS_IN_BATCH // length)
        passes = -(-LEAST_STEPS * batch_size * length // len(self.inputs))
        order = np.concatenate([rng.permutation(len(self.lengths)) for _ in range(passes)])
        lengths = self.lengths[order]
        starts = (np.cumsum(self.lengths) - self.lengths)[order]
        ends = np.cumsum(lengths)
        taken = np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1])
        columns = {
            "item_indices": self.inputs[taken],
            "segment_ids": np.repeat(np.arange(1, len(lengths) + 1), lengths),
            "targets": self.targets[taken],
        }
        num_batches = -(-len(taken) // (length * batch_size))
        num_rows = num_batches * batch_size
        shuffled = rng.permutation(num_rows)
        return {
            name: np.pad(column, (0, num_rows * length - len(column)))
            .reshape(num_rows, length)[shuffled]
            .reshape(num_batches, batch_size, length)
            .astype(np.int32)
            for name, column in columns.items()
        }


def _check(
    config: SASRecConfig,
    pairs: _NextItems,
    num_items: int,
    validation: protocol.HeldOut,
    num_epochs: int,
) -> None:
    if config.num_items != num_items:
        raise ValueError(
            f"config.num_items is {config.num_items} and num_items {num_items}: give one catalogue"
        )
    if config.emb_dim % config.num_heads:
        raise ValueError(
            f"config.emb_dim {config.emb_dim} is not a multiple of num_heads {config.num_heads}"
        )
    if not len(pairs.lengths):
        raise ValueError("histories: no user has two train items, so there is no next one to learn")
    if not len(validation.targets):
        raise ValueError("validation has no targets, by which training is stopped")
    if num_epochs < 1:
        raise ValueError(f"num_epochs is {num_epochs}: at least 1 is needed")


def _power_of_two(number: int) -> int:
    """The least power of two that is not below a number of at least 1."""
    return 1 << (int(number) - 1).bit_length()


def _fresh_params(config: SASRecConfig, key: Array) -> Mapping:
    nothing = jnp.zeros((1, config.max_length), jnp.int32)
    return SASRecNetwork(config).init(key, nothing, nothing)["params"]


@functools.partial(jax.jit, static_argnames="config", donate_argnums=0)
def _train_epoch(state, rows, *, config: SASRecConfig):
    """Takes a step a batch; returns the new state and the mean loss."""

    def step(state, batch):
        params, opt_state, key = state
        key, for_step = jax.random.split(key)
        loss, grads = jax.value_and_grad(_loss)(params, batch, for_step, config)
        updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, key), loss

    state, losses = jax.lax.scan(step, state, rows)
    return state, losses.mean()


def _loss(params, batch: Mapping[str, Array], key: Array, config: SASRecConfig) -> Array:
    for_dropout, for_table, for_negatives = jax.random.split(key, 3)
    # Dropped of an item for the whole step, in histories and scores alike, as in RecTools' SASRec
    # until its version 0.15.
    table = nn.Dropout(config.dropout_rate, deterministic=False)
    embedding = table.apply({}, params["item_embedding"], rngs={"dropout": for_table})
    params = {**params, "item_embedding": embedding}
    hidden = SASRecNetwork(config).apply(
        {"params": params},
        batch["item_indices"],
        batch["segment_ids"],
        enable_dropout=True,
        rngs={"dropout": for_dropout},
    )
    what = (hidden, embedding, batch["targets"], batch["segment_ids"] > 0)
    if config.num_negatives is None:
        return full_softmax_loss(*what)
    shape = (config.num_negatives,)
    negatives = jax.random.randint(for_negatives, shape, 0, config.num_items)
    return sampled_softmax_loss(*what, negatives)


@functools.partial(jax.jit, static_argnames="config")
def _score(params, items: Array, lengths: Array, *, config: SASRecConfig) -> Array:
    """[batch, length], [batch] -> [batch, num_items]."""
    is_item = jnp.arange(items.shape[1]) < lengths[:, None]
    hidden = SASRecNetwork(config).apply({"params": params}, items, is_item.astype(jnp.int32))
    last = hidden[jnp.arange(len(items)), jnp.maximum(lengths - 1, 0)]  # [batch, emb_dim]
    return jnp.where(lengths[:, None] > 0, last, 0) @ params["item_embedding"].T
