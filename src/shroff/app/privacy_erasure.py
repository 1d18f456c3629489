"""Taking away what is personal: the values that lie beside the events of one entity's key, and nothing else.

No event, no decision and no receipt changes, since none of them ever had these values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.app.cases.project_cases import ProjectCases
from shroff.app.live.requests import WriterRequests
from shroff.app.notice_files import SentLetters
from shroff.app.parts import ProjectPart
from shroff.errors import UsageError
from shroff.explain.key_events import KeyFinder
from shroff.features.key_texts import key_of, stored_key
from shroff.log.history import Records
from shroff.people.audit import Action
from shroff.streams.log import LateEvent, Log, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shroff.cases.case_erasure import WrittenNotes
    from shroff.features.naive import Key
    from shroff.project.definitions import Definitions

AT_ONCE: Final = 1_000  # events in one request
Named = tuple[str, str]  # an event's type and id


@dataclass(frozen=True, slots=True)
class Erased:
    """Result of a search for a key: its events, late ones included, and how many had personal values.

    `quarantined` are the entries of quarantine in whose bytes the key stands, which nobody can tell from others that
    only mention it: people look at them. `mails` are the mails about these events that lay as files, `letters` those
    of whose recipients nothing is kept any more, sent by a server or not. `written` is what people wrote and attached
    in cases about these events, which stays until somebody says so; `of` names the key in the record.
    """

    events: int
    erased: int
    quarantined: tuple[int, ...]
    mails: int = 0
    letters: int = 0
    written: WrittenNotes | None = None
    of: str = ""


class Erasing(ProjectPart):
    """Erasure of personal data in a project."""

    def erase(
        self,
        entity: str,
        key: str,
        *,
        is_dry: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Erased:
        """Erase the personal values of all events with this key, and the mails about them; also works beside a writer.

        Args:
            key: The key as people write it; a hashed one in clear or as in the log; several parts as a JSON list.
            is_dry: Only count.

        Raises: UsageError for an entity that there is not, or where no event type of it has a personal field.
        Cost: one pass over the log.
        """
        WriterRequests(self._context).needs_log("so nothing lies beside one")
        definitions = self._context.definitions
        wanted = _key(definitions, self._log.hasher, entity, key)
        events = erased = mails = letters = 0
        names: list[str] = []
        of = f"{entity} {_unnamed(self._log.hasher, key)}"
        with self._log.reading() as log:
            for named in _events_of(log, definitions, entity, wanted, progress):
                events += len(named)
                there = _with_personal(log, named)
                erased += len(there)
                if there and not is_dry:
                    self._erase(there, Action("personal.erase", of, None, {"events": len(there)}))
                names += (f"{type_}/{id_}" for type_, id_ in named)
            mentioned = _mentioned(log, key, wanted)
        if names:  # no new mail finds an address by now
            mails, letters = SentLetters(self._context).forget(names, None if is_dry else of)
        return Erased(
            events,
            erased,
            mentioned,
            mails,
            letters,
            ProjectCases(self._context).written_about(names) if names else None,
            of,
        )

    def _erase(self, named: Sequence[Named], action: Action) -> None:
        from shroff.worker.inbox import ERASE, erase

        WriterRequests(self._context).ask(ERASE, msgspec.json.encode(named), action, erase)


def _unnamed(hasher: Callable[[str], str], key: str) -> str:
    """Pseudonym of a key in the audit log, which is never erased: its keyed hash, without the last characters."""
    return ":".join(hasher(key).split(":")[:2])


def _key(definitions: Definitions, hasher: Callable[[str], str], entity: str, text: str) -> Key:
    """The key that is meant. Raises: UsageError."""
    events = definitions.events
    found = key_of(events, entity, text)
    if not any(events.types[name].personal for name in events.entities[entity].keys):
        raise UsageError(f"no event type that has a key of {entity} has a personal field.")
    return stored_key(events, hasher, entity, found)


def _events_of(
    log: Log, definitions: Definitions, entity: str, key: Key, progress: Callable[[int], None] | None
) -> Iterator[list[Named]]:
    """The events with this key, kept late ones too, in lists of at most `AT_ONCE`."""
    records = Records(definitions.events, definitions.settings.money_places)
    keyed = KeyFinder(definitions, records)
    named: list[Named] = []
    for part in _all(log, progress):
        named += [(event.type, event.id) for event in part if keyed.has(event, entity, key)]
        while len(named) >= AT_ONCE:
            yield named[:AT_ONCE]
            del named[:AT_ONCE]
    if named:
        yield named


def _with_personal(log: Log, named: Sequence[Named]) -> list[Named]:
    """Those of these events beside which something lies."""
    there: list[Named] = []
    for type_ in dict.fromkeys(type_ for type_, _ in named):
        there += [(type_, id_) for id_ in log.personal(type_, [id_ for of, id_ in named if of == type_])]
    return there


def _all(log: Log, progress: Callable[[int], None] | None) -> Iterator[list[Record]]:
    for records in log.read():
        yield [record for record in records if record.kind == "event"]
        if progress is not None:
            progress(len(records))
    after = ("", "")
    while late := log.late_after(*after):
        after = (late[-1].type, late[-1].id)
        yield [_record(event) for event in late]


def _record(late: LateEvent) -> Record:
    return Record(0, "event", late.type, late.id, late.time_ms, late.body, decided=False)


def _mentioned(log: Log, text: str, key: Key) -> tuple[int, ...]:
    needles = {text.encode(), *(part.encode() for part in key if isinstance(part, str))} - {b""}
    return tuple(number for number, refused in log.refused_list() if any(needle in refused.raw for needle in needles))
