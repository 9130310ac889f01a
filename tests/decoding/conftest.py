"""A small autoregressive model with two implementations: a JAX step and a NumPy oracle."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

DIM = 6


@dataclasses.dataclass
class ToyModel:
    """A recurrent cell, `h' = tanh(h W + E[token] + c_user)`, `logits = h' U_user`.

    Each user has a context `c` and output weights `U` of its own; the state depends on the whole
    prefix, so a beam that is moved without its cache gives wrong scores.
    """

    embedding: np.ndarray  # [vocab, dim]
    recurrent: np.ndarray  # [dim, dim]
    context: np.ndarray  # [batch, dim]
    output: np.ndarray  # [batch, dim, vocab]

    @classmethod
    def random(cls, seed: int, batch: int = 3, vocab: int = 12, sharpness: float = 2.0):
        rng = np.random.default_rng(seed)
        return cls(
            embedding=rng.normal(size=(vocab, DIM)).astype(np.float32),
            recurrent=rng.normal(size=(DIM, DIM)).astype(np.float32),
            context=rng.normal(size=(batch, DIM)).astype(np.float32),
            output=(sharpness * rng.normal(size=(batch, DIM, vocab))).astype(np.float32),
        )

    @property
    def batch(self) -> int:
        return self.context.shape[0]

    def cache(self, beam: int = 1) -> dict:
        return {"state": jnp.zeros((self.batch, beam, DIM))}

    def step_fn(self, tokens, cache, step):
        del step
        context = jnp.asarray(self.context)[:, None]
        inputs = jnp.asarray(self.embedding)[tokens] + context  # [batch, beam, dim]
        state = jnp.tanh(cache["state"] @ jnp.asarray(self.recurrent) + inputs)
        return jnp.einsum("bkd,bdv->bkv", state, jnp.asarray(self.output)), {"state": state}

    def logits(self, user: int, tokens) -> np.ndarray:
        """Teacher-forced logits [len(tokens), vocab] in float64, by a plain loop."""
        state, rows, last = np.zeros(DIM), [], 0
        for token in tokens:
            drive = self.embedding[last].astype(np.float64) + self.context[user]
            state = np.tanh(state @ self.recurrent + drive)
            rows.append(state @ self.output[user])
            last = token
        return np.array(rows)

    def score(self, user: int, row) -> float:
        tokens = [int(token) for token in row if token != 0]
        total = 0.0
        for logits, token in zip(self.logits(user, tokens), tokens, strict=True):
            total += logits[token] - np.log(np.sum(np.exp(logits)))
        return total

    def brute_force(self, item_tokens: np.ndarray) -> np.ndarray:
        """Log-probability of every item for every user, [batch, num_items] float64."""
        return np.array(
            [[self.score(user, row) for row in item_tokens] for user in range(self.batch)]
        )


def padded_rows(items) -> np.ndarray:
    """Appends EOS to each tuple of tokens and pads: [num_items, longest + 1] int32."""
    rows = np.zeros((len(items), max(map(len, items)) + 1), np.int32)
    for row, tokens in zip(rows, items, strict=True):
        row[: len(tokens) + 1] = [*tokens, 1]
    return rows


def random_catalogue(
    seed: int, num_items: int = 40, vocab: int = 12, longest: int = 4
) -> np.ndarray:
    """Unique items of 1 to `longest` tokens in random order."""
    rng = np.random.default_rng(seed)
    items = set()
    while len(items) < num_items:
        items.add(tuple(rng.integers(2, vocab, rng.integers(1, longest + 1)).tolist()))
    items = sorted(items)
    return padded_rows([items[i] for i in rng.permutation(num_items)])


@pytest.fixture(scope="session")
def toy_model():
    return ToyModel.random


@pytest.fixture(scope="session")
def padded():
    return padded_rows


@pytest.fixture(scope="session")
def catalogue():
    return random_catalogue
