"""A dictionary from values to small numbers, which may be used again."""

from __future__ import annotations

from typing import Any


class ValueCodes(dict[Any, int]):
    """Code of each value, its index in `values`, where None is a free code. None as a value has the code -1.

    A new value gets a free code, else the next one. `given` records the codes of new values; None: they are not needed.
    """

    def __init__(self, values: list[Any]) -> None:
        super().__init__(zip(values, range(len(values)), strict=True))
        self[None] = -1
        self._values = values
        is_full = len(self) == len(values) + 1
        self.free = [] if is_full else [code for code, value in enumerate(values) if value is None]
        self.given: list[int] | None = None

    def __missing__(self, value: Any) -> int:
        if self.free:
            code = self.free.pop()
            self._values[code] = value
        else:
            code = len(self._values)
            self._values.append(value)
        self[value] = code
        if self.given is not None:
            self.given.append(code)
        return code
