"""Lists of an opened project: read and changed line by line, by commands, programs and people alike."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.app.additions import Additions, Waits
from shroff.errors import DefinitionError, UsageError
from shroff.language.yaml import text as yamltext
from shroff.log.deeds import Deed
from shroff.project.definitions import Definitions
from shroff.project.loading import files_of
from shroff.project.look_ups import LookUps
from shroff.project.settings.systems import load_systems
from shroff.rules.silences import rule_of
from shroff.runtime.progress import unheard

if TYPE_CHECKING:
    from shroff.project.checked_files import CheckedFiles
    from shroff.project.lists import Change, Edited, Entry, ListSummary

FOLDER: Final = "lists/"
ENDLESS: Final = "a rule is silent until a time: say when that ends. For good, change the rule."
WRITTEN: Final = "The list is written; it comes into force with the next command that writes."
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
_TEXT_MAX: Final = 1_000  # characters of a value or a note


class ListFiles(Additions):
    """The lists of an opened project, as files."""

    __slots__ = ()

    @abstractmethod
    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""

    def lists(self) -> list[ListSummary]:
        """The project's lists, and what reads them."""
        from shroff.project.lists import file_of, summaries

        definitions = self.definitions
        texts = {file_of(name): self._list_text(name) for name in definitions.reference.lists}
        return summaries(definitions, texts)

    def list_entries(self, name: str) -> list[Entry]:
        """The entries of a list, as they are written. Raises: UsageError where there is no such list."""
        from shroff.project.lists import entries, known_list

        return entries(self._list_text(known_list(name, self.definitions)))

    def in_lists(self, value: str) -> dict[str, Entry]:
        """The lists that hold a value, by their names, with its entry."""
        from shroff.project.lists import entries

        found, definitions = {}, self.definitions
        for name in definitions.reference.lists:
            stands_for = self._stands_for(name, definitions.look_ups)
            wanted = stands_for(value)
            there = [one for one in entries(self._list_text(name)) if stands_for(one.value) == wanted]
            if there:
                found[name] = there[0]
        return found

    def make_list(self, name: str, before: Callable[[], None] = lambda: None) -> None:
        """Write a new list without entries; where `before` raises, there is none.

        Raises: UsageError where it is there, or the name cannot be one.
        """
        from shroff.project.lists import EMPTY, file_of

        if not _NAME.fullmatch(name):
            raise UsageError("a list's name begins with a small letter and has small letters, digits and _.")
        with config.editing(self.places):
            self.reload()
            if name in self.definitions.reference.lists:
                raise UsageError(f"there is a list {name} already.")
            self.check_with({file_of(name): EMPTY})
            before()
            self._write_list(name, EMPTY)
        self.reload()

    def list_add(self, name: str, entry: Entry, waits: Waits = unheard) -> Change:
        """Write an entry into lists/NAME.csv and put it in force; one of the same value is replaced.

        Raises: as `write_list`; NotAllowedError where a second person approves that.
        """
        return self.change_list(name, entry.value, [entry], waits=waits)

    def list_remove(self, name: str, value: str, waits: Waits = unheard) -> Change:
        """Take every line of a value out of lists/NAME.csv, and put that in force. Raises: as `write_list`."""
        return self.change_list(name, value, waits=waits)

    def change_list(
        self, name: str, value: str, put: Sequence[Entry] = (), *, makes: bool = False, waits: Waits = unheard
    ) -> Change:
        """Put one value into a list, or take it out where nothing is put, and have that in force.

        Raises: as `write_list`; NotAllowedError where a second person approves that.
        """
        from shroff.project.lists import Change, file_of

        if put or rule_of(name) is None:
            self.refuse_alone(name)

        def recorded(found: Edited) -> None:
            changed = (*found.after, *found.before)[0].value  # hashed where it must be
            self.record(Deed("list.change", f"list {name}", None, {"value": changed, "what": found.what}))

        found, known = self._written(name, put, () if put else (value,), makes=makes, before=recorded)
        end = self._end_of_log()
        in_force, why_not = self._put_in_force(waits, WRITTEN, known=known)
        others = self._changed_behind(end) - {file_of(name)} if in_force and end else ()
        stands = self._stands_for(name, (known or self.definitions).look_ups)(value)
        return Change(name, stands, found.what, found.entries, in_force, why_not, tuple(sorted(others)))

    def write_list(
        self,
        name: str,
        put: Sequence[Entry] = (),
        out: Sequence[str] = (),
        *,
        is_whole: bool = False,
        makes: bool = False,
        before: Callable[[Edited], None] = lambda _: None,
    ) -> Edited:
        """Change the entries of a list, as `lists.edited`; values that are compared with a hashed field, hashed.

        It comes into force when the process that writes the log is asked to look at the files, or starts. `before` is
        told what is about to be written; where it raises, nothing is.

        Args:
            makes: A list that is not there is made.

        Raises: UsageError where there is no such list, one to take out is not in it, or an entry cannot be one;
            DefinitionError where the project would have mistakes.
        """
        return self._written(name, put, out, is_whole=is_whole, makes=makes, before=before)[0]

    def _written(
        self,
        name: str,
        put: Sequence[Entry],
        out: Sequence[str],
        *,
        is_whole: bool = False,
        makes: bool = False,
        before: Callable[[Edited], None],
    ) -> tuple[Edited, CheckedFiles | None]:
        """The same, with what is known of the files then, where it took no reading of all of them."""
        from shroff.project.lists import edited, file_of

        for one in put:
            _check(name, one)
        with config.editing(self.places):
            self.reload()
            known = self._known_files(name)
            asked, text = self._known(name, makes=makes) if known is None else (known.look_ups, self._list_text(name))
            stands_for = self._stands_for(name, asked)
            hashed = [replace(one, value=stands_for(one.value)) for one in put]
            found = edited(text, hashed, out, stands_for, is_whole=is_whole)
            gone = {stands_for(one.value) for one in found.before} if out else set()
            for value in out:
                if stands_for(value) not in gone:
                    raise UsageError(f"{value!r} is not in the list {name}.")
            if found.text != text:
                if known is None or not known.allows(file_of(name), found, stands_for):
                    known = None
                    self.check_with({file_of(name): found.text})
                before(found)
                self._write_list(name, found.text)
                if known is not None:
                    known = known.edited(file_of(name), config.lines_ended(found.text))
                    known.keep(self.places.checked)
        self.reload()
        if known is None:
            with suppress(DefinitionError):  # whoever puts them in force tells of it
                self.checked()
        return found, known

    def _known_files(self, name: str) -> CheckedFiles | None:
        """What was kept of the last check, where it says all that a change of the rows of this list takes."""
        from shroff.project.checked_files import checked_files
        from shroff.project.lists import file_of

        if self.is_parted or self.places.lane is not None or self.places.is_elsewhere:
            return None
        files, problems, _ = files_of(self.places.folder, None)
        top = yamltext.read(files.get(config.PROJECT_FILE, ""), config.PROJECT_FILE, problems)
        if file_of(name) not in files or not isinstance(top, yamltext.Mapping):
            return None
        load_systems(top, problems, [])  # variables of the environment may be set no more
        return None if problems else checked_files(self.places.checked, files, self._hashing())

    def hashed_in(self, name: str, values: Sequence[str]) -> list[str]:
        """Values as the list has them: hashed, where it is asked about a hashed field. Raises: UsageError."""
        from shroff.project.lists import known_list

        return [*map(self._stands_for(known_list(name, self.definitions), self.definitions.look_ups), values)]

    def _known(self, name: str, *, makes: bool) -> tuple[LookUps, str]:
        """How lists are asked, and the text of a list; an empty one, where it is to be made."""
        from shroff.project.lists import EMPTY, file_of, known_list

        if makes and name not in self.definitions.reference.lists:
            return self.check_with({file_of(name): EMPTY}).look_ups, EMPTY
        return self.definitions.look_ups, self._list_text(known_list(name, self.definitions))

    def _list_text(self, name: str) -> str:
        from shroff.project.lists import file_of

        return config.read_text(self.places.folder / file_of(name))

    def _write_list(self, name: str, text: str) -> None:
        from shroff.project.lists import file_of

        config.make_folder(self.places.folder / FOLDER)
        config.write_text(self.places.folder / file_of(name), text)

    def _stands_for(self, name: str, look_ups: LookUps) -> Callable[[str], str]:
        """What a value of the list is compared by: its hash, where the list is asked about a hashed field."""
        return self._hashing() if name in look_ups.hashed else str


def _check(name: str, entry: Entry) -> None:
    if not entry.value:
        raise UsageError("an entry of a list needs a value.")
    if rule_of(name) is not None and not entry.expires_at:
        raise UsageError(ENDLESS)
    if any(sign in text for text in astuple(entry) for sign in "\r\n\0"):
        raise UsageError("an entry of a list stands on one line.")
    if max(len(text) for text in astuple(entry)) > _TEXT_MAX:
        raise UsageError(f"a value or a note has {_TEXT_MAX:,} characters at most.")
