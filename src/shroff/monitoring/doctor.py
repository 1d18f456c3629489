"""Checks of `doctor`: each with its state and its fix."""

from __future__ import annotations

import os
import platform
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from importlib import metadata
from pathlib import Path

from msgspec import Struct, field

from shroff.config import ProjectPaths
from shroff.engine.exploration import LET_THROUGH, Days, LetThrough
from shroff.errors import DefinitionError, Problem, ShroffError, StateError, covered, os_words, rights
from shroff.events.event import time_text
from shroff.events.hash_keys import read_key
from shroff.events.validation import latest_ms
from shroff.language.values import DAY_MS, HOUR_MS, show_duration
from shroff.log.active_files import NOW, RESTART, FileDifference, names_of
from shroff.log.history import waiting_row
from shroff.log.lateness import Holder, watermark_holder, watermark_problem
from shroff.log.later_labels import CORRECT, LaterLabels, now_of
from shroff.log.state.snapshots import EVERY
from shroff.log.unmatched_files import unmatched_of
from shroff.models.registry import Registry
from shroff.monitoring.doctor_clock import ClockSteps, clock_words
from shroff.monitoring.doctor_remarks import remark_words
from shroff.monitoring.doctor_rows import WITHIN_S, log_damage, read_rows, table_damage
from shroff.project.definitions import Definitions
from shroff.project.scoring import redefined_words
from shroff.project.settings.system import System
from shroff.rules.definitions import expiring
from shroff.runtime.atomic_files import UNFINISHED_S, unfinished_files
from shroff.runtime.texts import Printed, bytes_text, many, one_line, table
from shroff.runtime.values import FrozenStruct, frozen
from shroff.streams.log import InboxRequest, Log, LogReader, Remark
from shroff.streams.snapshots import Header, Snapshots
from shroff.worker.outbox import OF_NOTICE, ONLINE, sink_states

OK = "ok"
NOTE = "note"
WRONG = "wrong"
FREE_BYTES_MIN = 256 * 1024 * 1024  # below this a day's events of a small bank may not fit
UNFINISHED_SHOWN = 3  # names in a line
LABEL_WAITS_MS = HOUR_MS  # after its arrival a label's missing event is reported
RESTORE_ROWS = (
    "Stop the service or worker, copy the log away, and restore the last backup; then ingest the sources again."
)
LOG_GONE = "it is not there, but snapshots of it are: somebody removed it"
UNUSABLE = "Until then nothing can be read or written."
UNREAD = "Until then not all of it can be read."
_TRAINED = "'shroff train' removes those older than a day; you can"
LIBRARIES = ("shroff", "numpy", "numba", "pyarrow", "msgspec")


@frozen
class Finding:
    """One check. `state` is ok, note or wrong; `cure` is the remedy."""

    subject: str
    state: str
    words: str
    cure: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", covered(self.words))


class Findings(Printed, list[Finding]):
    """All checks; `repr` is the output of `shroff doctor`."""

    def of(self, state: str) -> list[Finding]:
        return [finding for finding in self if finding.state == state]

    def __repr__(self) -> str:
        wrong = self.of(WRONG)
        rows = [
            (finding.state.upper() if finding.state == WRONG else finding.state, finding.subject, finding.words)
            for finding in self
        ]
        cures = [finding for finding in (*wrong, *self.of(NOTE)) if finding.cure]
        parts = [
            table(rows, indent=""),
            *(f"{cure.subject}: {one_line(cure.words)}\n  {one_line(cure.cure)}" for cure in cures),
        ]
        end = many(len(wrong), "thing is wrong.", "things are wrong.") if wrong else "Nothing is wrong."
        return "\n\n".join([*parts, end])


class ExaminedProject(FrozenStruct):
    """The project as `doctor` examines it.

    Args:
        away: Why the log cannot be opened.
        unapplied: Returns changes of its files that are not active.
        lost_key: Message and remedy if the hash key is lost; else empty.
    """

    places: ProjectPaths
    definitions: Definitions | None
    errors: tuple[Problem, ...]
    has_log: bool
    away: str
    reading: Callable[[], AbstractContextManager[Log]]
    now_ms: int
    sinks: Mapping[str, System]
    unapplied: Callable[[Log], Sequence[FileDifference]]
    lost_key: Sequence[str]


def look(project: ExaminedProject, seen: EarlierFindings) -> list[Finding]:
    """Run all checks; what cannot be read is a finding too. `seen` caches results of earlier runs."""
    places, definitions, now_ms = project.places, project.definitions, project.now_ms
    findings: list[Finding] = []
    if definitions is not None or project.errors:
        findings += look_at_project(places.folder, definitions, project.errors)
    findings.append(look_at_versions())
    findings += told("folder", lambda: [look_at_folder("folder", places.state)])
    findings += told("hash key", lambda: look_at_key(places.hash_key, definitions, project.lost_key))
    if definitions is not None:
        findings += told("models", lambda: look_at_models(definitions, Registry(places.models)))
    findings += told("litter", lambda: look_at_unfinished(places, now_ms))
    if project.away:
        return [*findings, Finding("log", WRONG, project.away, UNUSABLE)]
    if not project.has_log and Snapshots(places.snapshots).files():
        return [*findings, Finding("log", WRONG, LOG_GONE, RESTORE_ROWS)]
    if not project.has_log:
        return [*findings, Finding("log", OK, "not created yet; the first 'shroff ingest' creates it")]

    def looks() -> Iterator[Finding]:
        with project.reading() as log:
            yield from told("rows", lambda: [look_at_rows(log, now_ms)], UNREAD)
            yield from told(
                "rows", lambda: [Finding("rows", WRONG, damage_text) for damage_text in log_damage(log, now_ms)], UNREAD
            )
            damaged_tables = partial(table_damage, places.tables, log, now_ms)
            yield from told(
                "tables", lambda: [Finding("tables", WRONG, *damage) for damage in damaged_tables()], UNREAD
            )
            yield from told("log", lambda: look_at_log(log, definitions, now_ms, seen), UNREAD)
            if definitions is not None and not project.errors:
                yield look_at_active(project.unapplied, log)
            yield from look_at_sinks(log, project.sinks)
            yield look_at_snapshots(Snapshots(places.snapshots), log.last_seq(), now_ms, seen)

    return [*findings, *told("log", looks, UNUSABLE)]


def told(subject: str, look: Callable[[], Iterable[Finding]], cure: str = "") -> Iterator[Finding]:
    """Yield the findings of a check; an error that stops it is a finding, too."""
    try:
        yield from look()
    except (ShroffError, OSError) as error:
        yield Finding(subject, WRONG, os_words(error), cure)


def look_at_project(folder: Path, definitions: Definitions | None, errors: tuple[Problem, ...]) -> Iterator[Finding]:
    if definitions is None or errors:
        message = f"{folder / 'shroff.yaml'}; {many(len(errors), 'mistake')} in its files"
        yield Finding("project", WRONG, message, "Run 'shroff check' to see each with file and line.")
        return
    counts = f"{many(len(definitions.features), 'feature')}, {many(len(definitions.rules), 'rule')}"
    yield Finding("project", OK, f"{folder / 'shroff.yaml'}: {definitions.settings.name}, {counts}")


def look_at_unfinished(places: ProjectPaths, now_ms: int) -> Iterator[Finding]:
    """Report files of the project or a model that killed processes left unfinished."""
    files = [path for folder in (places.folder, *places.folder.glob("*/")) for path in unfinished_files(folder)]
    files = [path for path in files if now_ms / 1_000 - path.stat().st_mtime > UNFINISHED_S]
    for what, left, where, folder, cure in (
        ("unfinished file", files, "", places.folder, "command that changes the same file removes it; you can"),
        ("unfinished model", Registry(places.models).unfinished(now_ms / 1_000), " in models", places.models, _TRAINED),
    ):
        if left:
            named = ", ".join(str(path.relative_to(folder)) for path in left[:UNFINISHED_SHOWN])
            message = f"{many(len(left), what)} of killed processes{where}: {named}"
            yield Finding("litter", NOTE, message, f"The next {cure} also delete {'them' if where else 'it'}.")


def look_at_versions() -> Finding:
    message = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return Finding("versions", OK, f"{message}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")


def look_at_folder(subject: str, folder: Path) -> Finding:
    """Check that a folder, or its nearest existing parent, is writable, and how much space it has."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            subject, WRONG, f"{existing} cannot be written", f"Give user {os.getuid()} write permission there."
        )
    for path in (*folder.glob("*"), *folder.glob("snapshots/*")):
        if not os.access(path, os.R_OK if path.name == "hash.key" else os.R_OK | os.W_OK) and path.exists():
            return Finding(subject, WRONG, f"{path} cannot be opened by this user", f"{rights(path)}.")
    disk = os.statvfs(existing)
    free, has_files = (
        disk.f_bavail * disk.f_frsize,
        not disk.f_files or disk.f_favail > 0,
    )  # no count: as many as wanted
    if free < FREE_BYTES_MIN or not has_files:
        message = f"{folder}: {bytes_text(free)} free on its disk{'' if has_files else ', but no inode'}"
        cure = "Free disk space before the log fills it." if has_files else "Delete files: none can be made any more."
        return Finding(subject, WRONG, message, cure)
    return Finding(subject, OK, f"{folder} can be written; {bytes_text(free)} free")


def look_at_key(path: Path, definitions: Definitions | None, lost: Sequence[str]) -> Iterator[Finding]:
    """Check the key of hashed fields, links and the audit log's seal: present if needed, and readable by its owner
    only.

    Raises: StorageError if it is not a valid key.
    """
    types = definitions.events.types.values() if definitions is not None else ()
    is_hashed = any(field.shape.is_hashed for type_ in types for field in type_.fields)
    message = "will be created when the first value is hashed"
    if lost:
        yield Finding("hash key", WRONG, *lost)
        return
    if os.path.lexists(path):
        read_key(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding("hash key", WRONG, f"{path} can be read by others", f"chmod 600 {path}")
            return
        message = f"{path}, readable by its owner only; keep a copy in a safe place"
    if is_hashed:
        yield Finding("hash key", OK, message)


def look_at_models(definitions: Definitions, registry: Registry) -> Iterator[Finding]:
    scorers = [scorer for scoring in definitions.scoring.values() for scorer in scoring.all]
    changed = [redefined_words(scorer) for scorer in scorers if scorer.redefined]
    cure = "Declare it as it was, or train a new model: 'shroff train', 'shroff models promote'."
    yield from (Finding("models", NOTE, words, cure) for words in changed)
    unused = definitions.unused_scores().values()
    yield from (Finding("models", NOTE, problem.message.rstrip("."), problem.hint) for problem in unused)
    damaged: list[str] = []
    for scorer in scorers:
        with suppress(ShroffError):  # a model that cannot be loaded is reported as an error of the project
            damaged += registry.read(scorer.id, scorer.digest).damaged.values()
    cure = "Restore it from a backup or from version control. Decisions continue: no score uses it."
    yield from (Finding("models", WRONG, words.rstrip("."), cure) for words in damaged)
    if scorers and not changed and not unused and not damaged:
        words = f"{many(len(scorers), 'model')} active; the definitions of their inputs have not changed"
        yield Finding("models", OK, words)


def look_at_log(log: Log, definitions: Definitions | None, now_ms: int, seen: EarlierFindings) -> Iterator[Finding]:
    """Check the log: whether it answers, its size, what is pending in it, and its clock and watermark."""
    yield Finding("log", OK, f"{log.place} answers: {many(log.last_seq(), 'record')}, {bytes_text(log.size_bytes())}")
    pruned = log.pruned_to()
    if pruned:
        ((first,),) = log.read(pruned, pruned + 1)
        words = (
            f"records up to sequence number {pruned:,} are in the lake, "
            f"{many(log.last_seq() - pruned, 'record')} in the store"
        )
        yield Finding("kept", OK, f"{words}, since {time_text(first.time_ms)}")
    yield look_at_clock(log, now_ms, seen)
    counts = log.counts()
    if counts.refused:
        cure = "'shroff quarantine list' shows why. Fix the project or the input, then run 'shroff quarantine retry'."
        yield Finding("quarantine", NOTE, f"{counts.refused:,} refused", cure)
    else:
        yield Finding("quarantine", OK, "empty")
    for name, over in unmatched_of(log).items():
        words = f"{name}: no event type accepts any of its {many(over.lines, 'line')} ({time_text(over.at_ms)})"
        cure = "Correct 'when' in events.yaml and ingest it again. If such files are expected, set 'untaken: skip'."
        yield Finding("input", WRONG, words, cure)
    yield look_at_waiting(log, counts.waiting, now_ms)
    later = seen.labels.follow(log, now_of(log, now_ms))
    if later.count:
        yield Finding("labels", NOTE, later.words, CORRECT)
    yield look_at_inbox(log.inbox.pending(limit=2**31), now_ms)
    yield from look_at_remarks(log.remarks())
    if counts.outbox:
        cure = "'shroff serve' and 'shroff run' send them while they run; 'shroff notices letters' shows sent messages."
        yield Finding("outbox", NOTE, f"{many(counts.outbox, 'notice')} not sent yet", cure)
    else:
        yield Finding("outbox", OK, "empty")
    if definitions is not None:
        yield from (*_watermark(log, definitions, now_ms, seen), *look_at_exploration(log, definitions, now_ms))
        for words in expiring(definitions.rules, now_ms):
            yield Finding("rules", NOTE, words, "Set a later day in expires, or remove it or the rule.")


def look_at_waiting(log: Log, count: int, now_ms: int) -> Finding:
    """Report labels without their event: an hour after the label arrived the event counts as missing."""
    if not count:
        return Finding("labels", OK, "none is unmatched")
    pending = [waiting_row(label) for label in log.waiting.all()]
    lost = sum(scorer.arrived_ms <= now_ms - LABEL_WAITS_MS for scorer in pending)
    message = f"{count:,} {'has' if count == 1 else 'have'} no matching event yet"
    if typed := [label.as_typed for label in pending if label.as_typed]:
        message += f" ({len(typed):,} by an id such as {one_line(typed[0])!r}: no such event type is declared)"
    cure = "They match when their event arrives. Are those events in another file? 'shroff label --pending' lists them."
    if not lost:
        return Finding("labels", NOTE, message, cure)
    return Finding("labels", WRONG, f"{message}, {lost:,} of them for more than an hour", cure)


def look_at_rows(log: Log, seed: int, within_s: float = WITHIN_S) -> Finding:
    """Check rows against their checksums: the newest, and as many others as can be read in a second."""
    rows = read_rows(log, seed, within_s)
    if rows.damage:
        return Finding("rows", WRONG, rows.damage, RESTORE_ROWS)
    message = f"{rows.read:,} of {many(rows.of, 'record')} checked; checksums and receipts are valid"
    return Finding("rows", OK, message)


def look_at_sinks(log: Log, sinks: Mapping[str, System]) -> Iterator[Finding]:
    for sink_state in sink_states(log, sinks):
        subject = _subject(sink_state.name)
        if sink_state.trouble is not None:
            message = f"has been failing since {time_text(sink_state.trouble.since_ms)}: {sink_state.trouble.words}"
            cure = "'shroff serve' and 'shroff run' retry. If none runs, run 'shroff outbox deliver'."
            yield Finding(subject, WRONG, f"{message}; {many(sink_state.lag, 'record')} behind", cure)
        elif sink_state.stuck:
            cure = "'shroff outbox list' shows why. Fix the sink, then run 'shroff outbox retry'."
            yield Finding(subject, WRONG, f"{many(sink_state.stuck, 'row')} that it refused", cure)
        elif sink_state.name.startswith(OF_NOTICE):
            continue  # `mail` reports how many are pending
        elif sink_state.lag:
            cure = "'serve' and 'run' deliver while they run; where none runs, 'shroff outbox deliver' delivers once."
            yield Finding(subject, NOTE, f"{many(sink_state.lag, 'record')} behind", cure)
        else:
            yield Finding(subject, OK, "has everything")


def _subject(route: str) -> str:
    if route == ONLINE:
        return "online"
    return route if route.startswith(OF_NOTICE) else f"sink {route}"


def look_at_inbox(requests: Sequence[InboxRequest], now_ms: int) -> Finding:
    """Report requests of other processes that no writer has run yet."""
    if not requests:
        return Finding("inbox", OK, "no request waits for the active writer")
    kinds = ", ".join(f"{kind}: {count:,}" for kind, count in Counter(request.kind for request in requests).items())
    age = show_duration(max(now_ms - requests[0].at_ms, 0) // 1_000 * 1_000)
    message = f"{many(len(requests), 'request')} ({kinds}) waiting for the active writer; the oldest is {age} old"
    cure = (
        "The active writer runs them between two batches. Without one, the next 'shroff ingest', 'decide' or 'label' "
        "runs them. Do not repeat them."
    )
    return Finding("inbox", NOTE, message, cure)


def look_at_remarks(remarks: Sequence[Remark]) -> Iterator[Finding]:
    if not remarks:
        yield Finding("values", OK, "no sum or value was too large")
    for words, cure in remark_words(remarks):
        yield Finding("values", NOTE, words, cure)


def look_at_exploration(log: LogReader, definitions: Definitions, now_ms: int) -> Iterator[Finding]:
    exploring = {event: policy.explore for event, policy in definitions.policies.items() if policy.explore is not None}
    days = _days_of(log) if exploring else {}
    for event, explore in exploring.items():
        mine = {day: count for (name, day), count in days.items() if name == event}
        full = sum(count >= explore.at_most_a_day for count in mine.values())
        message = (
            f"{event}: {sum(mine.values()):,} of the score's declines explored (approved) on {many(len(mine), 'day')}"
        )
        message += f", at most {explore.at_most_a_day:,} a day" + (f", reached on {many(full, 'day')}" if full else "")
        last = time_text(explore.expires_ms - DAY_MS)[:10]
        if explore.expires_ms <= now_ms:
            cure = "Set a later day in expires, or remove explore from policy.yaml."
            yield Finding("exploration", NOTE, f"{message}; it ended on {last}", cure)
        else:
            yield Finding("exploration", OK, f"{message}; until {last}. 'shroff backtest' shows what they cost")


def _days_of(log: LogReader) -> Days:
    """Return the number of explored events by type and day. Cost: a pass over the log's hits."""
    explored = LetThrough()
    for hits in log.hits.after():
        for record in log.records_at([hit.seq for hit in hits if hit.rule == LET_THROUGH]).values():
            explored.note(record.type, record.time_ms, {LET_THROUGH: None})
    return explored.days


def look_at_snapshots(snapshots: Snapshots, last_seq: int, now_ms: int, seen: EarlierFindings) -> Finding:
    files = snapshots.files()
    if not files:
        message = f"none; the next start reads the whole log, {many(last_seq, 'record')}"
        return Finding("snapshots", OK, f"{message}. 'shroff snapshot' saves state" if last_seq > EVERY else message)
    name = files[0].name
    try:
        header, checked_ms = seen.checked(snapshots, files[0], now_ms)
    except (StateError, OSError) as error:
        cure = "The next start removes it, and uses an older one or reads the whole log."
        return Finding("snapshots", NOTE, f"{name} cannot be used: {error}", cure)
    if header is None:
        return Finding(
            "snapshots", NOTE, f"{name} is written by another version of shroff", "The next start ignores it."
        )
    if header.seq > last_seq:
        message = (
            f"{name} was made at sequence number {header.seq:,}, and the log ends at {last_seq:,}: records are missing"
        )
        cure = "Restore the last backup, then ingest the sources again. If you put an older log back, the next start"
        return Finding("snapshots", WRONG, message, f"{cure} removes the snapshot.")
    size = files[0].stat().st_size
    age = f"{many(last_seq - header.seq, 'record')} old, {bytes_text(size)}"
    if header.keys:
        age += f", {bytes_text(size // header.keys)} for each of {many(header.keys, 'key')}"
    whole = "is intact" if checked_ms == now_ms else f"was intact at {time_text(checked_ms)}, when it was read"
    return Finding("snapshots", OK, f"{name} {whole}: state at sequence number {header.seq:,}, {age}")


def _watermark(log: Log, definitions: Definitions, now_ms: int, earlier: EarlierFindings) -> Iterator[Finding]:
    watermark_ms, until_ms = log.watermark_ms(), latest_ms(definitions.settings, now_ms)
    if watermark_ms is not None and watermark_ms > until_ms:
        if earlier.holder[0] != watermark_ms:
            earlier.holder = watermark_ms, watermark_holder(log, definitions, until_ms)
        yield Finding("watermark", WRONG, *watermark_problem(watermark_ms, earlier.holder[1]))


def look_at_clock(log: Log, now_ms: int, seen: EarlierFindings) -> Finding:
    is_wrong, message, cure = clock_words(log, now_ms, seen.clock)
    state = NOTE if cure else OK
    return Finding("clock", WRONG if is_wrong else state, message, cure)


def look_at_active(unapplied: Callable[[Log], Sequence[FileDifference]], log: Log) -> Finding:
    try:
        differences = unapplied(log)
    except DefinitionError as error:
        message = f"the files have {many(len(error.problems), 'mistake')} and cannot become active"
        return Finding("active version", WRONG, message, "Run 'shroff check' to see each with file and line.")
    if not differences:
        return Finding("active version", OK, "the project's files")
    now, later = names_of(differences, NOW), names_of(differences, RESTART)
    cures = ["'shroff apply' makes them active, also while 'shroff serve' or 'shroff run' runs."] if now else []
    if later:
        cures.append(f"Restart 'shroff serve' or 'shroff run' for {', '.join(later)}.")
    message = f"{many(len(differences), 'change')} in files only: {', '.join([*now, *later])}"
    return Finding("active version", WRONG, message, " ".join(cures))


CHECKED_MS = HOUR_MS  # after this a snapshot is read again, since disks fail silently


class EarlierFindings(Struct):
    """Cache of earlier checks in this process, so that unchanged data is not read again. For one check at a time.

    Without it a program that checks each minute would read all labels and the whole newest snapshot each time.
    """

    clock: ClockSteps = field(default_factory=ClockSteps)
    labels: LaterLabels = field(default_factory=LaterLabels)
    holder: tuple[int | None, Holder | None] = (None, None)  # a watermark beyond the clock, and what holds it
    _checked: tuple[Hashable, Header | None, int] | None = None

    def checked(self, snapshots: Snapshots, path: Path, now_ms: int) -> tuple[Header | None, int]:
        """Return the header of a snapshot, as `Snapshots.check`, and when its bytes were read: now, or within an hour.

        A snapshot is written once, under another name; so a file with the same size and times is unchanged.
        Raises: as `Snapshots.check`, each time.
        """
        stat = path.stat()
        file = path, stat.st_ino, stat.st_size, stat.st_mtime_ns
        if self._checked is not None:
            known_file, header, at_ms = self._checked
            if known_file == file and at_ms <= now_ms < at_ms + CHECKED_MS:
                return header, at_ms
        self._checked = None
        header = snapshots.check(path)
        self._checked = file, header, now_ms
        return header, now_ms
