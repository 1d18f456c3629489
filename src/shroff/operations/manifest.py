"""The manifest: the first word of each command, the module that has it, and one line of help (commands.txt).

A module is imported when one of its commands, routes or calls is used, so that `shroff --help` stays quick. Modules of
shroff.cli hold commands of their own; all others declare operations, and cli/WORD.py may have `BY_HAND` beside them:
commands of the group that stream or wait. Other packages add rows by entry points of the
group shroff.operations, whose values map words to a module, its line of help and, where the word does not stand at the
end, the word before it.
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
    """The words of plug-ins, with their modules. Raises: UsageError naming a package that is broken."""
    return {word: row for rows in installed(OPERATIONS).values() for word, row in rows.items()}


@cache
def commands() -> Mapping[str, tuple[str, str]]:
    """Each word with its module and help; those of plug-ins follow shroff's own, which cannot be taken."""
    rows = list(_own().items())
    for word, (module, words, *before) in _added().items():
        if word not in _own():
            names = [name for name, _ in rows]
            at = names.index(before[0]) + 1 if before and before[0] in names else len(rows)
            rows.insert(at, (word, (module, words)))
    return dict(rows)


def is_known(word: str) -> bool:
    """Whether there is a command; other packages are searched only for a word that shroff has not."""
    return word in _own() or word in _added()


def load(word: str) -> object:
    """The module of a word."""
    return import_module((_own() if word in _own() else _added())[word][0])


def load_all() -> None:
    """Import every module that declares operations. Raises: as `load`."""
    for word, (module, _) in commands().items():
        if not module.startswith("shroff.cli."):
            load(word)
