"""Notice services: the notices of a project, their texts, and what opens the ways by which they leave."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from shroff.cases.case_queries import Backlog
from shroff.engine.stored import telling_damage
from shroff.errors import StorageError
from shroff.json_types import TextMapping
from shroff.log.active_files import ActiveFilesInUse
from shroff.log.history import Control
from shroff.notices.definitions import Notice
from shroff.notices.mailer import Mailer
from shroff.notices.texts.letters import Letters, LetterSender
from shroff.notices.texts.templates import NoticeTemplates
from shroff.project.definitions import Definitions
from shroff.streams.lake import RetriedObjects
from shroff.streams.log import Log
from shroff.streams.sink import Sink

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

READ = ("definitions", "policy", "lists", "tables")  # of a version, what notices read


@dataclass(slots=True)
class NoticeServices:
    """A project as notices see it. Whatever is opened is closed by the caller who opened it.

    Args:
        key: Signs links.
        mail_from: Who mails are from, as shroff.yaml has it.
        users: The addresses of the users of a role, or of the user of an id.
        hook: What calls the address of a notice.
        lake: Where documents of the lake go.
        known_by: Which share of the frauds is known after so many days; ages of which that is not known are left out.
        estimates: Of each week whose labels still come, in a zone: its first day, and the 90 % interval of its fraud.
        backlog: What waits for people now.
        count_report: Counts the report of a plug-in that a notice names, on a day: JSON.
        mail_folder: Where mails lie as files, for as long as `mails_kept_ms`.
        load: Definitions of files by their names, which are well.
        taken: Which notices this process works with, and how often it took up others.
        again: The project as notices see it now.
        inactive: The names of what the project's files have that is not active. Cost: loading them.
        file_stamps: What shows that one of them has changed.
        source_troubles: What keeps messages of sources away or is bad of them, with the name of each, and since when.
        failing_schedules: The schedules whose newest run failed, with why.
    """

    definitions: Definitions
    notices: Mapping[str, Notice]
    texts: NoticeTemplates
    sender: LetterSender
    mail_from: str
    key: bytes = field(repr=False)
    now_ms: Callable[[], int]
    open_log: Callable[[], Log]
    open_store: Callable[[], NoticeStore]
    open_mailer: Callable[[], Mailer]
    users: Callable[[str], Sequence[str]]
    hook: Callable[[Notice], Sink]
    lake: Callable[[], AbstractContextManager[RetriedObjects]]
    known_by: Callable[[Sequence[int]], Mapping[int, float]]
    estimates: Callable[[str], Sequence[tuple[str, str, str]]]
    backlog: Callable[[], Backlog]
    count_report: Callable[[Notice, date], bytes]
    mail_folder: Path
    mails_kept_ms: int
    load: Callable[[TextMapping], Definitions]
    taken: ActiveFilesInUse
    again: Callable[[], NoticeServices]
    inactive: Callable[[Log], Sequence[str]]
    file_stamps: Callable[[], Sequence[Hashable]]
    source_troubles: Callable[[], Iterable[tuple[str, str, int]]]
    failing_schedules: Callable[[], Iterable[tuple[str, str]]]
    _taken: int = field(default=0, init=False)
    _control: Control = field(default_factory=Control, init=False, repr=False)
    _seen: int = field(default=0, init=False)
    _in_force: Definitions | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._taken = self.taken.number

    def renew(self) -> bool:
        """Take over notices, texts and settings that became active since; whether there were any. From any thread."""
        if self.taken.number == self._taken:
            return False
        number = self.taken.number
        now = self.again()
        with self._lock:
            self.definitions = now.definitions
            self.notices = now.notices
            self.texts = now.texts
            self.sender = now.sender
            self.mail_from = now.mail_from
            self._taken = number
            self.mails_kept_ms = now.mails_kept_ms
        return True

    def in_force(self, log: Log) -> Definitions:
        """The version that decides now. From any thread. Cost: the versions of the log at first, then those that came.

        Raises: StorageError where it cannot be read any more.
        """
        with self._lock:
            for record in log.controls(self._seen):
                self._control.take(record)
                self._seen = record.seq
            known = self._in_force or self.definitions
            now = self._control.versions
            if any(now.get(name, "") != getattr(known.versions, name) for name in READ) and now:
                with telling_damage():
                    self._in_force = known = self.load(self._control.files)
            return known

    @property
    def version_seq(self) -> int:
        """The version that decides, as of the last `in_force`."""
        return self._seen

    def follow(self, log: Log) -> None:
        """Take over what is in force now, so that an address is looked up in the table that decides. Notices hold as
        they were at the start, so a version in which something is gone that they might name is not taken over, nor one
        that cannot be read.
        """
        with suppress(StorageError):
            now = self.in_force(log)
            if now is not self.definitions and _has_all_of(self.definitions, now):
                self.definitions = now

    @property
    def letters(self) -> Letters:
        """The renderer of letters."""
        return Letters(self.definitions, self.texts, self.sender)

    def of_kind(self, on: str) -> list[Notice]:
        """The notices on one thing, by their names."""
        return [notice for notice in self.notices.values() if notice.on == on]


def _has_all_of(before: Definitions, now: Definitions) -> bool:
    """Whether whatever an expression could name before is still there."""
    types, fresh = before.events.types, now.events.types
    pairs = [
        (types, fresh),
        (before.reference.tables, now.reference.tables),
        (before.reference.lists, now.reference.lists),
        *((types[name].field_names, fresh[name].field_names) for name in types if name in fresh),
    ]
    return all(set(old) <= set(new) for old, new in pairs)
