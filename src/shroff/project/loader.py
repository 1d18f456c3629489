"""Load a project's files, once for all threads that ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock, RLock
from typing import Generic, TypeVar

from msgspec import Struct, field

from shroff import config
from shroff.errors import Problem
from shroff.json_types import TextMapping
from shroff.language.yaml import text as yamltext
from shroff.project.settings.systems import Systems, load_systems

Value = TypeVar("Value")


class MadeOnce(Struct, Generic[Value], eq=False):
    """Makes a value when it is first asked for. While one thread makes it, the others wait for it.

    What was begun before `forget` is not kept: whoever asks after it is given what is made after it.
    """

    _value: Value | None = None
    _turn: int = 0
    _state: Lock = field(default_factory=Lock)
    _making: RLock = field(default_factory=RLock)  # making one part of a project may need another

    def get(self, make: Callable[[], Value]) -> Value:
        """The cached value. Raises: what `make` raises; the next call tries again."""
        found = self._value
        if found is not None:
            return found
        with self._making:
            with self._state:
                found = self._value
                turn = self._turn
            if found is not None:
                return found
            made = make()
            with self._state:
                if turn == self._turn:
                    self._value = made
            return made

    def put(self, value: Value) -> None:
        with self._state:
            self._value = value
            self._turn += 1

    def forget(self) -> None:
        """Recompute the value at the next call. Does not block."""
        with self._state:
            self._value = None
            self._turn += 1


def files_of(folder: Path, text: config.TextReader) -> tuple[TextMapping, list[Problem], list[Problem]]:
    unreadable: list[Problem] = []
    files = config.read_files(folder, unreadable, text=text)
    mistakes, warnings = config.look_alikes(folder)
    return files, [*unreadable, *mistakes], warnings


def systems_of(folder: Path) -> Systems:
    """The external systems of a project. Their errors are reported with those of the other files."""
    text = config.read_settings(folder)
    top = yamltext.read(text, config.PROJECT_FILE, [])
    return load_systems(top, [], []) if isinstance(top, yamltext.Mapping) else Systems()


def line_of(folder: Path, problem: Problem) -> str:
    """Return the line of a problem as written; empty if it has none."""
    lines = config.read_files(folder, []).get(problem.file, "").splitlines()
    return lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""
