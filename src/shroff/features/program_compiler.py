"""From a typed expression to a small program of numbers, which a kernel carries out row by row.

Only what must be asked row by row is in the program. Whatever can be known of a row before
is an *operand*: a whole column, evaluated as all columns are, with all that the language
has. So the program itself needs few operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from struct import pack, unpack
from typing import Final

from shroff.features import kernel_operations as kernel
from shroff.features.program import Program
from shroff.language import expression as typed
from shroff.language.expression import Node, children
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, UNITS_MAX

_LOGIC: Final = {"and": kernel.AND, "or": kernel.OR}
_EXACT: Final = {"+": kernel.PLUS, "-": kernel.MINUS, "*": kernel.TIMES, "/": kernel.EXACT_QUOTIENT}
_REAL: Final = {"+": kernel.REAL_PLUS, "-": kernel.REAL_MINUS, "*": kernel.REAL_TIMES, "/": kernel.REAL_QUOTIENT}
_COMPARE: Final = {"==": kernel.EQUAL, "!=": kernel.UNEQUAL, "<": kernel.BELOW, "<=": kernel.AT_MOST}
_TURNED: Final = {">": "<", ">=": "<="}
_CALLS: Final = {"min": kernel.LEAST, "max": kernel.GREATEST, "abs": kernel.SIZE}
_OF_REALS: Final = kernel.REAL_EQUAL - kernel.EQUAL  # from an operation of words to the one of reals

Register = tuple[str, int]  # of what kind, and its number


class NoProgramError(Exception):
    """An expression needs what the kernel's programs do not have."""


def compile_program(node: Node, is_operand: Callable[[Node], bool]) -> tuple[Program, tuple[Node, ...]]:
    """The program of an expression, and what its operands are. Raises: NoProgramError where it has none.

    Args:
        is_operand: Whether the value of a part is known before the program runs, as a column.
    """
    compiler = _Compiler(is_operand)
    return compiler.program(compiler.register(node)), tuple(compiler.operands)


@dataclass(slots=True)
class _Compiler:
    is_operand: Callable[[Node], bool]
    operands: dict[Node, Register] = field(default_factory=dict)
    constants: dict[tuple[int, int], Register] = field(default_factory=dict)
    results: dict[tuple[int, Register, Register], Register] = field(default_factory=dict)

    def program(self, result: Register) -> Program:
        base = {"operand": 0, "constant": len(self.operands), "result": len(self.operands) + len(self.constants)}

        def number(register: Register) -> int:
            return base[register[0]] + register[1]

        operations = tuple(
            (what, number(target), number(left), number(right)) for (what, left, right), target in self.results.items()
        )
        return Program(len(self.operands), tuple(self.constants), operations, number(result))

    def operand(self, node: Node) -> Register:
        return self.operands.setdefault(node, ("operand", len(self.operands)))

    def constant(self, word: int, there: int = kernel.THERE) -> Register:
        return self.constants.setdefault((word, there), ("constant", len(self.constants)))

    def result(self, what: int, left: Register, right: Register | None = None) -> Register:
        key = (what, left, left if right is None else right)
        return self.results.setdefault(key, ("result", len(self.results)))

    def register(self, node: Node) -> Register:
        """The register that will have the value of a node."""
        if isinstance(node, typed.Literal) and not node.type.is_text:
            return self.literal(node)
        if self.is_operand(node):
            return self.operand(node)
        match node:
            case typed.Convert():
                return self.convert(node)
            case typed.Arithmetic():
                known = _REAL if node.left.type.kind == "real" else _EXACT
                return self.result(known[node.operator], self.register(node.left), self.register(node.right))
            case typed.Negative():
                zero = self.constant(0)  # the bits of 0.0 as well
                return self.result(
                    (_REAL if node.type.kind == "real" else _EXACT)["-"], zero, self.register(node.operand)
                )
            case typed.Compare():
                return self.compare(node.operator, node.left, node.right)
            case typed.Logic():
                return self.result(_LOGIC[node.operator], self.register(node.left), self.register(node.right))
            case typed.Not():
                return self.result(kernel.NOT, self.register(node.operand))
            case typed.IsMissing():
                return self.result(kernel.IS_MISSING, self.register(node.operand))
            case typed.InValues():
                return self.in_values(node)
            case typed.Else():
                return self.result(kernel.ELSE, self.register(node.left), self.register(node.right))
            case typed.When():
                return self.result(kernel.WHEN, self.register(node.value), self.register(node.condition))
            case typed.Call():
                return self.call(node)
        raise NoProgramError(f"{type(node).__name__} is not for programs")

    def literal(self, node: typed.Literal) -> Register:
        if node.value is None:
            return self.constant(0, kernel.MISSING)
        if isinstance(node.value, float):
            return self.constant(unpack("<q", pack("<d", node.value))[0])
        value = int(node.value)
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise NoProgramError(f"{value} does not fit 64 bits")
        return self.constant(value)

    def convert(self, node: typed.Convert) -> Register:
        operand, found, wanted = self.register(node.operand), node.operand.type, node.type
        if wanted.kind == "real":
            return self.result(kernel.TO_REAL, operand, self.constant(10**found.places))
        factor = 10 ** (wanted.places - found.places)
        return operand if factor == 1 else self.result(kernel.TIMES, operand, self.constant(factor))

    def compare(self, operator: str, left: Node, right: Node) -> Register:
        if operator in _TURNED:
            operator, left, right = _TURNED[operator], right, left
        if left.type.is_text and operator not in {"==", "!="}:
            raise NoProgramError("codes of texts have no order")
        what = _COMPARE[operator] + (_OF_REALS if "real" in {left.type.kind, right.type.kind} else 0)
        return self.result(what, self.register(left), self.register(right))

    def in_values(self, node: typed.InValues) -> Register:
        """`x == a or x == b or …`; of no values false, where x is there."""
        if not node.values:
            return self.compare("!=", node.operand, node.operand)
        equal = [self.compare("==", node.operand, value) for value in node.values]
        return reduce(lambda left, right: self.result(kernel.OR, left, right), equal)

    def call(self, node: typed.Call) -> Register:
        arguments = [self.register(argument) for argument in node.arguments]
        is_real = node.type.kind == "real"
        if node.function == "sqrt":
            return self.result(kernel.REAL_ROOT, arguments[0])
        if node.function not in _CALLS:
            raise NoProgramError(f"{node.function} is not for programs")
        what = _CALLS[node.function] + (_OF_REALS if is_real else 0)
        if node.function == "abs":
            return self.result(what, arguments[0])
        return reduce(lambda left, right: self.result(what, left, right), arguments)


# ---- what surely fits 64 bits

_LEAST: Final = -INTEGER_MIN  # the size of the least 64-bit integer, which a field may have
_TIME_MAX: Final = 253_402_300_800_000
_KINDS: Final[Mapping[str, int]] = {
    "integer": _LEAST,
    "number": UNITS_MAX,
    "money": UNITS_MAX,
    "time": _TIME_MAX,
    "duration": _LEAST,
}
_FEW: Final = 1 << 32
_CALL_SIZES: Final[Mapping[str, int]] = {"length": _FEW, "hour": _FEW, "weekday": _FEW, "day": _FEW, "time": _TIME_MAX}

Size = Callable[[Node], int | None]


def surely_fits(node: Node, is_operand: Callable[[Node], bool], leaf: Size) -> bool:
    """Whether nothing that the program of an expression calculates can leave 64 bits, whatever the values."""
    size = size_of(node, leaf)
    if size is None:
        return False
    if is_operand(node):
        return size <= _LEAST
    if isinstance(node, typed.Convert | typed.Arithmetic | typed.Negative | typed.Call) and size > INTEGER_MAX:
        return False
    return all(surely_fits(child, is_operand, leaf) for child in children(node))


def size_of(node: Node, leaf: Size) -> int | None:
    """A bound of the absolute values of an exact expression; None where there is no good one, 0 for all else.

    Args:
        leaf: The same of features and other leaves that are not fields.
    """
    if node.type.kind not in _KINDS:
        return 0
    match node:
        case typed.Literal():
            return abs(int(node.value or 0))
        case typed.Convert():
            return _times(size_of(node.operand, leaf), 10 ** (node.type.places - node.operand.type.places))
        case typed.Negative():
            return size_of(node.operand, leaf)
        case typed.Arithmetic():
            sizes = size_of(node.left, leaf), size_of(node.right, leaf)
            return _times(*sizes) if node.operator == "*" else None if None in sizes else sum(sizes)  # type: ignore[arg-type]
        case typed.Else():
            return _greatest([node.left, node.right], leaf)
        case typed.When():
            return size_of(node.value, leaf)
        case typed.Call():
            return _call_size(node, leaf)
        case typed.Lookup():
            return _KINDS[node.type.kind]
        case typed.Aggregate():
            return _LEAST
        case _:
            return leaf(node)


def field_size(node: Node) -> int | None:
    """A bound of a field's absolute values: what the door lets in."""
    return _KINDS.get(node.type.kind, 0)


def _call_size(node: typed.Call, leaf: Size) -> int | None:
    if node.function in {"abs", "min", "max"}:
        return _greatest(node.arguments, leaf)
    return _CALL_SIZES.get(node.function)


def _greatest(nodes: Iterable[Node], leaf: Size) -> int | None:
    sizes = [size_of(node, leaf) for node in nodes]
    return None if None in sizes else max(size for size in sizes if size is not None)


def _times(size: int | None, factor: int | None) -> int | None:
    return None if size is None or factor is None else size * factor
