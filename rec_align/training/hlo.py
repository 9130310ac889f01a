"""The text of a compiled program, as instructions by computation, and how often its loops run."""

import dataclasses
import re
from collections.abc import Callable, Iterator

_INSTRUCTION = re.compile(r"\s+(ROOT )?%?(\S+) = (.*?) ([a-z][a-z0-9-]*)\((.*)")
_CALLED = re.compile(
    r"(?:calls|to_apply|(?:called|branch)_computations|(?:true|false)_computation)="
    r"(?:\{([^}]*)\}|(%?[\w.-]+))"
)
_ARITHMETIC = {"add": int.__add__, "subtract": int.__sub__, "multiply": int.__mul__}
_UNCHANGED = ("copy", "bitcast", "convert", "reshape")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `ROOT %name = shape opcode(operands), attributes`; `rest` is after the bracket."""

    is_root: bool
    name: str
    shape: str
    opcode: str
    rest: str

    def attribute(self, pattern: str) -> str | None:
        found = re.search(pattern, self.rest)
        return found and found[1]

    def operands(self) -> list[str]:
        listed = re.sub(r"/\*.*?\*/", "", self.rest.split(")")[0])
        return [operand.split()[-1].lstrip("%") for operand in listed.split(",") if operand.strip()]

    def computations(self) -> Iterator[str]:
        """Those that run with this one, each once; a loop's own are not among them."""
        for listed, single in _CALLED.findall(self.rest):
            yield from (name.strip(" %") for name in (listed or single).split(","))


# The elements of a tuple, or the arguments of a computation: number -> value, None if not known.
_Elements = Callable[[int], int | None]


class Program:
    """The computations of a program: name -> instructions by name, in order.

    Args:
      text: `compiled.as_text()`.
    """

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = current = ""
        for line in text.splitlines():
            if line.endswith("{") and not line[0].isspace() and not line.startswith("HloModule"):
                words = line.split()
                current = words[words[0] == "ENTRY"].lstrip("%")
                self.entry = current if words[0] == "ENTRY" else self.entry
                self.computations[current] = {}
            elif found := _INSTRUCTION.match(line):
                instruction = Instruction(bool(found[1]), *found.groups()[1:])
                self.computations[current][instruction.name] = instruction

    def trips(self, computation: str, loop: Instruction) -> int | None:
        """How often a `while` of a computation runs: what XLA notes, or its counter's way.

        The counter is the element of the loop's tuple that its condition compares; where it starts,
        its step and its bound are integers that can be followed through copies and fusions. None
        where they cannot.
        """
        noted = loop.attribute(r"known_trip_count[^\d}]*(\d+)")
        if noted:
            return int(noted)
        init = self.computations[computation][loop.operands()[0]]
        condition = loop.attribute(r"condition=%?([\w.-]+)")
        body = loop.attribute(r"body=%?([\w.-]+)")
        if init.opcode != "tuple":
            return None

        def at_start(number: int) -> int | None:
            return self._value(computation, init.operands()[number], lambda _: None)

        def after_one(number: int) -> int | None:
            update = self._root(body)
            if update.opcode != "tuple":
                return None
            return self._value(body, update.operands()[number], at_start)

        compared = [
            self._compared(self._root(condition), condition, elements)
            for elements in (at_start, after_one)
        ]
        if None in compared:
            return None
        (first, bound), (second, same_bound) = compared
        if None in (first, bound, second) or bound != same_bound or second <= first:
            return None
        return -(-(bound - first) // (second - first))

    def _root(self, computation: str) -> Instruction:
        return next(i for i in self.computations[computation].values() if i.is_root)

    def _compared(
        self, root: Instruction, computation: str, arguments: _Elements
    ) -> tuple[int | None, int | None] | None:
        """Both sides of a condition `a < b`; None where it is another."""
        if root.opcode == "fusion":
            called = next(root.computations())
            operands = root.operands()
            return self._compared(
                self._root(called),
                called,
                lambda number: self._value(computation, operands[number], arguments),
            )
        if root.opcode != "compare" or "direction=LT" not in root.rest:
            return None
        left, right = (self._value(computation, name, arguments) for name in root.operands())
        return left, right

    def _value(self, computation: str, name: str, arguments: _Elements) -> int | None:
        """An integer, followed to constants and to the computation's arguments.

        The arguments of a loop's computations are the elements of its one tuple.
        """
        found = self.computations[computation][name]
        operands = found.operands()
        if found.opcode == "constant":
            return int(operands[0]) if operands[0].lstrip("-").isdigit() else None
        if found.opcode == "parameter":
            return arguments(int(operands[0]))
        if found.opcode == "get-tuple-element":
            source = self.computations[computation][operands[0]]
            number = int(found.attribute(r"index=(\d+)"))
            if source.opcode == "parameter":
                return arguments(number)
            if source.opcode == "tuple":
                return self._value(computation, source.operands()[number], arguments)
            return None
        if found.opcode in _UNCHANGED:
            return self._value(computation, operands[0], arguments)
        if found.opcode in _ARITHMETIC:
            values = [self._value(computation, operand, arguments) for operand in operands]
            return None if None in values else _ARITHMETIC[found.opcode](*values)
        if found.opcode == "fusion":
            called = next(found.computations())
            return self._value(
                called,
                self._root(called).name,
                lambda number: self._value(computation, operands[number], arguments),
            )
        return None
