"""LoRA: low-rank adapters beside frozen kernels (Hu et al. 2021, arXiv 2106.09685).

An adapted layer computes x W + (x A) B. There is no scale in front of the product: the learning
rate sets the pace. B starts at zero, so training starts from the frozen network exactly.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

ADAPTER_NAMES = ("lora_a", "lora_b")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    """Which kernels are adapted, and how wide.

    Attributes:
      rank: columns of A, rows of B.
      targets: a regular expression that must match a layer's whole name, such as
        `encoder/layers_0/attention/query`.
    """

    rank: int = 8
    targets: str = r".*attention/(query|value)"

    def __post_init__(self) -> None:
        try:
            re.compile(self.targets)
        except re.error as error:
            raise ValueError(
                f"Lora.targets {self.targets!r} is no regular expression: {error}."
            ) from error

    def adapts(self, name: str) -> bool:
        return re.fullmatch(self.targets, name) is not None


def split_adapters(params: Any) -> tuple[Any, Any]:
    """(adapters, the rest), each a nested dict; joined again by `join`."""
    return split(params, lambda path: path[-1] in ADAPTER_NAMES)


def split(params: Any, is_wanted: Callable[[tuple[str, ...]], bool]) -> tuple[Any, Any]:
    """(the leaves whose path is wanted, the rest), each a nested dict."""
    flat = flatten_dict(params)
    wanted = {path: leaf for path, leaf in flat.items() if is_wanted(path)}
    rest = {path: leaf for path, leaf in flat.items() if path not in wanted}
    return unflatten_dict(wanted), unflatten_dict(rest)


def join(trained: Any, frozen: Any) -> Any:
    """One tree of two without a common leaf; an empty one gives the other."""
    return unflatten_dict(flatten_dict(trained) | flatten_dict(frozen))
