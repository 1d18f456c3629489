"""What telling takes: the notices of a project, their texts, and what opens the ways by which they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from shroff.decisions.definitions import Definitions
from shroff.notices.definitions import Notice
from shroff.notices.letters import Letters, Sender
from shroff.notices.mailer import Mailer
from shroff.notices.store import NoticeStore
from shroff.notices.texts import Texts
from shroff.streams.lake import Patient
from shroff.streams.log import Log
from shroff.streams.sink import Sink


class Backlog(Protocol):
    """What waits for people: cases that are not closed, money in smallest units, time in milliseconds."""

    @property
    def open(self) -> int: ...

    @property
    def late(self) -> int: ...

    @property
    def escalated(self) -> int: ...

    @property
    def stake(self) -> int | None: ...

    @property
    def left_ms(self) -> int | None: ...


@dataclass(slots=True)
class Office:
    """A project as notices see it. Whatever is opened is closed by whoever opened it.

    Args:
        key: Signs links.
        mail_from: Who mails are from, as shroff.yaml has it.
        users: The addresses of the users of a role.
        hook: What calls the address of a notice.
        lake: Where documents of the lake go.
        known_by: Which share of the frauds is known after so many days; ages of which that is not known are left out.
        backlog: What waits for people now.
        sweep_mails: Removes mails that lie as files for longer than they are kept; gives how many.
        remove_mail: Removes the mail of this id, where it lies as a file.
    """

    definitions: Definitions
    notices: Mapping[str, Notice]
    texts: Texts
    sender: Sender
    mail_from: str
    key: bytes = field(repr=False)
    now_ms: Callable[[], int]
    open_log: Callable[[], Log]
    open_store: Callable[[], NoticeStore]
    open_mailer: Callable[[], Mailer]
    users: Callable[[str], Sequence[str]]
    hook: Callable[[Notice], Sink]
    lake: Callable[[], AbstractContextManager[Patient]]
    known_by: Callable[[Sequence[int]], Mapping[int, float]]
    backlog: Callable[[], Backlog]
    sweep_mails: Callable[[], int]
    remove_mail: Callable[[str], None]

    @property
    def letters(self) -> Letters:
        """What writes letters."""
        return Letters(self.definitions, self.texts, self.sender)

    def of_kind(self, on: str) -> list[Notice]:
        """The notices on one thing, by their names."""
        return [one for one in self.notices.values() if one.on == on]
