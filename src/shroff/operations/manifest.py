"""The manifest of commands: first word, module, and one line of help (commands.txt).

A module is imported only when one of its commands, routes or calls is used, so that `shroff --help` is fast. Modules of
shroff.cli define commands; all others declare operations, for which cli/WORD.py may add commands that stream or wait
(`BY_HAND`). Other packages add rows by entry points of the group shroff.operations: a mapping of words to module, line
of help and, optionally, the word after which the command is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from shroff.runtime.entry_points import OPERATIONS, installed


@cache
def _own() -> Mapping[str, tuple[str, str]]:
    lines = Path(__file__).with_name("commands.txt").read_text("utf-8").splitlines()
    return {word: (f"shroff.{module}", words) for word, module, words in (re.split("  +", line) for line in lines)}


@cache
def _added() -> Mapping[str, tuple[str, ...]]:
    """Return the rows of plug-ins by word. Raises: UsageError that names a broken package."""
    return {word: row for rows in installed(OPERATIONS).values() for word, row in rows.items()}


@cache
def commands() -> Mapping[str, tuple[str, str]]:
    """Return module and help of each word. Plug-ins cannot replace shroff's own words."""
    rows = list(_own().items())
    for word, (module, words, *before) in _added().items():
        if word not in _own():
            names = [name for name, _ in rows]
            at = names.index(before[0]) + 1 if before and before[0] in names else len(rows)
            rows.insert(at, (word, (module, words)))
    return dict(rows)


def is_known(word: str) -> bool:
    """Return whether a command exists. Other packages are searched only for words that shroff does not have."""
    return word in _own() or word in _added()


def load(word: str) -> object:
    return import_module((_own() if word in _own() else _added())[word][0])


def load_all() -> None:
    """Import every module that declares operations. Raises: as `load`."""
    for word, (module, _) in commands().items():
        if not module.startswith("shroff.cli."):
            load(word)
