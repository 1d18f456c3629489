"""Lists of an opened project: read and changed row by row, by commands, programs and people."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict, astuple

from shroff import config
from shroff.errors import DefinitionError, NotAllowedError, RefusalError, UsageError
from shroff.json_types import JsonObject
from shroff.language.yaml import text as yamltext
from shroff.project import lists
from shroff.project.checked_files import CheckedFiles, checked_files
from shroff.project.loader import files_of
from shroff.project.settings.systems import load_systems
from shroff.rules.silences import rule_of
from shroff.rules.texts import tag_of
from shroff.runtime import state_folder
from shroff.runtime.atomic_files import own
from shroff.runtime.progress import unheard
from shroff.runtime.values import frozen, replace
from shroff.services.approvals.agreements import SHOWN_MAX, Agreements
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_files import checked, checked_with
from shroff.services.rules.files import ChangedMeanwhileError, is_version
from shroff.services.writer.requests import WriterRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shroff.project.look_ups import LookUps

FOLDER = "lists/"
RULES_APART = "rules"  # value of `second_person` in shroff.yaml
LISTS = "lists"
SILENCES = "silences"
LIST_WAY = "ask for it on the page of the list, or by POST /api/v1/lists/{list}/entries"
SILENCE_WAY = "ask for one from a case: on its page, or by POST /api/v1/cases/{id}/silence"
ENDLESS = "a silence needs an end. To switch the rule off for good, change the rule."
WRITTEN = "The list is written; it becomes active with the next command that writes."
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_TEXT_MAX = 1_000  # characters of a value or a note
WAITS = "this needs approval by a second person, and waits for it"


class SecondPersonError(RefusalError):
    """Approval by a second person is needed here."""

    status, code, title = 409, "second-person", "This needs a second person"


class NotRequestedError(RefusalError):
    """No such change is requested."""

    status, code, title = 404, "not-asked", "No such change is requested"


class WantedChange(msgspec.Struct):
    """A list change that waits for a second person; with an `etag`, valid only for that version."""

    put: list[tuple[str, str, str]]
    out: list[str]
    is_whole: bool
    etag: str = ""


@frozen
class ListEdit:
    """Entries to put into a list and values to take out of it; `is_whole` takes out all others, too.

    `makes` creates the list if there is none. `reason` says why values are taken out. With a `tag`, versions separated
    by commas, the edit is for these versions of the list alone.
    """

    put: Sequence[lists.Entry] = ()
    out: Sequence[str] = ()
    is_whole: bool = False
    makes: bool = False
    reason: str = ""
    tag: str = ""


class ListFiles(ProjectPart):
    """Lists of a project, as files."""

    _agreements: Agreements
    _people: ProjectPeople
    _requests: WriterRequests

    def all(self) -> list[lists.ListSummary]:
        definitions = self._definitions
        texts = {lists.file_of(name): self._list_text(name) for name in definitions.reference.lists}
        return lists.summaries(definitions, texts)

    def entries(self, name: str) -> list[lists.Entry]:
        """Get the entries of a list as stored. Raises: UsageError if there is no such list."""
        return lists.entries(self._list_text(lists.known_list(name, self._definitions)))

    def tag(self, name: str) -> str:
        """Get the version of a list: it changes with its text. Raises: UsageError if there is no such list."""
        return tag_of(self._list_text(lists.known_list(name, self._definitions)))

    def _checked_version(self, name: str, tags: str) -> str:
        """Return the version of a list. Raises: ChangedMeanwhileError if it is none of `tags`."""
        version = self.tag(name)
        if not is_version(tags, version):
            raise ChangedMeanwhileError(f"the list {name} has changed since; reload it and ask again", version)
        return version

    def holding(self, value: str) -> dict[str, lists.Entry]:
        """Find the lists with a value, by name, with its entry."""
        definitions, entries = self._definitions, {}
        for name in definitions.reference.lists:
            text = self._list_text(name)
            read = self._context.read_once.list_known(lists.file_of(name), text)
            entries[name] = lists.entry_of(text, value, self._stands_for(name, definitions.look_ups), read)
        return {name: entry for name, entry in entries.items() if entry is not None}

    def make(self, name: str) -> lists.ListChange:
        """Create a list without entries.

        Raises: UsageError if the list exists, or its name is invalid.
        """
        if not _NAME.fullmatch(name):
            raise UsageError("a list's name begins with a small letter and has small letters, digits and _.")
        with config.editing(self._paths):
            self._context.reload()
            if name in self._definitions.reference.lists:
                raise UsageError(f"there is a list {name} already.")
            checked_with(self._context, {lists.file_of(name): lists.EMPTY})
            self._people.record("list.make", f"list {name}")
            self._write_list(name, lists.EMPTY)
        self._context.reload()
        return _same(name, self._requests.put_in_force(WRITTEN, [lists.file_of(name)]))

    def add(self, name: str, entry: lists.Entry) -> lists.ListChange:
        """Add an entry to lists/NAME.csv and make it active. Raises: as `change`."""
        return self.change(name, [entry])

    def remove(self, name: str, value: str, reason: str = "") -> lists.ListChange:
        """Remove every row of a value from lists/NAME.csv, and make that active. Raises: as `change`."""
        return self.change(name, out=[value], reason=reason)

    def change(
        self,
        name: str,
        put: Sequence[lists.Entry] = (),
        out: Sequence[str] = (),
        *,
        is_whole: bool = False,
        makes: bool = False,
        reason: str = "",
        tag: str = "",
    ) -> lists.ListChange:
        """Change the entries of a list, as `write`, and make that active; `reason` says why values are removed.

        With `tag`, versions separated by commas, the list is changed only if it still is one of them. Blanks around
        values, which come from pasting, are removed.

        The audit log has the entries before and after, recorded before they are written. If a second person approves
        list changes, the change waits until another user requests the same. A change with a tag, or of a whole list, is
        then made only if the list is unchanged.

        Raises: as `write`; NotAllowedError for commands and programs if a second person approves; SecondPersonError
            for a silence then; ChangedMeanwhileError by the tags; StorageError, TransientError if it cannot be
            recorded, and nothing is changed.
        """
        if tag:
            self._checked_version(name, tag)
        stripped = [replace(entry, value=entry.value.strip()) for entry in put]
        edit = ListEdit(stripped, out, is_whole, makes, reason, tag)
        is_silence = rule_of(name) is not None
        if is_silence:
            needs_approval = SILENCES in self._systems.second_person and len(put) > 0
        else:
            needs_approval = self.need_second_person
        if not needs_approval:
            return self._change_now(name, edit)
        if self._context.who.kind not in {"user", "key"}:  # local user names do not prove that two are different people
            subject, way = ("silences", SILENCE_WAY) if is_silence else ("changes of lists", LIST_WAY)
            message = f"a second person approves {subject} here (shroff.yaml: second_person), so this works only in"
            raise NotAllowedError(f"{message} the service; {way}")
        if is_silence:
            raise SecondPersonError(f"a second person approves silences here; {SILENCE_WAY}")
        is_for_a_version = is_whole or tag not in {"", "*"}
        version = self._checked_version(name, tag or "*") if is_for_a_version else ""
        return self._change_by_two(name, replace(edit, tag=version))

    def approve(self, name: str, tag: str) -> lists.ListChange:
        """Make a list change that another user requested.

        Raises: NotRequestedError; NotAllowedError; ChangedMeanwhileError if it was for another version of the list.
        """
        name = lists.known_list(name, self._definitions)
        waiting = {request.tag: request for request in self._agreements.asked(f"list {name}")}
        if tag not in waiting:
            raise NotRequestedError("reload the list")
        pending = waiting[tag]
        self._agreements.second(pending.authors, "a list change")
        change = msgspec.convert(pending.change, WantedChange)
        put = [lists.Entry(value, note, pending.by, expires_at) for value, note, expires_at in change.put]
        return self._change_by_two(name, ListEdit(put, change.out, change.is_whole, tag=change.etag))

    def wanted(self, name: str, edit: ListEdit) -> JsonObject:
        """Get a change as it waits for a second person. Raises: UsageError."""
        values = self.hashed(name, [entry.value for entry in edit.put])
        rows = [[value, entry.note, entry.expires_at] for value, entry in zip(values, edit.put, strict=True)]
        change = {"put": rows, "out": self.hashed(name, edit.out), "is_whole": edit.is_whole}
        return {**change, "etag": edit.tag} if edit.tag else change

    def _change_by_two(self, name: str, edit: ListEdit) -> lists.ListChange:
        """Make a change if a second person requests it now, else let it wait."""
        subject = f"list {name}"
        change = self.wanted(name, edit)
        values = [row[0] for row in change["put"]]
        removed = change["out"]
        if edit.is_whole:
            stay = set(values)
            removed = [*dict.fromkeys(entry.value for entry in self.entries(name) if entry.value not in stay)]
        if not self._agreements.agrees(subject, change, _sentence(edit, values, removed), out=removed):
            return _same(name, WAITS)
        with self._agreements.approved(subject, change):
            return self._change_now(name, edit)

    def _change_now(self, name: str, edit: ListEdit) -> lists.ListChange:
        """Record a change in the audit log, write it and make it active."""

        def record(edited: lists.Edited) -> None:
            if edit.tag:
                self._checked_version(name, edit.tag)  # again, now with the lock held
            after = _audited(edited.after) or ({"reason": edit.reason} if edit.reason else None)
            self._people.record("list.change", f"list {name}", _audited(edited.before), after)

        edited, checked_files = self._write(name, edit, record)
        requests = self._requests
        end = requests.end_of_log()
        why_not = requests.put_in_force(WRITTEN, [lists.file_of(name)], known=checked_files)
        behind = requests.changed_behind(end) if end and not why_not else set()
        values = [*(entry.value for entry in edit.put), *edit.out]
        stands = self._stands_for(name, (checked_files or self._definitions).look_ups)
        over = [entry.expires_at for entry in edit.put if entry.is_over(self._now_ms())]
        is_one = len(values) == 1 and not edit.is_whole
        return lists.ListChange(
            list=name,
            **edited.counts,
            in_force=not why_not,
            why_not=why_not or None,
            what=edited.what,
            value=stands(values[0]) if is_one else "",
            entries=edited.entries,
            others=tuple(sorted(behind - {lists.file_of(name)})),
            expired=over[0] if is_one and over else "",
            repeated=len(edit.put) - len({entry.value for entry in edit.put}),
        )

    def write(
        self,
        name: str,
        put: Sequence[lists.Entry] = (),
        out: Sequence[str] = (),
        *,
        makes: bool = False,
        before: Callable[[lists.Edited], None] = unheard,
    ) -> lists.Edited:
        """Change the entries of a list, as `lists.edited`; values compared with a hashed field are hashed.

        It becomes active when the process that writes the log starts or is asked to check the files. `before` is called
        with the edit; if it raises, nothing is written.

        Args:
            makes: Create the list if it does not exist.

        Raises: UsageError if there is no such list, a value to remove is not in it, or an entry is invalid;
            DefinitionError if the project would have errors.
        """
        edited, _ = self._write(name, ListEdit(put, out, makes=makes), before)
        return edited

    def _write(
        self, name: str, edit: ListEdit, before: Callable[[lists.Edited], None]
    ) -> tuple[lists.Edited, CheckedFiles | None]:
        """Like `write`; also return the cached check of the files if it sufficed."""
        for entry in edit.put:
            _check(name, entry)
        with config.editing(self._paths):
            self._context.reload()
            checked_files = self._known_files(name)
            text, look_ups = self._text_to_edit(name, checked_files, makes=edit.makes)
            stands_for = self._stands_for(name, look_ups)
            edited = self._edited(name, text, edit, stands_for)
            if edited.text != text:
                checked_files = self._put(name, edited, checked_files, stands_for, before)
        self._context.reload()
        if checked_files is None:
            with suppress(DefinitionError):  # reported on activation
                checked(self._context)
        return edited, checked_files

    def _text_to_edit(self, name: str, checked_files: CheckedFiles | None, *, makes: bool) -> tuple[str, LookUps]:
        """Return a list's text, empty if the list is to be made, and the project's look-ups with it."""
        if checked_files is not None:
            return self._list_text(name), checked_files.look_ups
        if makes and name not in self._definitions.reference.lists:
            return lists.EMPTY, checked_with(self._context, {lists.file_of(name): lists.EMPTY}).look_ups
        return self._list_text(lists.known_list(name, self._definitions)), self._definitions.look_ups

    def _edited(self, name: str, text: str, edit: ListEdit, stands_for: Callable[[str], str]) -> lists.Edited:
        """Raises: UsageError if a value to remove is not in the list."""
        file = lists.file_of(name)
        read = self._context.read_once.list_known(file, text)
        rows = self._context.read_once.plain_rows(file, text)
        edited = lists.edited(text, edit.put, edit.out, stands_for, is_whole=edit.is_whole, known=read, rows=rows)
        removed = {stands_for(entry.value) for entry in edited.before} if edit.out else set()
        missing = [value for value in edit.out if stands_for(value) not in removed]
        if missing:
            raise UsageError(f"{missing[0]!r} is not in the list {name}.")
        return edited

    def _put(
        self,
        name: str,
        edited: lists.Edited,
        checked_files: CheckedFiles | None,
        stands_for: Callable[[str], str],
        before: Callable[[lists.Edited], None],
    ) -> CheckedFiles | None:
        """Check and write an edited list; return the cached check with it, None if all files were checked."""
        file = lists.file_of(name)
        is_allowed = checked_files is not None and checked_files.allows(file, edited, stands_for)
        if not is_allowed:
            checked_with(self._context, {file: edited.text})
        before(edited)
        self._write_list(name, edited.text)
        if edited.is_plain:
            self._context.read_once.keep_plain(file, edited.text, edited.entries)
        if checked_files is None or not is_allowed:
            return None
        checked_files = checked_files.edited(file, config.lines_ended(edited.text))
        checked_files.keep(self._paths.checked)
        return checked_files

    def _known_files(self, name: str) -> CheckedFiles | None:
        """Return the cached check of the files if it suffices for a change of this list's rows."""
        if self._paths.is_elsewhere:
            return None
        files, problems, _ = files_of(self._paths.folder, self._context.read_once.texts.text)
        top = yamltext.read(files.get(config.PROJECT_FILE, ""), config.PROJECT_FILE, problems)
        if lists.file_of(name) not in files or not isinstance(top, yamltext.Mapping):
            return None
        load_systems(top, problems, [])  # environment variables may have been unset since
        hashing, read = self._requests.hashing(), self._context.read_once
        return None if problems else checked_files(self._paths.checked, files, hashing, read)

    def hashed(self, name: str, values: Sequence[str]) -> list[str]:
        """Get values as the list stores them: hashed if compared with a hashed field. Raises: UsageError."""
        definitions = self._definitions
        return [*map(self._stands_for(lists.known_list(name, definitions), definitions.look_ups), values)]

    def _list_text(self, name: str) -> str:
        path = own(self._paths.folder, lists.file_of(name))
        written = self._context.read_once.texts.written(str(path))
        return config.read_text(path) if written is None else written

    def _write_list(self, name: str, text: str) -> None:
        path = own(self._paths.folder, lists.file_of(name))
        state_folder.make_folder(path.parent)
        config.write_text(path, text)
        self._context.read_once.texts.wrote(str(path), text)

    def _stands_for(self, name: str, look_ups: LookUps) -> Callable[[str], str]:
        """Return how to map values to their stored form: hashes if the list is compared with a hashed field."""
        return self._requests.hashing() if name in look_ups.hashed else str

    @property
    def need_second_person(self) -> bool:
        return LISTS in self._systems.second_person


def _same(name: str, why_not: str) -> lists.ListChange:
    return lists.ListChange(
        list=name, added=0, changed=0, removed=0, in_force=not why_not, why_not=why_not or None, what=lists.SAME
    )


def _sentence(edit: ListEdit, values: Sequence[str], removed: Sequence[str]) -> str:
    """Describe what a pending change would do; values as the list stores them."""
    parts = []
    if edit.put or edit.is_whole:
        parts.append(f"put {values[0] if len(values) == 1 else len(values)} in")
    if removed:
        why = f" ({edit.reason})" if edit.reason else ""
        parts.append(f"take {removed[0] if len(removed) == 1 else len(removed)} out{why}")
    sentence = " and ".join(parts)
    return f"{sentence}, and nothing else is to be in it" if edit.is_whole else sentence


def _check(name: str, entry: lists.Entry) -> None:
    if not entry.value:
        raise UsageError("an entry of a list needs a value.")
    if rule_of(name) is not None and not entry.expires_at:
        raise UsageError(ENDLESS)
    if any(sign in text for text in astuple(entry) for sign in "\r\n\0"):
        raise UsageError("an entry of a list must be one line.")
    if max(len(text) for text in astuple(entry)) > _TEXT_MAX:
        raise UsageError(f"a value or a note has {_TEXT_MAX:,} characters at most.")


def _audited(entries: Sequence[lists.Entry]) -> Any:
    if not entries:
        return None
    return [asdict(entry) for entry in entries] if len(entries) <= SHOWN_MAX else {"entries": len(entries)}
