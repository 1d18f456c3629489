"""The law of the lake: whatever stops its writers, and whoever writes beside them, it has each row of the log once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from random import Random
from threading import local
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.errors import StateError
from shroff.events.event import canonical_value
from shroff.lake import columns as lake_columns
from shroff.lake import files as lake_files
from shroff.lake import reader as lake_reader
from shroff.lake.check import check
from shroff.lake.columns import body_columns
from shroff.lake.files import opened
from shroff.lake.reader import LakeReader
from shroff.lake.rows import field_columns
from shroff.lake.writer import STEPS, LakeWriter
from shroff.language.types import Type
from shroff.log.history import Records
from shroff.log.writer import Writer
from shroff.replay.compare import segments
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import DocumentFolder, LakeState, Layout, read_state
from shroff.streams.log import Log
from tests.laws.projects import histories, history_of, project, versions
from tests.laws.test_engines import NOW_MS, QUICK, Made, Version, in_disorder, submission, written_by
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.objects import FaultyObjects, MemoryObjects

DOCUMENTS = {
    "transaction": DocumentFolder("a"),
    "decided": DocumentFolder("decisions", lines=3),
    "confirmation": DocumentFolder("labels", sources=("chargeback", "customer")),
    "flagged": DocumentFolder("flags"),
}
LAKE = settings(QUICK, max_examples=examples(30, usual=3))  # each example writes some lakes
BOTH = Layout(parquet=True, documents=DOCUMENTS)


class KilledError(Exception):
    """What ends a writer in the middle."""


@dataclass(slots=True)
class At:
    """Does something at the `count`-th step that a writer takes."""

    count: int
    what: Callable[[], None]

    def __call__(self, step: str) -> None:
        assert step in STEPS
        self.count -= 1
        if self.count == 0:
            self.what()


def killed() -> None:
    raise KilledError


def writer(objects: Any, log: Log, on_step: Callable[[str], None] = lambda _step: None, places: int = 7) -> LakeWriter:
    return LakeWriter(RetriedObjects(objects, lambda _s: None), log, lambda: NOW_MS, on_step=on_step, places_max=places)


def write(objects: Any, log: Log, on_step: Callable[[str], None] = lambda _step: None, places: int = 7) -> None:
    writer(objects, log, on_step, places).write(BOTH)


def compact(objects: Any, log: Log, on_step: Callable[[str], None] = lambda _step: None) -> None:
    writer(objects, log, on_step).compact(files_min=2, target_bytes=1 << 20, grace_ms=0)


def rows_of(source: Any) -> list[Any]:
    """Everything that a log or a lake gives, in its order."""
    names = ("records", "decisions", "flags", "hits")
    reads = [getattr(source, name) for name in names] if isinstance(source, LakeReader) else _reads(source)
    return [list(chain.from_iterable(read(size=5))) for read in reads]


def _reads(log: Log) -> list[Any]:
    return [log.read, log.decisions.after, log.flags.after, log.hits.after]


def assert_is_the_log(objects: Any, log: Log) -> LakeState:
    """The lake has what the log has, once and to the byte, and so do the folders of documents."""
    patient = RetriedObjects(objects, lambda _s: None)
    state = read_state(patient)

    assert check(patient, state).problems == []
    assert rows_of(LakeReader(patient)) == rows_of(log)
    records, decisions, flags, _ = rows_of(log)
    documents = {path.name: patient.get(path.name) for name in DOCUMENTS for path in patient.list(name)}
    found = sorted(
        (name.partition("/")[0], line) for name, document in documents.items() for line in document.data.splitlines()
    )
    told = [msgspec.json.decode(record.body) for record in records if record.kind == "label"]
    labels = [notice for notice in told if notice["source"] in {"chargeback", "customer"}]
    kept = ("event", "verdict", "source", "known_at", "reason", "amount")
    wanted = [("transaction", record.body) for record in records if record.kind == "event" and record.type == "a"]
    wanted += [("decided", decision.document) for decision in decisions]
    wanted += [("confirmation", msgspec.json.encode({k: label[k] for k in kept if k in label})) for label in labels]
    assert [item for item in found if item[0] != "flagged"] == sorted(wanted)
    assert len([item for item in found if item[0] == "flagged"]) == len(flags)
    return state


def log_of(version: Version, made: Made) -> MemoryLog:
    log = MemoryLog()
    history = in_disorder(history_of(*made), Random(made[0]))
    Writer(log, project(*version), lambda: NOW_MS).write([submission(event) for event in history])
    return log


@pytest.mark.slow
@LAKE
@given(some=st.lists(versions(), min_size=1, max_size=3), made=histories(), data=st.data())
def test_a_lake_gives_back_its_log_to_the_byte(some: list[Version], made: Made, data: st.DataObject):
    log = written_by(some, history_of(*made), data)
    objects = MemoryObjects()
    with pytest.MonkeyPatch.context() as patch:  # so that few rows have many of everything
        patch.setattr(lake_columns, "PART", data.draw(st.integers(1, 9)))
        patch.setattr(lake_files, "GROUP_ROWS", data.draw(st.integers(1, 9)))
        patch.setattr(lake_reader, "WINDOW", data.draw(st.integers(1, 30)))
        patch.setattr(lake_reader, "HELD_BYTES", data.draw(st.sampled_from([0, 10_000, 1 << 28])))
        write(objects, log, places=data.draw(st.integers(1, 60)))
        assert_is_the_log(objects, log)

        compact(objects, log)
        assert_is_the_log(objects, log)
        assert_columns_say_what_rows_say(objects, log)


@pytest.mark.slow
@LAKE
@given(
    version=versions(),
    made=histories(),
    kills=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=6),
    later=histories(),
)
def test_a_killed_writer_loses_nothing_and_doubles_nothing(
    version: Version, made: Made, kills: list[tuple[bool, int]], later: Made
):
    store, objects = MemoryStore(), MemoryObjects()
    log = MemoryLog(store)
    events = Writer(log, project(*version), lambda: NOW_MS)
    history = [submission(event) for event in history_of(*made)]
    for number, (is_compaction, steps) in enumerate(kills):
        share = history[number * len(history) // len(kills) : (number + 1) * len(history) // len(kills)]
        events.write(share)  # so that the log goes on between a kill and the next start
        reader = MemoryLog(store, read_only=True)
        with suppress(KilledError):
            (compact if is_compaction else write)(objects, reader, At(steps, killed))
    if not kills:
        events.write(history)
    reader = MemoryLog(store, read_only=True)
    write(objects, reader)
    state = assert_is_the_log(objects, reader)

    compact(objects, reader)
    assert_is_the_log(objects, reader)
    left = [name for name in objects.objects if name.endswith(".parquet")]
    assert sorted(left) == sorted(read_state(RetriedObjects(objects)).files)
    assert state.upto == log.last_seq()


NESTED = st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=4)


@pytest.mark.slow
@LAKE
@given(version=versions(), made=histories(), turns=st.lists(NESTED, min_size=1, max_size=3))
def test_writers_beside_each_other_make_one_lake(version: Version, made: Made, turns: list[list[tuple[bool, int]]]):
    log, objects = log_of(version, made), MemoryObjects()

    def work(nested: list[tuple[bool, int]]) -> None:
        """One writer, in the middle of which another does all its work, in the middle of which another."""
        if nested:
            is_compaction, steps = nested[0]
            (compact if is_compaction else write)(objects, log, At(steps, lambda: work(nested[1:])))

    for nested in turns:
        work(nested)
    write(objects, log)

    assert_is_the_log(objects, log)


@pytest.mark.slow
@LAKE
@given(version=versions(), made=histories(), seed=st.integers(0, 2**32))
def test_answers_that_are_lost_change_nothing(version: Version, made: Made, seed: int):
    log, random, in_a_row = log_of(version, made), Random(seed), local()

    def fails(_call: str) -> str:
        """One call in three, and none more often than it is tried again."""
        fault = random.choice(["before", "after", "", "", "", ""]) if getattr(in_a_row, "count", 0) < 4 else ""
        in_a_row.count = getattr(in_a_row, "count", 0) + 1 if fault else 0
        return fault

    objects, calm = FaultyObjects(fails=fails), MemoryObjects()
    write(objects, log)
    write(calm, log)
    objects.fails = lambda _call: ""

    assert contents(objects) == contents(calm)
    assert_is_the_log(objects, log)


def contents(objects: MemoryObjects) -> dict[str, bytes]:
    return {name: data for name, (data, _) in objects.objects.items()}


# ---- columns


def assert_columns_say_what_rows_say(objects: MemoryObjects, log: Log) -> None:
    """Typed columns hold the values of the bodies and documents that they stand beside."""
    patient = RetriedObjects(objects)
    by_place = {record.seq: record for record in chain.from_iterable(log.read())}
    documents = {
        record.seq: msgspec.json.decode(record.document) for record in chain.from_iterable(log.decisions.after())
    }
    definitions = [(segment.start, segment.end, segment.definitions) for segment in segments(log)]
    seen = 0
    for file in read_state(patient).files.values():
        for row in opened(patient, file).read().to_pylist():
            seq = row["seq"]
            version = next(found for start, end, found in definitions if start < seq <= end or seq == start == 1)
            if file.kind == "events":
                type_ = version.events.types[file.type]
                event = Records(version.events, 2).decode(by_place[seq])
                for name, column in field_columns(type_).items():
                    at = type_.at(name)
                    assert row[column] == as_arrow(event.values[at], type_.fields[at].type, 2)
                    seen += 1
            elif file.kind == "features":
                for name, value in documents[seq]["features"].items():
                    assert row[name] == from_json(value, version.features[name].type), name
                    seen += 1
            elif file.kind == "decisions":
                assert [row[name] for name in ("outcome", "score", "rules", "shadow_rules")] == [
                    documents[seq][name] for name in ("outcome", "score", "rules", "shadow_rules")
                ]
    assert seen > 0


def as_arrow(value: Any, type_: Type, money_places: int) -> Any:
    """A value of the core as a table shows it."""
    if value is None:
        return None
    if type_.kind in {"money", "number"}:
        return Decimal(f"{value}E-{money_places if type_.kind == 'money' else type_.places}")
    if type_.kind == "time":
        return _moment(value)
    return value / 1_000 if type_.kind == "duration" else value


def from_json(value: Any, type_: Type) -> Any:
    """The value of a document as a table shows it."""
    if value is None:
        return None
    if type_.kind in {"money", "number"}:
        found = Decimal(value)
        return found if abs(found) < Decimal(10) ** (38 - type_.places) else None
    if type_.kind == "integer":
        return int(value) if -(2**63) <= int(value) < 2**63 else None
    if type_.kind == "time":
        from shroff.language.values import parse_time

        return _moment(parse_time(value))
    return float(value) if type_.kind in {"real", "duration"} else value


def _moment(value_ms: int) -> Any:
    import pyarrow as pa

    return pa.scalar(value_ms, pa.timestamp("ms", tz="UTC")).as_py()


# ---- the law catches what is broken


def overwriting() -> MemoryObjects:
    """A place that puts over what is there."""

    class Overwriting(MemoryObjects):
        def put(self, name: str, data: bytes) -> bool:
            self._set(name, data)
            return True

    return Overwriting()


def test_the_law_catches_a_place_that_writes_over_objects():
    log, objects = log_of(("", "", 0), (7, 60)), overwriting()
    turns = iter([lambda: write(objects, log, places=3)])

    def other() -> None:
        next(turns)()

    def run() -> None:
        write(objects, log, At(1, other), places=11)
        assert_is_the_log(objects, log)

    with pytest.raises((AssertionError, StateError)):
        run()


def test_the_law_catches_a_file_that_was_changed_and_one_that_is_gone():
    log = log_of(("", "", 0), (7, 60))
    for spoil in (lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda _data: None):
        objects = MemoryObjects()
        write(objects, log)
        name = next(name for name in sorted(objects.objects) if name.startswith("events/"))
        data = spoil(objects.objects[name][0])
        if data is None:
            objects.delete(name)
        else:
            objects.objects[name] = data, 0
        found = check(RetriedObjects(objects), read_state(RetriedObjects(objects))).problems

        assert any(name in item and "is damaged" in item for item in found)
        assert any("of the log is missing" in item for item in found)


def test_equal_lakes_are_equal_to_the_byte():
    log = log_of(("", "", 0), (7, 60))
    places = [MemoryObjects(), MemoryObjects()]
    for objects in places:
        write(objects, log)

    assert contents(places[0]) == contents(places[1])


def test_of_a_lake_any_stretch_is_read():
    log, objects = log_of(("", "", 0), (7, 60)), MemoryObjects()
    write(objects, log)
    compact(objects, log)
    reader = LakeReader(RetriedObjects(objects))
    all_records = list(chain.from_iterable(log.read()))

    def places(found: Iterator[list[Any]]) -> list[int]:
        return [item.seq for item in chain.from_iterable(found)]

    for after, upto in ((0, 5), (3, 20), (10, 11), (15, None), (50, 40), (3, 10_000)):
        assert places(reader.records(after, upto)) == [
            record.seq for record in all_records if after < record.seq <= (upto or 10_000)
        ]
        assert places(reader.decisions(after, upto)) == places(log.decisions.after(after, upto))


TYPES = {
    "boolean": Type("boolean"),
    "choice": Type("choice", choices=("a", 'b"', "é")),
    "duration": Type("duration"),
    "integer": Type("integer"),
    "money": Type("money", 2),
    "number": Type("number", 6),
    "real": Type("real"),
    "text": Type("text"),
    "time": Type("time"),
}
WIDE = st.one_of(st.integers(-(10**4), 10**4), st.integers(-(2**130), 2**130))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "choice": st.sampled_from(TYPES["choice"].choices),
    "duration": st.integers(-(10**12), 10**12),
    "integer": WIDE,
    "money": WIDE,
    "number": WIDE,
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "text": st.text(),
    "time": st.integers(-62_135_596_800_000, 253_402_300_799_999),
}


@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.none() | value for name, value in VALUES.items()}), min_size=1, max_size=12
    )
)
def test_values_of_any_form_come_out_as_they_are(rows: list[dict[str, Any]]):
    shown_as = [{name: canonical_value(row[name], type_, 2) for name, type_ in TYPES.items()} for row in rows]
    fields = [",".join(f'"{name}":{text}' for name, text in row.items()) for row in shown_as]
    objects = [f"{{{field}}}".encode() for field in fields]

    found = body_columns(objects, list(TYPES.items()), 2, str)
    for name, type_ in TYPES.items():
        shown = [as_arrow(row[name], type_, 2) for row in rows]
        beyond = {"money": 10**38, "number": 10**38, "integer": 2**63 - 1}.get(name)
        if beyond is not None:
            least = -(2**63) if name == "integer" else 1 - beyond
            most = beyond if name == "integer" else beyond - 1
            shown = [
                value if row[name] is None or least <= row[name] <= most else None
                for value, row in zip(shown, rows, strict=True)
            ]
        listed = found[name].to_pylist()
        assert listed == shown, name
