"""Says how well codes are used: collisions, entropy of each level, and collapsed codebooks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# A codebook has collapsed where its perplexity is under this share of what was possible.
COLLAPSED = 0.1


def describe(codes: np.ndarray, codebook_sizes: Sequence[int]) -> dict[str, Any]:
    """Counts codes, before `distinct.distinct` adds to them.

    Args:
      codes: [num_items, levels] int32, -1 after an item's last code.
      codebook_sizes: [levels], how many codes a level could have.

    Returns:
      `num_items`; `mean_length` and `max_length`, codes of an item; `num_collided`, items that
      share all their codes with another one; `largest_group`, the most items of the same codes; and
      `levels`, for each level `num_items` (that have a code there), `codebook_size`, `num_used`,
      `entropy` (bits), `perplexity` (2 to the entropy: so many codes, used alike, would have it)
      and `top_share` (0-1, items that have the most frequent code).

    Raises:
      ValueError: there are no codes, or they do not fit the sizes.
    """
    if np.ndim(codes) != 2 or not np.size(codes) or codes.shape[1] != len(codebook_sizes):
        raise ValueError(
            f"codes must be [num_items, {len(codebook_sizes)}] by the codebook sizes "
            f"{tuple(codebook_sizes)} and not empty, got the shape {np.shape(codes)}"
        )
    levels = [
        _describe_level(column[column >= 0], int(size), level)
        for level, (column, size) in enumerate(zip(codes.T, codebook_sizes, strict=True))
    ]
    lengths = (codes >= 0).sum(1)
    groups = np.unique(codes, axis=0, return_counts=True)[1]
    return {
        "num_items": len(codes),
        "mean_length": float(lengths.mean()),
        "max_length": int(lengths.max()),
        "num_collided": int(groups[groups > 1].sum()),
        "largest_group": int(groups.max()),
        "levels": levels,
    }


def _describe_level(codes: np.ndarray, size: int, level: int) -> dict[str, Any]:
    if codes.size and codes.max() >= size:
        raise ValueError(f"level {level} has the code {codes.max()}, its codebook is of {size}")
    counts = np.bincount(codes, minlength=1)
    shares = counts[counts > 0] / max(codes.size, 1)
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0  # no -0.0
    return {
        "num_items": codes.size,
        "codebook_size": size,
        "num_used": len(shares),
        "entropy": entropy,
        "perplexity": 2.0**entropy,
        "top_share": float(shares.max(initial=0)),
    }


def table(description: dict[str, Any]) -> str:
    """Writes what `describe` returned for people."""
    lines = [
        f"{description['num_items']:,} items, {description['mean_length']:.2f} codes each, "
        f"{description['max_length']} at most",
        f"{description['num_collided']:,} items share all their codes with another one, "
        f"the largest group is of {description['largest_group']:,}",
        "level    items       codes used  entropy  perplexity  most frequent",
    ]
    for number, level in enumerate(description["levels"], 1):
        used = f"{level['num_used']:,} of {level['codebook_size']:,}"
        lines.append(
            f"{number:5}  {level['num_items']:7,}  {used:>15}  {level['entropy']:7.2f}  "
            f"{level['perplexity']:10.1f}  {level['top_share']:13.1%}"
        )
    return "\n".join(lines)


def warnings(description: dict[str, Any]) -> list[str]:
    """Returns a line for each level whose codebook has collapsed, and one for codes of no use.

    A codebook has where its perplexity is under a tenth of its size or, where fewer items have a
    code there than it has codes, of these items; and where only one of its codes is used. Codes are
    of no use where half of the items share all of them.
    """
    lines = []
    if description["largest_group"] > max(1, description["num_items"] / 2):
        lines.append(
            f"{description['largest_group']:,} of {description['num_items']:,} items share all "
            "their codes, so the codes tell little apart"
        )
    for number, level in enumerate(description["levels"], 1):
        possible = min(level["codebook_size"], level["num_items"])
        if level["perplexity"] < COLLAPSED * possible or level["num_used"] < 2 <= possible:
            lines.append(
                f"level {number} has collapsed: its {level['num_items']:,} items are spread as if "
                f"over {level['perplexity']:.1f} codes of {level['codebook_size']:,} (the most "
                f"frequent has {level['top_share']:.0%} of them), so it tells little apart"
            )
    return lines
