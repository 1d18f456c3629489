"""Lists of an opened project as the service changes them: written at once, put in force by whoever leads the log."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.decisions.additions import ENDLESS, Additions
from shroff.errors import UsageError
from shroff.rules.silences import rule_of

if TYPE_CHECKING:
    from shroff.decisions.lists import Edited, Entry

FOLDER: Final = "lists/"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
_TEXT_MAX: Final = 1_000  # characters of a value or a note


class ListFiles(Additions):
    """The lists of an opened project, as files."""

    __slots__ = ()

    def make_list(self, name: str, before: Callable[[], None] = lambda: None) -> None:
        """Write a new list without entries; where `before` raises, there is none.

        Raises: UsageError where it is there, or the name cannot be one.
        """
        from shroff.decisions.lists import file_of
        from shroff.decisions.reference import LIST_COLUMNS

        if not _NAME.fullmatch(name):
            raise UsageError("a list's name begins with a small letter and has small letters, digits and _.")
        text = ",".join(LIST_COLUMNS) + "\n"
        with config.editing(self.places):
            self.reload()
            if name in self.definitions.reference.lists:
                raise UsageError(f"there is a list {name} already.")
            self.check_with({file_of(name): text})
            before()
            config.make_folder(self.places.folder / FOLDER)
            config.write_text(self.places.folder / file_of(name), text)
        self.reload()

    def write_list(
        self,
        name: str,
        put: Sequence[Entry] = (),
        out: Sequence[str] = (),
        *,
        is_whole: bool = False,
        before: Callable[[Edited], None] = lambda _: None,
    ) -> Edited:
        """Change the entries of a list, as `lists.edited`; values that are compared with a hashed field, hashed.

        It comes into force when the process that writes the log is asked to look at the files, or starts. `before` is
        told what is about to be written; where it raises, nothing is.

        Raises: UsageError where there is no such list, or one to take out is not in it; DefinitionError where the
            project would have mistakes.
        """
        from shroff.decisions.lists import edited, entries, file_of

        for one in put:
            _check(name, one)
        with config.editing(self.places):
            self.reload()
            stands_for = self._stands_for(name)
            text = self._list_text(name)
            there = {stands_for(one.value) for one in entries(text)} if out else set()
            for value in out:
                if stands_for(value) not in there:
                    raise UsageError(f"{value!r} is not in the list {name}.")
            hashed = [replace(one, value=stands_for(one.value)) for one in put]
            found = edited(text, hashed, out, stands_for, is_whole=is_whole)
            if found.text != text:
                self.check_with({file_of(name): found.text})
                before(found)
                config.write_text(self.places.folder / file_of(name), found.text)
        self.reload()
        return found

    def in_lists(self, value: str) -> dict[str, Entry]:
        """The lists that hold a value, by their names, with its entry."""
        from shroff.decisions.lists import entries

        found = {}
        for name in self.definitions.reference.lists:
            stands_for = self._stands_for(name)
            wanted = stands_for(value)
            there = [one for one in entries(self._list_text(name)) if stands_for(one.value) == wanted]
            if there:
                found[name] = there[0]
        return found


def _check(name: str, entry: Entry) -> None:
    if not entry.value:
        raise UsageError("an entry of a list needs a value.")
    if rule_of(name) is not None and not entry.expires_at:
        raise UsageError(ENDLESS)
    if any(sign in text for text in astuple(entry) for sign in "\r\n\0"):
        raise UsageError("an entry of a list stands on one line.")
    if max(len(text) for text in astuple(entry)) > _TEXT_MAX:
        raise UsageError(f"a value or a note has {_TEXT_MAX:,} characters at most.")
