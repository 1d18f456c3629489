"""A program of numbers as a value: what kernels carry out, without a word of the language."""

from __future__ import annotations

from dataclasses import dataclass

from shroff.features.kernels import operations as kernel


@dataclass(frozen=True, slots=True)
class Program:
    """Operations over registers: first those of the operands, then of constants, then of results.

    `result` is the register that has the value in the end.
    """

    operands: int
    constants: tuple[tuple[int, int], ...]  # the word, and whether it is there
    operations: tuple[tuple[int, int, int, int], ...]  # what, and the registers: target, left, right
    result: int

    def words(self, at: int) -> list[int]:
        """The registers, then the operations, as they stand in an array from the address `at` on."""
        registers = [0] * (self.operations_at(at) - at)
        first = kernel.REGISTER_WORDS * self.operands
        constants = [word for constant in self.constants for word in constant]
        registers[first : first + len(constants)] = constants
        operations = [(what, *(self.register_at(at, one) for one in registers)) for what, *registers in self.operations]
        return registers + [word for operation in operations for word in operation]

    def register_at(self, at: int, number: int) -> int:
        """The address of a register in an array that has `words` from the address `at` on."""
        return at + kernel.REGISTER_WORDS * number

    def operations_at(self, at: int) -> int:
        """Where the operations begin in such an array."""
        return self.register_at(at, self.operands + len(self.constants) + len(self.operations))
