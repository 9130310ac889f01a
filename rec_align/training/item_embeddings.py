"""Item tokens that start from what another model knows of the items.

Where an item is one token its embedding is a vector of the item, and a retriever has learned such
vectors already. At the start of training they take the place of the network's own rows: in the
embedding, and in the output layer where that is not tied to it. They come to the scale of the table
and keep their directions, so dot products order the items as before.
"""

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

# Each table of tokens, and whether a token is a column of it.
_TABLES = {
    ("token_embedder", "embedding"): False,
    ("decoder", "logits_dense", "kernel"): True,
}


class ItemEmbeddings(NamedTuple):
    """What item tokens start from.

    Attributes:
      first_token: the token of item 0; the others' follow in the order of item_index.
      rows: [num_items, width] float32; at most as wide as the network, which is 0 beyond.
    """

    first_token: int
    rows: np.ndarray

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], *, width: int, vocab_size: int, num_item_tokens: int
    ) -> "ItemEmbeddings":
        """Reads an .npy of [num_items, any width].

        What is wider than the network is brought to its width along the directions in which the
        items differ most.

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
            except ValueError as error:
                raise ValueError(f"{path} is no .npy of numbers: {error}") from error
        is_numbers = isinstance(rows, np.ndarray) and np.issubdtype(rows.dtype, np.number)
        if not is_numbers or rows.ndim != 2 or not np.isfinite(rows).all():
            raise ValueError(f"{path}: an .npy of finite numbers, [num_items, width], is needed")
        if len(rows) != num_item_tokens:
            raise ValueError(
                f"{path} has {len(rows):,} rows, and items are written with {num_item_tokens:,} "
                "tokens of their own: it needs a row for each item of the corpus as it was built, "
                "and ITEM_INDEX a token an item, as `atomic` has"
            )
        if rows.shape[1] > width:
            rows = rows @ np.linalg.svd(rows, full_matrices=False)[2][:width].T
        return cls(vocab_size - num_item_tokens, rows.astype(np.float32))

    def into(self, params: Any) -> Any:
        """The parameters with these rows in place of the items' own; may be traced."""
        flat = flatten_dict(params)
        for name, is_transposed in _TABLES.items():
            if name in flat:
                table = flat[name].T if is_transposed else flat[name]
                table = self._into_table(table)
                flat[name] = table.T if is_transposed else table
        return unflatten_dict(flat)

    def _into_table(self, table: jax.Array) -> jax.Array:
        """[tokens, emb_dim] -> the same."""
        rows = jnp.pad(self.rows, ((0, 0), (0, table.shape[1] - self.rows.shape[1])))
        scale = jnp.sqrt(jnp.square(table).mean() / jnp.square(rows).mean())
        return jax.lax.dynamic_update_slice(table, scale * rows, (self.first_token, 0))
