"""One trie for each kind of entity: an answer is a value of the kind that is asked for."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from rec_align.decoding.trie import CatalogueTrie


class EntityTrie(NamedTuple):
    """The values of a kind.

    Attributes:
      trie: its items are the values.
      tokens: [num_values, length] int32, how each is written.
    """

    trie: CatalogueTrie
    tokens: jax.Array | np.ndarray


# By the number of the kind; a pytree.
EntityTries = dict[int, EntityTrie]


def build(tokens: Mapping[int, np.ndarray]) -> EntityTries:
    """Builds the trie of each kind.

    Args:
      tokens: {kind: [num_values, length] int32}, the rows as of `CatalogueTrie.build`.
    """
    return {kind: EntityTrie(CatalogueTrie.build(rows), rows) for kind, rows in tokens.items()}
