"""The project's rules as files that people edit one at a time: what is in them, and a new text for one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shroff import config
from shroff.app.additions import Additions
from shroff.errors import DefinitionError, UsageError
from shroff.rules.definitions import Rule
from shroff.rules.texts import tag_of

FOLDER: Final = "rules/"
TEXT_BYTES_MAX: Final = 512 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}\.yaml")


class ChangedMeanwhileError(UsageError):
    """A file is not what whoever changes it believes it to be."""


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One file of rules: its name in `rules/`, its text, and the rules that it declares, where it has no mistake."""

    name: str
    text: str
    rules: Sequence[Rule]

    @property
    def tag(self) -> str:
        """Changes with the text."""
        return tag_of(self.text)


Before = Callable[[str, str], None]  # is told a file of rules and the tag of what it is about to have; "" where none


def unrecorded(file: str, tag: str) -> None:
    """Nobody is told."""


class RuleFiles(Additions):
    """The rules of an opened project, as files."""

    __slots__ = ()

    def rule_files(self) -> list[RuleFile]:
        """All files of rules, by their names."""
        texts = config.read_files(self.places.folder, [])
        rules: Sequence[Rule] = ()
        with suppress(DefinitionError):
            rules = self.definitions.rules
        return [
            RuleFile(
                name.removeprefix(FOLDER),
                text,
                [rule for rule in rules if rule.place is not None and rule.place.file == name],
            )
            for name, text in texts.items()
            if name.startswith(FOLDER)
        ]

    def rule_file(self, name: str) -> RuleFile | None:
        """One file of rules; None where there is none of this name."""
        return next((one for one in self.rule_files() if one.name == name), None)

    def write_rules(self, name: str, text: str, tag: str, before: Before = unrecorded) -> None:
        """Write a file of rules, if it is still what `tag` says; empty for one that is not there yet.

        It comes into force when the process that writes the log is asked to look at the files, or starts. Nothing is
        written where `before` raises.

        Raises: ChangedMeanwhileError; UsageError for a name that cannot be; DefinitionError where the project would
            have mistakes.
        """
        _require_name(name)
        with config.editing(self.places):
            self.reload()
            now = self.rule_file(name)
            if (now.tag if now is not None else "") != tag:
                raise ChangedMeanwhileError(f"{FOLDER}{name} was changed meanwhile; read it again, and change that.")
            self._write_rules(name, text, before)

    def _write_rules(self, name: str, text: str, before: Before) -> None:
        """The same where the files are held already, whatever was there before."""
        _require_name(name)
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise UsageError(f"a file of rules has at most {TEXT_BYTES_MAX:,} bytes.")
        self.check_with({f"{FOLDER}{name}": text})
        before(name, tag_of(config.lines_ended(text)))
        config.make_folder(self.places.folder / FOLDER)
        config.write_text(self.places.folder / FOLDER / name, text)
        self.reload()


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a file of rules: small letters, digits, - and _, and .yaml at the end.")
