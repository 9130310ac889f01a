"""What devices send each other, read from the text of a compiled program.

The text is XLA's, after partitioning and optimisation, so it says what will run: an all-gather that
the TPU compiler has turned into a ring of collective-permutes counts as those.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")

_BITS = {"pred": 8, "s4": 4, "u4": 4, "bf16": 16, "c64": 64, "c128": 128}
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?(\S+) = (.*?) ([a-z][a-z0-9-]*)\((.*)")
_CALLED = re.compile(r"(?:calls|to_apply|called_computations)=\{?(%?[\w.-]+(?:, %?[\w.-]+)*)")
_BRANCHES = re.compile(
    r"(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%?[\w.-]+))"
)


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    rest: str  # operands, attributes

    def attribute(self, pattern: str) -> str | None:
        found = re.search(pattern, self.rest)
        return found and found[1]

    def computations(self) -> Iterator[str]:
        """Those that run with this one, each once; a loop's own are not among them."""
        for names in [*_CALLED.findall(self.rest), *map("".join, _BRANCHES.findall(self.rest))]:
            yield from (name.strip(" %") for name in names.split(","))


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
    computations, entry = _parse(hlo_text)
    total, unknown = _Counting(computations).count(entry)
    return {kind: total[kind] for kind in KINDS if total[kind]}, unknown


def _parse(hlo_text: str) -> tuple[dict[str, list[_Instruction]], str]:
    computations: dict[str, list[_Instruction]] = {}
    entry = current = ""
    for line in hlo_text.splitlines():
        if line.endswith("{") and not line[0].isspace() and not line.startswith("HloModule"):
            words = line.split()
            current = words[words[0] == "ENTRY"].lstrip("%")
            entry = current if words[0] == "ENTRY" else entry
            computations[current] = []
        elif found := _INSTRUCTION.match(line):
            computations[current].append(_Instruction(*found.groups()))
    return computations, entry


def _array_bytes(shape: str) -> list[int]:
    """Of each array in a shape's text: "(bf16[2,3]{1,0}, f32[])" -> [12, 4]."""

    def bits(dtype: str) -> int:
        return _BITS.get(dtype) or int(re.search(r"\d+", dtype)[0])

    return [
        math.prod(map(int, filter(None, sizes.split(",")))) * bits(dtype) // 8
        for dtype, sizes in _ARRAY.findall(shape)
    ]


class _Counting:
    def __init__(self, computations: dict[str, list[_Instruction]]):
        self._computations = computations

    def count(self, name: str) -> tuple[Counter, int]:
        """The bytes by kind of a computation and of the loops in it; loops of unknown length."""
        found: dict[str, tuple[str, int]] = {}
        loops: list[_Instruction] = []
        self._collect(name, found, loops, fused=False)
        total: Counter = Counter()
        for kind, size in found.values():
            total[kind] += size
        unknown = 0
        for loop in loops:
            inner, inner_unknown = self.count(loop.attribute(r"body=%?([\w.-]+)"))
            trips = self._trips(loop)
            unknown += inner_unknown + (trips is None and bool(inner))
            for kind, size in inner.items():
                total[kind] += size * (trips or 1)
        return total, unknown

    def _collect(self, name: str, found: dict, loops: list[_Instruction], fused: bool) -> None:
        instructions = self._computations.get(name, [])
        shapes = {instruction.name: instruction.shape for instruction in instructions}
        for instruction in instructions:
            if instruction.opcode == "while":
                loops.append(instruction)
                continue
            kind = instruction.opcode.removesuffix("-start")
            if kind in KINDS:
                size = _size(instruction, kind, shapes)
                # The TPU compiler's fusion of an all-reduce with the slice that is kept of it.
                kind = "reduce-scatter" if name.startswith("all-reduce-scatter") else kind
                # It also runs pieces of one collective in several fusions, under one channel.
                channel = fused and instruction.attribute(r"channel_id=(\d+)")
                found[f"channel {channel}" if channel else f"{name} {instruction.name}"] = (
                    kind,
                    size,
                )
            for called in instruction.computations():
                self._collect(called, found, loops, fused=True)

    def _trips(self, loop: _Instruction) -> int | None:
        """How often a loop runs: what XLA notes, or the one number its condition compares with."""
        noted = loop.attribute(r"known_trip_count[^\d}]*(\d+)")
        if noted:
            return int(noted)
        bounds = set()
        waiting = [loop.attribute(r"condition=%?([\w.-]+)")]
        while waiting:
            for instruction in self._computations.get(waiting.pop(), []):
                waiting.extend(instruction.computations())
                if instruction.opcode == "constant" and instruction.shape.startswith("s32[]"):
                    bounds.add(instruction.rest.split(")")[0])
        return int(bounds.pop()) if len(bounds) == 1 else None


def _size(instruction: _Instruction, kind: str, shapes: dict[str, str]) -> int:
    if kind == "all-gather":
        arrays = _array_bytes(instruction.shape)
        # An asynchronous one carries its operands before its results.
        return sum(arrays[len(arrays) // 2 :] if instruction.opcode != kind else arrays)
    operands = re.findall(r"%?([\w.-]+)", instruction.rest.split(")")[0])
    return sum(sum(_array_bytes(shapes.get(operand, ""))) for operand in operands)
