"""Compiler from a typed expression to a small numeric program, which a kernel executes row by row.

`scan_plan` compiles conditions of aggregates, and `since_flag_kernel` those of rules. A part of the expression that can
be evaluated before the program runs is an *operand*: a whole column, evaluated like any other column. So programs need
only few operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import reduce
from struct import pack, unpack

from msgspec import Struct

from shroff.features.kernels import operations as kernel
from shroff.features.value_bounds import Bounds, BoundsOf, bounds_of, fits_word, value_bounds
from shroff.language import expression as typed
from shroff.language.expression import Aggregate, ItemField, Node, children, reads_item, reads_this
from shroff.language.types import BOOLEAN, INTEGER_MAX, INTEGER_MIN
from shroff.runtime.values import FrozenStruct

_LOGIC = {"and": kernel.AND, "or": kernel.OR}
_EXACT = {"+": kernel.PLUS, "-": kernel.MINUS, "*": kernel.TIMES, "/": kernel.EXACT_QUOTIENT}
_REAL = {"+": kernel.REAL_PLUS, "-": kernel.REAL_MINUS, "*": kernel.REAL_TIMES, "/": kernel.REAL_QUOTIENT}
_COMPARE = {"==": kernel.EQUAL, "!=": kernel.UNEQUAL, "<": kernel.BELOW, "<=": kernel.AT_MOST}
_TURNED = {">": "<", ">=": "<="}
_CALLS = {"min": kernel.LEAST, "max": kernel.GREATEST, "abs": kernel.SIZE}
_OF_REALS = kernel.REAL_EQUAL - kernel.EQUAL  # added to an operation on words: the same operation on reals

Register = tuple[str, int]  # its kind (operand, constant or result), and its number among that kind


class NoProgramError(Exception):
    """An expression that programs do not support."""


def compile_program(node: Node, is_operand: Callable[[Node], bool]) -> tuple[Program, tuple[Node, ...]]:
    """Return the program of an expression, and its operands. Raises: NoProgramError if it is not supported.

    Args:
        is_operand: Whether a part of the expression is evaluated as a column before the program runs.
    """
    compiler = _ProgramCompiler(is_operand)
    return compiler.program(compiler.register(node)), tuple(compiler.operands)


def look_program(aggregate: Aggregate, bounds: Mapping[str, Bounds | None]) -> tuple[Program, tuple[Node, ...]] | None:
    """Return the program that tests an aggregate's condition for an event of a window, and its operands.

    None if the window has no end, an operation is not supported, or a value might exceed 64 bits: a program cannot
    raise an error in the middle of a window.

    Args:
        bounds: Bounds of exact features by name.
    """

    def leaf_bounds(leaf: Node) -> Bounds | None:
        # The amount of a label is converted to the current decimal places when it is read, so it has no bounds here.
        is_converted = aggregate.event == "label" and isinstance(leaf, ItemField) and leaf.name == "amount"
        return None if is_converted else value_bounds(leaf, bounds)

    condition = aggregate.condition or typed.Literal(BOOLEAN, value=True)
    has_end = aggregate.over_ms is not None or aggregate.last_n is not None
    if has_end and surely_fits(condition, _is_operand, leaf_bounds):
        with suppress(NoProgramError):
            return compile_program(condition, _is_operand)
    return None


def _is_operand(node: Node) -> bool:
    is_number = isinstance(node, typed.Literal) and not node.type.is_text
    return not (reads_item(node) and reads_this(node)) and not is_number


class _ProgramCompiler(Struct):
    is_operand: Callable[[Node], bool]
    operands: dict[Node, Register] = {}
    constants: dict[tuple[int, int], Register] = {}
    results: dict[tuple[int, Register, Register], Register] = {}

    def program(self, result: Register) -> Program:
        base = {"operand": 0, "constant": len(self.operands), "result": len(self.operands) + len(self.constants)}

        def number(register: Register) -> int:
            return base[register[0]] + register[1]

        operations = tuple(
            (operation, number(target), number(left), number(right))
            for (operation, left, right), target in self.results.items()
        )
        return Program(len(self.operands), tuple(self.constants), operations, number(result))

    def operand(self, node: Node) -> Register:
        return self.operands.setdefault(node, ("operand", len(self.operands)))

    def constant(self, word: int, presence: int = kernel.THERE) -> Register:
        return self.constants.setdefault((word, presence), ("constant", len(self.constants)))

    def result(self, operation: int, left: Register, right: Register | None = None) -> Register:
        key = (operation, left, left if right is None else right)
        return self.results.setdefault(key, ("result", len(self.results)))

    def register(self, node: Node) -> Register:
        """Add the operations of a node, and return the register of its value. Equal parts share a register."""
        if isinstance(node, typed.Literal) and not node.type.is_text:
            return self.literal(node)
        if self.is_operand(node):
            return self.operand(node)
        match node:
            case typed.Convert():
                return self.convert(node)
            case typed.Arithmetic():
                operations = _REAL if node.left.type.kind == "real" else _EXACT
                return self.result(operations[node.operator], self.register(node.left), self.register(node.right))
            case typed.Negative():
                zero = self.constant(0)  # also the bits of 0.0
                operations = _REAL if node.type.kind == "real" else _EXACT
                return self.result(operations["-"], zero, self.register(node.operand))
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
        operand = self.register(node.operand)
        places = node.operand.type.places
        if node.type.kind == "real":
            return self.result(kernel.TO_REAL, operand, self.constant(10**places))
        factor = 10 ** (node.type.places - places)
        return operand if factor == 1 else self.result(kernel.TIMES, operand, self.constant(factor))

    def compare(self, operator: str, left: Node, right: Node) -> Register:
        if operator in _TURNED:
            operator, left, right = _TURNED[operator], right, left
        if left.type.is_text and operator not in {"==", "!="}:
            raise NoProgramError("codes of texts have no order")
        operation = _COMPARE[operator] + (_OF_REALS if "real" in {left.type.kind, right.type.kind} else 0)
        return self.result(operation, self.register(left), self.register(right))

    def in_values(self, node: typed.InValues) -> Register:
        """Compile `x == a or x == b or …`. Without values it is `x != x`: false, or missing if `x` is missing."""
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
        operation = _CALLS[node.function] + (_OF_REALS if is_real else 0)
        if node.function == "abs":
            return self.result(operation, arguments[0])
        return reduce(lambda left, right: self.result(operation, left, right), arguments)


def surely_fits(node: Node, is_operand: Callable[[Node], bool], leaf: BoundsOf) -> bool:
    """Whether all operands and intermediate results of an expression's program fit 64 bits.

    Args:
        leaf: Returns the bounds of a leaf, such as a field or a feature.
    """
    if not fits_word(bounds_of(node, leaf)):
        return False
    return is_operand(node) or all(surely_fits(child, is_operand, leaf) for child in children(node))


class Program(FrozenStruct):
    """Operations over registers.

    Registers are numbered from 0: operands, then constants, then results. `result` is the register of the final value.
    """

    operands: int
    constants: tuple[tuple[int, int], ...]  # the word, and whether it is present
    operations: tuple[tuple[int, int, int, int], ...]  # the operation's number, then registers: target, left, right
    result: int

    def words(self, at: int) -> list[int]:
        """Return the registers, then the operations, as the words of a heap from address `at` on."""
        registers = [0] * (self.operations_at(at) - at)
        first = kernel.REGISTER_WORDS * self.operands
        constants = [word for constant in self.constants for word in constant]
        registers[first : first + len(constants)] = constants
        operation_words: list[int] = []
        for operation, *operands in self.operations:
            operation_words.append(operation)
            operation_words += [self.register_at(at, register) for register in operands]
        return registers + operation_words

    def register_at(self, at: int, number: int) -> int:
        """Return the address of a register, if the program's `words` begin at address `at`."""
        return at + kernel.REGISTER_WORDS * number

    def operations_at(self, at: int) -> int:
        """Return the address of the first operation, if the program's `words` begin at address `at`."""
        return self.register_at(at, self.operands + len(self.constants) + len(self.operations))
