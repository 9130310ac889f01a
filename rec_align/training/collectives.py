"""What devices send each other, read from the text of a compiled program.

The text is XLA's, after partitioning and optimisation, so it says what will run: an all-gather that
the TPU compiler has turned into a ring of collective-permutes counts as those.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

from rec_align.training.hlo import Instruction, Program

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")

_BITS = {"pred": 8, "s4": 4, "u4": 4, "bf16": 16, "c64": 64, "c128": 128}
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")


def collective_bytes(hlo_text: str) -> tuple[dict[str, int], int]:
    """Bytes by kind that one device brings to, or takes from, the collectives of one execution.

    Of operands and results the larger side counts: an all-gather's result, a reduce-scatter's
    operand. What travels over a link is within a factor of two of that. A loop's collectives count
    as often as it runs.

    Args:
      hlo_text: `compiled.as_text()`, of one device's program.

    Returns:
      ({kind: bytes}, how many loops have collectives and no known length: those count once).

    Example: the gradients of n float32 parameters, all-reduced: ({"all-reduce": 4 n}, 0).
    """
    program = Program(hlo_text)
    total, unknown = _count(program, program.entry)
    return {kind: total[kind] for kind in KINDS if total[kind]}, unknown


def _array_bytes(shape: str) -> list[int]:
    """Of each array in a shape's text: "(bf16[2,3]{1,0}, f32[])" -> [12, 4]."""

    def bits(dtype: str) -> int:
        return _BITS.get(dtype) or int(re.search(r"\d+", dtype)[0])

    return [
        math.prod(map(int, filter(None, sizes.split(",")))) * bits(dtype) // 8
        for dtype, sizes in _ARRAY.findall(shape)
    ]


def _count(program: Program, name: str) -> tuple[Counter, int]:
    """The bytes by kind of a computation and of the loops in it; loops of unknown length."""
    total: Counter = Counter()
    unknown = 0
    found: dict[str, tuple[str, int]] = {}
    for computation, instruction in _running(program, name):
        if instruction.opcode == "while":
            inner, inner_unknown = _count(program, instruction.attribute(r"body=%?([\w.-]+)"))
            trips = program.trips(computation, instruction)
            unknown += inner_unknown + (trips is None and bool(inner))
            for kind, size in inner.items():
                total[kind] += size * (1 if trips is None else trips)
        elif (kind := instruction.opcode.removesuffix("-start")) in KINDS:
            size = _size(instruction, kind, program.computations[computation])
            # The TPU compiler's fusion of an all-reduce with the slice that is kept of it.
            kind = "reduce-scatter" if computation.startswith("all-reduce-scatter") else kind
            # It also runs pieces of one collective in several fusions, under one channel.
            channel = computation != name and instruction.attribute(r"channel_id=(\d+)")
            found[f"channel {channel}" if channel else instruction.name] = kind, size
    for kind, size in found.values():
        total[kind] += size
    return total, unknown


def _running(program: Program, name: str) -> Iterator[tuple[str, Instruction]]:
    """The instructions of a computation and of those it calls, each with its computation."""
    for instruction in program.computations[name].values():
        yield name, instruction
        if instruction.opcode != "while":
            for called in instruction.computations():
                yield from _running(program, called)


def _size(instruction: Instruction, kind: str, computation: dict[str, Instruction]) -> int:
    if kind == "all-gather":
        arrays = _array_bytes(instruction.shape)
        # An asynchronous one carries its operands before its results.
        return sum(arrays[len(arrays) // 2 :] if instruction.opcode != kind else arrays)
    return sum(sum(_array_bytes(computation[operand].shape)) for operand in instruction.operands())
