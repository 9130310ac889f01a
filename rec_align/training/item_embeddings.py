"""Item tokens that start from what another model knows of the items.

Where an item is one token its embedding is a vector of the item, and a retriever has learned such
vectors already. At the start of training they take the place of the network's own rows: in the
embedding, and in the output layer where that is not tied to it. They come to the scale of the other
tokens' rows and keep their directions, so dot products order the items as before.
"""

import os
import zipfile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from rec_align.models.t5_config import TOKEN_AXIS


class ItemEmbeddings(NamedTuple):
    """What item tokens start from.

    Attributes:
      first_token: the token of item 0; the others' follow in the order of item_index, and no other
        token comes after them.
      rows: [num_items, width] float32; at most as wide as the network, which is 0 beyond.
    """

    first_token: int
    rows: np.ndarray

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], *, width: int, vocab_size: int, num_item_tokens: int
    ) -> "ItemEmbeddings":
        """Reads an .npy of [num_items, any width].

        What is wider than the network is brought to its width in such a way that the dot products
        change least.

        Args:
          path: the file.
          width: of the network.
          vocab_size: of the vocabulary, whose last entries are the items'.
          num_item_tokens: how many these are.

        Raises:
          ValueError: it holds no such array, or not a row for each item token.
        """
        with epath.Path(path).open("rb") as file:
            try:
                rows = np.load(file)
            except (ValueError, EOFError, zipfile.BadZipFile) as error:
                raise ValueError(f"{path} is no .npy of numbers: {error}") from error
        is_floats = isinstance(rows, np.ndarray) and np.issubdtype(rows.dtype, np.floating)
        with np.errstate(over="ignore"):  # to infinity, which is refused
            rows = rows.astype(np.float32) if is_floats else np.zeros(())
        if rows.ndim != 2 or not rows.any() or not np.isfinite(rows).all():
            raise ValueError(
                f"{path}: an .npy of floats, [num_items, width], is needed, finite and not all 0"
            )
        if len(rows) != num_item_tokens:
            raise ValueError(
                f"{path} has {len(rows):,} rows, and items are written with {num_item_tokens:,} "
                "tokens of their own: it needs a row for each item of the corpus as it was built, "
                "and the item index a token an item, as `atomic` has"
            )
        if rows.shape[1] > width:
            rows = rows @ np.linalg.svd(rows, full_matrices=False)[2][:width].T
        return cls(vocab_size - num_item_tokens, rows)

    def into(self, params: Any) -> Any:
        """The parameters with these rows in place of the items' own; may be traced."""
        flat = flatten_dict(params, sep="/")
        for name, axis in TOKEN_AXIS.items():
            if name in flat:
                table = self._into_table(jnp.moveaxis(flat[name], axis, 0))
                flat[name] = jnp.moveaxis(table, 0, axis)
        return unflatten_dict(flat, sep="/")

    def _into_table(self, table: jax.Array) -> jax.Array:
        """[tokens, emb_dim] -> the same."""
        num_tokens, width = table.shape
        rows = jnp.pad(self.rows, ((0, 0), (0, width - self.rows.shape[1])))
        others = jnp.arange(num_tokens)[:, None] < self.first_token
        size = jnp.square(table).sum(where=others) / (self.first_token * width)
        scaled = rows * jnp.sqrt(size / jnp.square(rows).mean())
        return jax.lax.dynamic_update_slice(
            table, scaled.astype(table.dtype), (self.first_token, 0)
        )
