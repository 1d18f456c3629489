"""What a log must hold after a fault, looked at from outside: nothing lost, nothing twice, nothing otherwise.

What was sent is known, line by line, and where each stood. What should have come of it says a second project that
nobody disturbs: its `Twin` takes the records of the log in their recorded order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final

import msgspec

from shroff.events.formats.encodings import read_stream
from shroff.notices.sql import NoticeStore
from shroff.services import project as app
from shroff.streams.log import Log, Record
from tests.support.log_memory_parts import quarantined

from .faults_input import Line, as_line, name_of
from .harness import Contents, contents_of, is_told, keys_told, told_key

COMPARED: Final = ("records", "decisions", "hits", "flags", "outbox")
Delivery = tuple[str, str, bytes]  # source, place, bytes: as quarantine knows it


@dataclass(slots=True)
class Sent:
    """What a sender sent: the lines that must be settled, each place at which bytes stood, and what was answered."""

    lines: dict[int, Line] = field(default_factory=dict)
    deliveries: set[Delivery] = field(default_factory=set)
    decided: dict[str, bytes] = field(default_factory=dict)  # the decision that was answered, by the payment's id
    refused: set[Delivery] = field(default_factory=set)  # deliveries that were answered by a refusal
    contradicted: list[str] = field(default_factory=list)

    def answered(self, line: Line, delivery: Delivery, answer: bytes) -> None:
        """Note what a line was answered with."""
        document = msgspec.json.decode(answer)
        if "outcome" in document:
            known = self.decided.setdefault(line.id, answer)
            if known != answer:
                self.contradicted.append(f"{line.id} was answered with {_shown(known)}, then with {_shown(answer)}")
        elif "status" in document:
            self.refused.add(delivery)


@dataclass(slots=True)
class Found:
    """What is not as it must be, one line each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # ended otherwise than it should, or not at all

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.changed or self.wrong)

    def __str__(self) -> str:
        parts = {"lost": self.lost, "doubled": self.doubled, "changed": self.changed, "wrong": self.wrong}
        return "\n".join(f"{name}: {words}" for name, all_ in parts.items() for words in all_[:5])


class Twin:
    """A project that nobody disturbs. It takes what a log recorded, in its order, and says what must come of it."""

    def __init__(self, folder: Path) -> None:
        """`folder` has the same definitions, and no log yet."""
        self._project = app.open(folder)
        self._open = ExitStack()
        self._writer, self._log = self._open.enter_context(self._project.log.writing())
        self._intake = self._project.taking.intake(keeps_hashes=False)
        self._seq = 0

    def follow(self, records: Iterable[Record]) -> Contents:
        """Take what came behind the records of the last time; gives all that it has."""
        new = [as_line(record) for record in records if record.seq > self._seq and record.kind != "control"]
        if new:
            lines = read_stream(BytesIO(b"".join(new)), "jsonl")
            self._writer.write(list(self._intake.submissions(lines, "twin", None)))
        self._seq = self._log.last_seq()
        return contents_of(self._log)

    def close(self) -> None:
        self._open.close()


def look(log: Log, notices: NoticeStore, sent: Sent, twin: Twin) -> Found:
    """Hold a log against what was sent, what was answered, and its twin. Everything must be settled."""
    found = Found()
    records = [record for batch in log.read() for record in batch]
    has = contents_of(log)
    _each_line_once(log, records, sent, found)
    _as_answered(log, sent, found)
    for part in COMPARED:
        doubled = [row for row, count in Counter(map(_hashable, has[part])).items() if count > 1]
        found.doubled += [f"{part}: {row}" for row in doubled]
    _compare(has, twin.follow(records), notices, found)
    return found


def _each_line_once(log: Log, records: Collection[Record], sent: Sent, found: Found) -> None:
    """Every line is one record, or one entry in quarantine, or a label that waits."""
    names = Counter(name_of(record) for record in records if record.kind != "control")
    ids = Counter((record.type, record.id) for record in records)
    by_bytes = {line.raw: line.name for line in sent.lines.values()}
    waiting = Counter(by_bytes.get(record.raw, "a label that nobody sent") for record in log.waiting.all())
    refused = Counter((entry.source, entry.place, entry.raw) for _, entry in quarantined(log))
    in_quarantine = {raw for _, _, raw in refused}
    decided = Counter(row.id for rows in log.decisions.after() for row in rows)
    for line in sent.lines.values():
        places = names[line.name] + waiting[line.name] if line.name else 0
        if not places and line.raw not in in_quarantine:
            found.lost.append(f"line {line.number} is nowhere: {_shown(line.raw)}")
        if places and line.raw in in_quarantine:
            found.doubled.append(f"line {line.number} was taken and quarantined: {_shown(line.raw)}")
        if line.kind == "payment" and names[line.name] and not decided[line.id]:
            found.lost.append(f"line {line.number} has no decision: {_shown(line.raw)}")
    expected = {line.name for line in sent.lines.values()}
    _twice(found, "taken", names + waiting)
    _twice(found, "an id of", ids)
    _twice(found, "decided", decided)
    _twice(found, "quarantined", refused)
    found.changed += [f"in the log and not sent: {name[:200]}" for name in names + waiting if name not in expected]
    found.changed += [f"quarantined and not sent: {entry}" for entry in refused if entry not in sent.deliveries]


def _as_answered(log: Log, sent: Sent, found: Found) -> None:
    """What a sender was told is there, byte for byte."""
    stored = log.decisions.of("payment", list(sent.decided))
    for id_, document in sent.decided.items():
        if id_ not in stored:
            found.lost.append(f"{id_} was answered with a decision, and has none")
        elif stored[id_].document != document:
            found.changed.append(f"{id_} was answered with {_shown(document)} and has {_shown(stored[id_].document)}")
    found.changed += sent.contradicted
    refused = {(entry.source, entry.place, entry.raw) for _, entry in quarantined(log)}
    found.lost += [f"refused and not in quarantine: {entry}" for entry in sent.refused - refused]


def _compare(has: Contents, must: Contents, notices: NoticeStore, found: Found) -> None:
    """What the log has and what its twin has, in the parts that effects are of."""
    for part in COMPARED:
        # A control event also says where it was told; what it puts in force shows in every receipt.
        kept = ([row for row in item[part] if part != "records" or row[1] != "control"] for item in (has, must))
        ours, theirs = (Counter(map(_hashable, rows)) for rows in kept)
        more, less = ours - theirs, theirs - ours
        if part == "outbox":  # a worker tells news beside its work: what the store of notices took is there no more
            taken = {row for row in less if is_told(row, notices)}
            less = Counter({row: count for row, count in less.items() if row not in taken})
            known = {told_key(row) for row in must[part]}
            told = keys_told(notices) if taken else []
            found.doubled += [f"told, and not undisturbed: {key}" for key in told if key not in known]
        if part in {"records", "decisions"} or (more and less):
            found.changed += [f"{part}: {row}, undisturbed {other}" for row, other in _pairs(more, less)]
        else:
            found.doubled += [f"{part}, more than undisturbed: {row}" for row in more]
            found.lost += [f"{part}, less than undisturbed: {row}" for row in less]


def _pairs(more: Mapping[Hashable, int], less: Mapping[Hashable, int]) -> list[tuple[object, object]]:
    ours, theirs = sorted(more, key=repr), sorted(less, key=repr)
    longest = max(len(ours), len(theirs))
    return list(zip(ours + [None] * (longest - len(ours)), theirs + [None] * (longest - len(theirs)), strict=True))


def _twice(found: Found, what: str, counts: Mapping[Hashable, int]) -> None:
    found.doubled += [f"{what} {count} times: {name!s:.200}" for name, count in counts.items() if count > 1]


def _hashable(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(str(item) if isinstance(item, list | dict) else item for item in row)


def _shown(raw: bytes) -> str:
    return raw[:160].decode("utf-8", "replace").strip()


def verified(project: app.Project, found: Found, engines: Collection[str], sample: int | None = None) -> None:
    """Have the log computed again; what does not come out as recorded is changed."""
    report = project.verify(list(engines), sample)
    if report.mismatches:
        found.changed.append(f"verify: {report.mismatches} mismatches, the first {report.first_mismatch}")
