"""Personal data of one entity key: `shroff erase` deletes its values stored beside events, `person export` shows all.

No event, decision or receipt changes, since none of them contains these values.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import DefinitionError, UsageError, os_words
from shroff.events.event import time_text
from shroff.explain.key_events import KeyFinder
from shroff.features.key_texts import key_of, stored_key
from shroff.json_types import JsonObject
from shroff.log.history import Records, events_of
from shroff.operations.declaration import (
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    Record,
    group,
    operation,
)
from shroff.people.audit import Action
from shroff.runtime.state_folder import open_private
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.cases.project_cases import ProjectCases
from shroff.services.notices.files import SentLetters
from shroff.services.parts import ProjectPart
from shroff.services.project import Project
from shroff.services.quarantine.entries import refused_parts
from shroff.services.writer.requests import WriterRequests
from shroff.streams.log import LateEvent, Log
from shroff.streams.log import Record as LogRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from shroff.cases.case_erasure import WrittenNotes
    from shroff.features.naive import Key
    from shroff.project.definitions import Definitions

AT_ONCE = 1_000  # events in one request
Named = tuple[str, str]  # event type and id


class Erased(FrozenStruct):
    """Result of a search for a key: its events, including late ones, and how many had personal values.

    `quarantined` are quarantine entries whose bytes contain the key; people must check whether they are about it.
    `mails` counts mail files about these events, `letters` the letters whose recipients were erased, sent by a server
    or not. `written` are notes and attachments in cases about these events, which stay until a user erases them; `of`
    names the key in the audit log.
    """

    events: int
    erased: int
    quarantined: tuple[int, ...]
    mails: int = 0
    letters: int = 0
    written: WrittenNotes | None = None
    of: str = ""


class PrivacyErasure(ProjectPart):
    _cases: ProjectCases
    _letters: SentLetters
    _requests: WriterRequests

    def erase(
        self, entity: str, key: str, *, is_dry: bool = False, progress: Callable[[int], None] | None = None
    ) -> Erased:
        """Erase the personal values of all events with this key, mails about them, and the words of appeals.

        Args:
            key: The key as people write it; a hashed one in clear or as in the log; several parts as a JSON list.
            is_dry: Only count.

        Raises: UsageError for an unknown entity.

        Cost: one pass over the log, by all versions of the event types. Works while another process writes, and also
            if no field is declared personal.
        """
        from shroff.worker.inbox import ERASE

        self._requests.needs_log("so nothing lies beside one")
        events = erased = mails = letters = 0
        names: list[str] = []
        of = self.pseudonym(entity, key)
        with self._log.reading() as log:
            sought = _sought(log, self._definitions, self._log.hasher, entity, key)
            for named in _events_of(log, sought, progress):
                events += len(named)
                personal = _with_personal(log, named)
                erased += len(personal)
                if personal and not is_dry:
                    action = Action("personal.erase", of, None, {"events": len(personal)})
                    self._requests.ask(ERASE, to_json(personal), action)
                names += (f"{type_}/{id_}" for type_, id_ in named)
            mentioned = _mentioned(log, key, sought)
        if names:  # from here on, new mails find no address
            mails, letters = self._letters.forget(names, None if is_dry else of)
        return Erased(
            events, erased, mentioned, mails, letters, self._cases.written_about(names) if names else None, of
        )

    def pseudonym(self, entity: str, key: str) -> str:
        """Return a key's form in the audit log, which is never erased: its keyed hash, without the last characters."""
        return f"{entity} {':'.join(self._log.hasher(key).split(':')[:2])}"

    def all_of(self, entity: str, key: str, progress: Callable[[int], None] | None = None) -> list[JsonObject]:
        """Return each event with this key, with its personal fields, decision and labels. Raises, costs: as `erase`."""
        by_event = dict[str, JsonObject]()
        with self._log.reading() as log:
            sought = _sought(log, self._definitions, self._log.hasher, entity, key)
            for named in _events_of(log, sought, progress):
                for type_ in dict.fromkeys(type_ for type_, _ in named):
                    ids = [id_ for of, id_ in named if of == type_]
                    beside, decisions = log.personal.of(type_, ids), log.decisions.of(type_, ids)
                    late = {id_: _record(event) for id_, event in log.late.with_ids(type_, ids).items()}
                    for id_, event in {**log.find(type_, ids), **late}.items():
                        decision = decisions.get(id_)
                        by_event[f"{type_}/{id_}"] = {
                            "event": f"{type_}/{id_}",
                            "time": time_text(event.time_ms),
                            "fields": from_json(event.body) | beside.get(id_, {}),
                            "decision": None if decision is None else msgspec.Raw(decision.document),
                            "labels": [],
                        }
            for records in log.labels_after():
                for record in records:
                    label = from_json(record.body)
                    if about := by_event.get(label["event"]):
                        about["labels"].append(label)
        return list(by_event.values())


class _Sought(NamedTuple):
    """A key in one version of the event types."""

    keyed: KeyFinder
    entity: str
    key: Key


_SoughtByType = dict[str, dict[str, _Sought]]  # by event type, then by its fields and the parts of the key


def _sought(log: Log, definitions: Definitions, hasher: Callable[[str], str], entity: str, text: str) -> _SoughtByType:
    """Parse a key by the event types of today and of every version in the log. Raises: UsageError."""
    places, by_type = definitions.settings.money_places, _SoughtByType()
    for events in (definitions.events, *events_of(log, places)):
        with suppress(UsageError):  # that version had other key parts, or no such entity
            key = stored_key(events, hasher, entity, key_of(events, entity, text))
            keyed = KeyFinder(replace(definitions, events=events), Records(events, places))
            for type_, parts in events.entities[entity].keys.items():
                version = repr((events.types[type_].fields, parts))
                by_type.setdefault(type_, {}).setdefault(version, _Sought(keyed, entity, key))
    if not by_type:
        key_of(definitions.events, entity, text)
    return by_type


def _events_of(log: Log, sought: _SoughtByType, progress: Callable[[int], None] | None) -> Iterator[list[Named]]:
    """Yield the events with this key, late ones too, at most `AT_ONCE` in a list."""
    named: list[Named] = []
    for part in _all(log, progress):
        named += [(event.type, event.id) for event in part if _has(event, sought.get(event.type, {}).values())]
        while len(named) >= AT_ONCE:
            yield named[:AT_ONCE]
            del named[:AT_ONCE]
    if named:
        yield named


def _has(record: LogRecord, sought: Collection[_Sought]) -> bool:
    """Return whether a record has the key in any version. Raises: DefinitionError if no version can read it."""
    unread: list[DefinitionError] = []
    for keyed, entity, key in sought:
        try:
            if keyed.has(record, entity, key):
                return True
        except DefinitionError as error:
            unread.append(error)
    if unread and len(unread) == len(sought):
        raise unread[0]
    return False


def _with_personal(log: Log, events: Sequence[Named]) -> list[Named]:
    named_personal: list[Named] = []
    for type_ in dict.fromkeys(type_ for type_, _ in events):
        named_personal += [(type_, id_) for id_ in log.personal.of(type_, [id_ for of, id_ in events if of == type_])]
    return named_personal


def _all(log: Log, progress: Callable[[int], None] | None) -> Iterator[list[LogRecord]]:
    for records in log.read():
        yield [record for record in records if record.kind == "event"]
        if progress is not None:
            progress(len(records))
    after = ("", "")
    while late := log.late.after(*after):
        after = (late[-1].type, late[-1].id)
        yield [_record(event) for event in late]


def _record(late: LateEvent) -> LogRecord:
    return LogRecord(0, "event", late.type, late.id, late.time_ms, late.body, decided=False)


def _mentioned(log: Log, text: str, wanted: _SoughtByType) -> tuple[int, ...]:
    parts = chain.from_iterable(sought.key for versions in wanted.values() for sought in versions.values())
    needles = {text.encode(), *(part.encode() for part in parts if isinstance(part, str))} - {b""}
    entries = chain.from_iterable(refused_parts(log))
    return tuple(number for number, refused in entries if any(needle in refused.raw for needle in needles))


# ---- the right of access


group(
    "person",
    """Stored data of one person.

    Examples:
        shroff person export user u-17 --out u-17.json
    """,
)


class ExportPerson(OperationRequest["PersonExport"]):
    """
    Args:
        entity: The entity.
        key: Its key; a hashed one in clear, one of several fields as a JSON list.
        out (FILE): The JSON file to write.
    """

    entity: str
    key: str
    out: Annotated[Path, Param(flags="--out", is_local=True)]


class PersonExport(OperationAnswer):
    """How much was written."""

    events: int
    decisions: int
    labels: int
    cases: int
    messages: int


@operation("person export", right="read:personal", audit="personal.export")
def export_person(project: Project, record: Record, progress: ProgressSteps, request: ExportPerson) -> PersonExport:
    """Export all that is stored about the person with one entity's KEY, for their right of access.

    The file has each event with its personal fields, decision and labels; cases about them, with notes; messages and
    questions. Other people's events in the same cases are left out. Notes may name others: read them before you hand
    the file over. `shroff erase` is the counterpart.

    Examples:
        shroff person export user u-17 --out u-17.json
    """
    from shroff.cases.case import WRITTEN
    from shroff.cases.case_erasure import numbers_about
    from shroff.services.cases.operations import ShowCase

    erasing = project.erasing
    events = erasing.all_of(request.entity, request.key, progress.counting("searching the log"))
    names = [event["event"] for event in events]
    record(erasing.pseudonym(request.entity, request.key), after={"events": len(events)})
    with project.cases.open() as desk, desk.store.look() as look:
        numbers = numbers_about(look, names)
    cases = [msgspec.to_builtins(project.run(ShowCase(number=number))) for number in numbers]
    with project.notice_files.told() as store, store.look() as told:
        letters, questions = told.letters_about(names), told.questions_about(names)
    messages = [
        {"notice": letter.notice, "to": letter.shown, "made": time_text(letter.made_ms), "state": letter.state}
        for letter in letters
    ]
    document = {
        "entity": request.entity,
        "key": request.key,
        "made": time_text(project.context.now_ms()),
        "events": events,
        "cases": [
            {name: case[name] for name in ("id", "state", "opened", "outcome", "files")}
            | {"notes": [line for line in case["history"] if line["what"] in WRITTEN and line["words"]]}
            | {"alerts": [alert for alert in case["alerts"] if alert["event"] in names]}
            for case in cases
        ],
        "messages": messages,
        "questions": [
            {
                "event": question.event,
                "asked": time_text(question.made_ms),
                "answer": question.answer or None,
                "words": question.words or None,
            }
            for question in questions
        ],
    }
    try:
        with open_private(request.out, "xb") as file:
            file.write(msgspec.json.format(to_json(document)) + b"\n")
    except OSError as error:
        raise UsageError(f"{os_words(error, request.out, ' cannot be written')}. Existing files are kept.") from None
    return PersonExport(
        events=len(events),
        decisions=sum(event["decision"] is not None for event in events),
        labels=sum(len(event["labels"]) for event in events),
        cases=len(cases),
        messages=len(messages),
    )
