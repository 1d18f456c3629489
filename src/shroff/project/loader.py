"""Read a project's files, and cache a value that threads compute once."""

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
    """A cached value that is computed on first use, while other threads wait. For any thread.

    A value whose computation began before `forget` is not cached, so that later callers get a new one.
    """

    _value: Value | None = None
    _turn: int = 0
    _state: Lock = field(default_factory=Lock)
    _making: RLock = field(default_factory=RLock)  # reentrant, since computing may call `get` again

    def get(self, make: Callable[[], Value]) -> Value:
        """Return the cached value, or the result of `make`. Raises: what `make` raises; the next call tries again."""
        value = self._value
        if value is not None:
            return value
        with self._making:
            with self._state:
                value = self._value
                turn = self._turn
            if value is not None:
                return value
            new_value = make()
            with self._state:
                if turn == self._turn:
                    self._value = new_value
            return new_value

    def put(self, value: Value) -> None:
        with self._state:
            self._value = value
            self._turn += 1

    def forget(self) -> None:
        """Drop the value, so that the next call computes it again. Does not wait for a running computation."""
        with self._state:
            self._value = None
            self._turn += 1


def files_of(folder: Path, text: config.TextReader) -> tuple[TextMapping, list[Problem], list[Problem]]:
    unreadable: list[Problem] = []
    files = config.read_files(folder, unreadable, text=text)
    mistakes, warnings = config.look_alikes(folder)
    return files, [*unreadable, *mistakes], warnings


def systems_of(folder: Path) -> Systems:
    """Return the external systems of a project. Errors are ignored here; `load_definitions` reports them."""
    text = config.read_settings(folder)
    root = yamltext.read(text, config.PROJECT_FILE, [])
    return load_systems(root, [], []) if isinstance(root, yamltext.Mapping) else Systems()


def line_of(folder: Path, problem: Problem) -> str:
    """Return the line of a problem as written; empty if it has none."""
    lines = config.read_files(folder, []).get(problem.file, "").splitlines()
    return lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""
