"""Running a case through the project's own reading of files, its writer and the three engines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from shroff import config
from shroff.adapters.log.sqlite import SqliteLog
from shroff.engine.step import takes_effect
from shroff.events import hash_keys
from shroff.events.event import canonical_value
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Intake, Submission
from shroff.features.batch.engine import BatchEngine
from shroff.features.frames import frames_of
from shroff.features.key_texts import Hits
from shroff.features.naive import Naive
from shroff.language.columns import values_of
from shroff.language.values import key_text
from shroff.log.history import Control, Records
from shroff.log.state.fold import lateness_of
from shroff.log.writer import DECIDED, DUPLICATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Writer
from shroff.project.definitions import Definitions, computed_of
from shroff.services.context import ProjectContext
from shroff.services.project import Project
from shroff.services.project_files import checked
from shroff.streams.log import Log
from shroff.worker.file_order import with_labels
from shroff.worker.ingest import ingest
from tests.conformance.cases import CHANGE, Case, laid_over
from tests.support.log_memory import MemoryLog, MemoryStore

NOW_MS = 1_900_000_000_000  # after the events of all cases, which would come too early else
HASH_KEY = "5eed" * 16  # one for all runs of a case, whose decisions are compared byte for byte
ALL = 1_000_000


@dataclass
class Chunk:
    """Input between two changes of the project."""

    files: dict[str, str]
    lines: list[tuple[str, Any]] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of one entry of the input."""

    kind: str
    reason: str = ""
    document: dict[str, Any] | None = None
    rules: set[str] = field(default_factory=set)
    shadow_rules: set[str] = field(default_factory=set)
    flags: list[dict[str, Any]] = field(default_factory=list)
    seq: int = 0


@dataclass
class Run:
    """A whole run: an outcome for each entry of the input, and everything that was kept or said."""

    outcomes: list[Outcome]
    documents: list[bytes]
    stored: bytes
    by_definition: dict[int, dict[str, Any]] = field(default_factory=dict)
    by_batch: dict[int, dict[str, Any]] = field(default_factory=dict)


def stretches(case: Case) -> list[Chunk]:
    """The input cut at the changes of the project."""
    found = [Chunk(case.files())]
    for kind, fields in case.lines or ():
        if kind == CHANGE:
            found.append(Chunk(laid_over(found[-1].files, fields)))
        else:
            found[-1].lines.append((kind, fields))
    return found


def write_project(folder: Path, files: Mapping[str, str]) -> Project:
    """The files in a folder, as a person would have them there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [path for path in folder.rglob("*") if path.is_file() and ".shroff" not in path.parts]:
        path.unlink()
    places = config.ProjectPaths(folder)
    places.state.mkdir(exist_ok=True)
    places.hash_key.write_text(HASH_KEY, encoding="ascii")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Project(ProjectContext(places, lambda: NOW_MS))


def run_case(case: Case, folder: Path, batch_size: int) -> Run:
    """Take the input into a fresh log in batches of this size."""
    store, answers = MemoryStore(), list[Answer | None]()
    is_file = batch_size == 3  # one size on disk, the others in memory
    for number, stretch in enumerate(stretches(case)):
        project = write_project(folder, stretch.files)
        definitions = checked(project.context)
        with closing(SqliteLog(folder.parent / "log.db") if is_file else MemoryLog(store)) as log:
            writer = Writer(log, definitions, lambda: NOW_MS)
            if number:
                answers.append(None)
            taken: list[Answer] = []
            ingest(
                writer, submissions(case, stretch, project, folder.parent), batch_size=batch_size, on_batch=taken.extend
            )
            answers += [answer for answer in taken if not (case.file and case.file.get("labels") and answer.is_label)]
    with closing(SqliteLog(folder.parent / "log.db") if is_file else MemoryLog(store)) as log:
        documents = [row.document for rows in log.decisions.after() for row in rows]
        kept = repr(store).encode() + b"".join(path.read_bytes() for path in sorted(folder.parent.glob("log*")))
        said = msgspec.json.encode([answer.reason for answer in answers if answer is not None])
        return Run(outcomes(answers, log), documents, kept + said, by_definition(log, project), by_batch(log, project))


def submissions(case: Case, stretch: Chunk, project: Project, folder: Path) -> Iterator[Submission]:
    """What the project's reading makes of a stretch of input or of the case's file."""
    definitions = project.definitions
    intake = Intake(definitions.events, definitions.settings, hash_keys.hasher(project.context.paths))
    if case.file is None:
        path = folder / "input.jsonl"
        path.write_bytes(b"".join(msgspec.json.encode({kind: fields}) + b"\n" for kind, fields in stretch.lines))
        return intake.submissions(read_lines(path), path.name)
    path = folder / case.file["file"]
    write_file(path, case.file)
    events = intake.submissions(read_lines(path), path.name, case.file.get("as"))
    if not case.file.get("labels"):
        return events
    return with_labels(events, intake.submissions(read_lines(path), path.name, "label"))


def write_file(path: Path, found: Mapping[str, Any]) -> None:
    """The file of a case: its text, or a Parquet file of its columns and rows."""
    if "text" in found:
        path.write_text(found["text"], encoding="utf-8")
        return
    kinds = {"text": pa.string(), "float64": pa.float64(), "float32": pa.float32(), "integer": pa.int64()}
    schema = pa.schema([pa.field(name, kinds[kind]) for name, kind in found["columns"].items()])
    columns = [
        pa.array(column, kind.type) for column, kind in zip(zip(*found["rows"], strict=True), schema, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)


def outcomes(answers: Sequence[Answer | None], log: Log) -> list[Outcome]:
    """An outcome for each answer, with the hits and flags that the log has at its place."""
    rules: dict[int, set[str]] = defaultdict(set)
    shadow: dict[int, set[str]] = defaultdict(set)
    flags: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for hits in log.hits.after():
        for hit in hits:
            (shadow if hit.shadow else rules)[hit.seq].add(hit.rule)
    for rows in log.flags.after():
        for row in rows:
            named = {"entity": row.entity, "key": row.key, "rule": row.rule, "event": row.event}
            flags[row.seq].append({**named, "accuracy": row.accuracy, "reason": row.reason})
    found: list[Outcome] = []
    for answer in answers:
        if answer is None:
            found.append(Outcome("change"))
            continue
        document = None if answer.document is None else msgspec.json.decode(answer.document)
        at = answer.seq if answer.kind in {DECIDED, TAKEN} else 0
        found.append(Outcome(answer.kind, answer.reason, document, rules[at], shadow[at], flags[at], answer.seq))
    return found


def by_definition(log: Log, project: Project) -> dict[int, dict[str, Any]]:
    """What the naive engine gives at each place: features in JSON form, and the rules that hit, by its own hits."""
    found: dict[int, dict[str, Any]] = {}
    hits: dict[int, Hits] = {}
    versions = [(dict(files), place) for files, place in _versions(log)]
    for number, (files, start) in enumerate(versions):
        write_project(project.context.paths.folder, files)
        definitions = Project(ProjectContext(project.context.paths)).definitions
        end = versions[number + 1][1] if number + 1 < len(versions) else log.last_seq()
        naive = Naive(definitions.events, computed_of(definitions), definitions.reference)
        records = Records(definitions.events, definitions.settings.money_places)
        for batch in log.read(0, end):
            for record in batch:
                event = records.decode(record)
                if event is None:
                    continue
                if record.seq <= start:
                    naive.take(event, hits.get(record.seq, {}), is_asked=False)
                    continue
                values = naive.add(event)
                hit = [rule for rule in definitions.rules if values.get(rule.computed.name) is True]
                keys = hits[record.seq] = {rule.id: _text(naive.key(rule.by, event)) for rule in hit}
                effective = {rule.id for rule in hit if takes_effect(rule, keys[rule.id])}
                found[record.seq] = {
                    "features": _shown(values, definitions, event.type),
                    "rules": effective,
                    "shadow_rules": {rule.id for rule in hit} - effective,
                }
    return found


def by_batch(log: Log, project: Project) -> dict[int, dict[str, Any]]:
    """What the batch engine gives at each place: features in JSON form, and the rules that hit, but since a flag."""
    found: dict[int, dict[str, Any]] = {}
    versions = [(dict(files), place) for files, place in _versions(log)]
    for number, (files, start) in enumerate(versions):
        write_project(project.context.paths.folder, files)
        definitions = Project(ProjectContext(project.context.paths)).definitions
        end = versions[number + 1][1] if number + 1 < len(versions) else log.last_seq()
        late_ms = lateness_of(log, definitions)
        records = Records(definitions.events, definitions.settings.money_places)
        read = [(record.seq, records.decode(record)) for batch in log.read(0, end) for record in batch]
        events = [(seq, event) for seq, event in read if event is not None]
        with closing(
            BatchEngine(definitions.events, computed_of(definitions), definitions.reference, late_ms, threads=1)
        ) as engine:
            for at in range(0, len(events), 3):
                part = [event for _, event in events[at : at + 3]]
                engine.add(frames_of(part, definitions.events, definitions.reference), len(part))
            places = {
                name: iter([seq for seq, event in events if event.type == name]) for name in definitions.events.types
            }
            for frames in engine.answers(5):
                for name, frame in frames.items():
                    columns = {feature: values_of(column) for feature, column in frame.computed.items()}
                    for row in range(len(frame)):
                        values = {feature: listed[row] for feature, listed in columns.items()}
                        seq = next(places[name])
                        if seq > start:
                            hits = {
                                rule.id: values[rule.computed.name] is True
                                for rule in definitions.rules
                                if rule.computed.name in values
                            }
                            found[seq] = {"features": _shown(values, definitions, name), "hits": hits}
    return found


def _versions(log: Log) -> Iterator[tuple[dict[str, str], int]]:
    control = Control()
    for batch in log.read():
        for record in batch:
            if record.kind == "control":
                control.take(record)
                yield dict(control.files), record.seq


def _text(key: tuple[Any, ...] | None) -> str | None:
    return None if key is None else key_text(key[0] if len(key) == 1 else key)


def _shown(values: Mapping[str, Any], definitions: Definitions, event: str) -> dict[str, Any]:
    """Features as a decision's JSON shows them."""
    if event not in definitions.events.types:
        return {}
    places = definitions.settings.money_places
    texts = [
        f'"{name}":{canonical_value(values.get(name), definitions.features[name].type, places)}'
        for name in definitions.feature_names(event)
    ]
    shown: dict[str, Any] = msgspec.json.decode("{" + ",".join(texts) + "}")
    return shown


Compare = Callable[[Any, Outcome], bool]
TAKEN_KINDS = {DECIDED, TAKEN, "change"}


def mismatches(expected: Mapping[str, Any], found: Outcome) -> list[str]:
    """What of an expectation the outcome does not keep, in words."""
    wanted = TAKEN_KINDS
    for key, kind in (("quarantined", REFUSED), ("duplicate", DUPLICATE), ("waiting", WAITING), ("untaken", UNTAKEN)):
        if key in expected:
            wanted = {kind}
    wrong = [] if found.kind in wanted else [f"{found.kind} ({found.reason}), not {' or '.join(sorted(wanted))}"]
    for key, value in expected.items():
        wrong += [f"{key}: {words}" for words in _KEYS[key](value, found)]
    return wrong


def _features(expected: Mapping[str, Any], found: Outcome) -> list[str]:
    shown = (found.document or {}).get("features", {})
    return [
        f"{name} is {shown.get(name, 'not there')!r}, expected {value!r}"
        for name, value in expected.items()
        if name not in shown or not same(shown[name], value)
    ]


def same(found: Any, expected: Any) -> bool:
    """Equal as JSON values: numbers to the last bit, and true is no 1."""
    return isinstance(found, bool) == isinstance(expected, bool) and bool(found == expected)


def _ids(kind: str) -> Callable[[Any, Outcome], list[str]]:
    def compare(expected: Any, found: Outcome) -> list[str]:
        hit = getattr(found, kind)
        listed = (found.document or {kind: sorted(hit)})[kind]
        wrong = [] if hit == set(expected) else [f"found {sorted(hit)}, expected {sorted(expected)}"]
        return wrong + ([] if sorted(listed) == sorted(hit) else [f"the document has {listed}, the log {sorted(hit)}"])

    return compare


def _flags(expected: Sequence[Mapping[str, Any]], found: Outcome) -> list[str]:
    if len(expected) == len(found.flags) and all(
        any(wanted.items() <= flag.items() for flag in found.flags) for wanted in expected
    ):
        return []
    return [f"found {found.flags}, expected {list(expected)}"]


def _in_document(key: str) -> Callable[[Any, Outcome], list[str]]:
    def compare(expected: Any, found: Outcome) -> list[str]:
        shown = (found.document or {}).get(key, "no document")
        return [] if shown == expected else [f"found {shown!r}, expected {expected!r}"]

    return compare


def _decided(expected: bool, found: Outcome) -> list[str]:
    return [] if (found.kind == DECIDED) == expected else [f"it was {found.kind}"]


def _quarantined(expected: Sequence[str], found: Outcome) -> list[str]:
    said = found.reason.lower()
    return [f"{found.reason!r} does not say {words!r}" for words in expected if words.lower() not in said]


def _nothing(expected: bool, found: Outcome) -> list[str]:
    """The kind of the answer, which is compared for every entry."""
    return [] if expected is True else [f"it is {expected!r}; a case says true"]


_KEYS: dict[str, Callable[[Any, Outcome], list[str]]] = {
    "features": _features,
    "rules": _ids("rules"),
    "shadow_rules": _ids("shadow_rules"),
    "flags": _flags,
    "outcome": _in_document("outcome"),
    "score": _in_document("score"),
    "reasons": _in_document("reasons"),
    "decided": _decided,
    "quarantined": _quarantined,
    "duplicate": _nothing,
    "waiting": _nothing,
    "untaken": _nothing,
}
