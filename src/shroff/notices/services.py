"""Notice services: the notices of a project, their texts, and the functions that open their channels."""

from __future__ import annotations

from bisect import bisect_right
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
from shroff.log.history import Control, control_at
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

READ = ("definitions", "policy", "lists", "tables")  # parts of a version that notices read


@dataclass(slots=True)
class NoticeServices:
    """A project as notices see it. Whoever opens something closes it.

    Args:
        key: Signs links.
        mail_from: Sender of mails, from shroff.yaml.
        users: Returns the addresses of the users with a role, or of the user with an id.
        hook: Returns the webhook of a notice.
        lake: Opens the storage for documents in the lake.
        known_by: Returns the share of frauds known after each number of days; without the ages for which it is unknown.
        estimates: Returns, in a time zone, for each week with outstanding labels its first day and the 90 % interval of
            its fraud.
        programmes: Returns, in a time zone, the ratios of card schemes that are nearest to their limits.
        backlog: Returns the open work of people.
        count_report: Computes the report of a plug-in for a notice and a day, as JSON.
        mail_folder: Folder of the mailbox, which keeps files for `mails_kept_ms`.
        load: Loads definitions, which have no problems, from files by name.
        taken: The active notices and settings that this process uses, with a number that grows with each change.
        again: Returns the services for the project as it is now.
        inactive: Returns the names in the project's files that are not active. Cost: loads the files.
        file_stamps: Returns values that change with these files.
        source_troubles: Returns name, problem and start time of each source that delivers none or bad messages, and of
            each guard that stopped a change or cannot be computed.
        failing_schedules: Returns the schedules whose latest run failed, with the reason.
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
    programmes: Callable[[str], Sequence[str]]
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
    _version_seqs: list[int] = field(default_factory=list, init=False, repr=False)
    _in_force: Definitions | None = field(default=None, init=False, repr=False)
    _past: tuple[int, Definitions] | None = field(default=None, init=False, repr=False)  # of the last `in_force_at`
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._taken = self.taken.number

    def renew(self) -> bool:
        """Switch to notices, texts and settings that became active; return whether there were any. From any thread."""
        if self.taken.number == self._taken:
            return False
        number = self.taken.number
        renewed = self.again()
        with self._lock:
            self.definitions = renewed.definitions
            self.notices = renewed.notices
            self.texts = renewed.texts
            self.sender = renewed.sender
            self.mail_from = renewed.mail_from
            self._taken = number
            self.mails_kept_ms = renewed.mails_kept_ms
        return True

    def in_force(self, log: Log) -> Definitions:
        """Return the active definitions. From any thread. Cost: reads the log's versions once, then new ones.

        Raises: StorageError if they can no longer be read.
        """
        with self._lock:
            for record in log.controls(self._seen):
                self._control.take(record)
                self._seen = record.seq
                self._version_seqs.append(record.seq)
            active = self._in_force or self.definitions
            control_versions = self._control.versions
            if (
                any(control_versions.get(name, "") != getattr(active.versions, name) for name in READ)
                and control_versions
            ):
                with telling_damage():
                    self._in_force = active = self.load(self._control.files)
            return active

    def in_force_at(self, log: Log, seq: int) -> Definitions:
        """Return the definitions active at a sequence number; today's if notices name something that those lack."""
        if seq < self._seen:
            number = bisect_right(self._version_seqs, seq)
            with suppress(StorageError), telling_damage():
                past = self._past
                if past is None or past[0] != number:
                    past = number, self.load(control_at(log, seq).files)
                    self._past = past
                then = past[1]
                if _has_all_of(self.definitions, then):
                    return then
        return self.definitions

    @property
    def version_seq(self) -> int:
        """Sequence number of the active version at the last `in_force`."""
        return self._seen

    def follow(self, log: Log) -> None:
        """Switch to the active definitions, so that addresses are looked up in the tables that decide.

        Notices stay as they were at the start. So a version that lacks something they could name is ignored, as is one
        that cannot be read.
        """
        with suppress(StorageError):
            active = self.in_force(log)
            if active is not self.definitions and _has_all_of(self.definitions, active):
                self.definitions = active

    @property
    def letters(self) -> Letters:
        return Letters(self.definitions, self.texts, self.sender)

    def of_kind(self, on: str) -> list[Notice]:
        return [notice for notice in self.notices.values() if notice.on == on]


def _has_all_of(old_definitions: Definitions, new_definitions: Definitions) -> bool:
    """Whether everything that an expression could name before still exists."""
    old_types = old_definitions.events.types
    new_types = new_definitions.events.types
    pairs = [
        (old_types, new_types),
        (old_definitions.reference.tables, new_definitions.reference.tables),
        (old_definitions.reference.lists, new_definitions.reference.lists),
        *((old_types[name].field_names, new_types[name].field_names) for name in old_types if name in new_types),
    ]
    return all(set(old) <= set(new) for old, new in pairs)
