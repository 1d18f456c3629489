"""Fields declared unique: one event for each value, labels that name events by them, and the index that knows them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import DefinitionError, UsageError
from shroff.events.formats.encodings import read_stream
from shroff.events.formats.lines import CsvHeader
from shroff.events.intake import Intake, Submission
from shroff.events.redaction import keeping_hashed
from shroff.log.activation import check_change
from shroff.log.columns.files import file_columns
from shroff.log.writer import Answer, Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.services import project as app
from shroff.streams.log import Batch, Log, UniqueValue
from shroff.worker.quarantine_retry import retry
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, NOW_MS

PAID = {"id": "p1", "at": "2026-03-01T12:00:00Z", "amount": "5.00", "arn": "clear-1"}
KNOWN_AT = "2026-04-01T00:00:00Z"
SHROFF = {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 1h\n"}


def project(fields: str = "arn: text? unique", events: str = "") -> Definitions:
    """The small project, with these fields more and these event types."""
    text = FILES["events.yaml"].replace("amount: money }", f"amount: money, {fields} }}")
    return load_definitions({**FILES, **SHROFF, "events.yaml": text + events}, str.upper).or_raise()


def submission(of: Definitions, type_name: str, fields: Mapping[str, object]) -> Submission:
    intake = Intake(of.events, of.settings, str.upper)
    return intake.submit(type_name, fields, source="test", place="1", raw=msgspec.json.encode(fields), is_strict=False)


def payment(of: Definitions, number: int, hour: int = 12, **more: object) -> Submission:
    at = f"2026-03-01T{hour:02d}:{number:02d}:00Z"
    return submission(of, "payment", {"id": f"p{number}", "at": at, "card": "c", "amount": "5.00", **more})


def within(fields: str = "insert: text? unique within 1h") -> Definitions:
    """The small project with a value that is known for a while, and late events."""
    text = FILES["shroff.yaml"] + "lateness: 30d\n"
    return load_definitions({**project(fields).files, "shroff.yaml": text}, str.upper).or_raise()


def at_minute(of: Definitions, number: int, minute: float, **more: object) -> Submission:
    """A payment so many minutes behind noon of a day that is not the latest."""
    at = 1_772_366_400_000 + round(minute * 60_000)
    return submission(of, "payment", {"id": f"m{number}", "at": at, "card": "c", "amount": "5.00", **more})


def label(of: Definitions, verdict: str = "fraud", **more: object) -> Submission:
    return submission(of, "label", {"verdict": verdict, "known_at": KNOWN_AT, **more})


def writer(log: Log, of: Definitions) -> Writer:
    return Writer(log, of, lambda: NOW_MS)


def written(of: Definitions, *batches: list[Submission], log: Log | None = None) -> list[Answer]:
    held = writer(MemoryLog() if log is None else log, of)
    return [answer for batch in batches for answer in held.write(batch)]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_second_event_with_the_same_value_is_refused_and_the_other_is_named(at_once):
    of = project()
    parts = [payment(of, 1, arn="A"), payment(of, 2, arn="A"), payment(of, 3, arn="B")]
    answers = written(of, parts) if at_once else written(of, *[[part] for part in parts])

    assert [answer.kind for answer in answers] == ["decided", "refused", "decided"]
    assert answers[1].reason == "arn: it is unique, and payment 'p1' has the same value already"


def test_the_same_event_again_is_a_duplicate_and_missing_values_are_not_compared():
    of = project()
    answers = written(of, [payment(of, 1, arn="A"), payment(of, 2), payment(of, 3)], [payment(of, 1, arn="A")])

    assert [answer.kind for answer in answers] == ["decided", "decided", "decided", "duplicate"]


def test_a_value_is_known_across_restarts_and_in_a_batch_that_is_looked_up_beside_a_commit():
    of, log = project(), MemoryLog()
    held = writer(log, of)
    first = held.prepare([payment(of, 1, arn="A")])
    known = held.look_up([payment(of, 2, arn="A")])
    second = held.prepare([payment(of, 2, arn="A")], known=known)
    held.commit(first)
    held.commit(second)
    log.close()

    assert second.answers[0].kind == "refused"
    assert written(of, [payment(of, 3, arn="A")], log=MemoryLog(log.store))[0].kind == "refused"


def test_hashes_of_hashed_fields_are_compared_and_no_message_has_the_clear_value():
    of, log = project("arn: text? hashed unique"), MemoryLog()
    early = label(of, arn="secret")
    answers = written(of, [early], [payment(of, 1, arn="secret"), payment(of, 2, arn="secret")], log=log)

    assert [answer.kind for answer in answers] == ["waiting", "decided", "refused"]
    assert set(log.find_unique("payment", "arn", ["SECRET", "secret"])) == {"SECRET"}
    assert all("secret" not in str(entry) for entry in quarantined(log))
    assert not log.waiting.all()


def test_an_event_that_is_refused_moves_no_watermark_and_leaves_its_value_free():
    of = project()
    answers = written(
        of,
        [payment(of, 1, arn="A"), payment(of, 2, hour=20, arn="A"), payment(of, 3, arn="B")],
        [payment(of, 4, hour=14, arn="C"), payment(of, 5, hour=12, arn="D"), payment(of, 6, hour=14, arn="D")],
    )

    assert [answer.kind for answer in answers] == ["decided", "refused", "decided", "decided", "refused", "decided"]
    assert "too late" in answers[4].reason


TIMELINES = {
    "at the end of the hour": ([0, 60], [0]),
    "a millisecond behind it": ([0, 60 + 1 / 60_000], [0, 1]),
    "the later one came first": ([60, 0], [0]),
    "the later one came first, and is too far": ([60 + 1 / 60_000, 0], [0, 1]),
    "each an hour behind the one before": ([0, 60, 120, 180, 181], [0, 3 - 1, 4]),
    "across the beginning of an hour": ([59, 61, 121.5], [0, 2]),
    "between two that are known": ([0, 100, 50], [0, 1]),
    "before 1970": ([-30_000_000, -29_999_941, -29_999_939], [0, 2]),
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("name", TIMELINES)
def test_a_value_within_the_duration_is_a_duplicate_of_the_event_that_has_it(name: str, at_once: bool) -> None:
    minutes, taken = TIMELINES[name]
    of = within()
    parts = [at_minute(of, number, minute, insert="A") for number, minute in enumerate(minutes)]
    answers = written(of, parts) if at_once else written(of, *[[part] for part in parts])

    kinds = ["decided" if number in taken else "duplicate" for number in range(len(minutes))]
    assert [answer.kind for answer in answers] == kinds


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["", "A", "B"])), max_size=12), st.integers(1, 4))
def test_of_events_that_share_a_value_those_further_apart_are_taken(rows: list[tuple[int, str]], size: int) -> None:
    of, log = within(), MemoryLog()
    held = writer(log, of)
    parts = [at_minute(of, number, minute, insert=value) for number, (minute, value) in enumerate(rows)]
    for at in range(0, len(parts), size):
        held.write(parts[at : at + size])

    taken: list[int] = []
    for number, (minute, value) in enumerate(rows):
        near = [item for item in taken if value and rows[item][1] == value and abs(rows[item][0] - minute) <= 60]
        taken += [] if near else [number]
    assert [msgspec.json.decode(body)["id"] for body in bodies(log)] == [f"m{number}" for number in taken]


def test_a_repeated_event_is_answered_with_the_decision_of_the_first_one() -> None:
    of, log = within(), MemoryLog()
    held = writer(log, of)
    first = held.prepare([at_minute(of, 1, 0, insert="A")])
    known = held.look_up([at_minute(of, 2, 5, insert="A")])
    beside = held.prepare([at_minute(of, 2, 5, insert="A")], known=known)
    held.commit(first)
    held.commit(beside)
    (later,) = written(of, [at_minute(of, 3, 6, insert="A", amount="7.00")], log=again(log))

    (made,) = first.answers
    assert made.document is not None
    assert [(answer.kind, answer.seq, answer.document) for answer in (*beside.answers, later)] == [
        ("duplicate", made.seq, made.document)
    ] * 2


def test_the_duration_may_change_and_the_log_is_looked_up_anew() -> None:
    log = MemoryLog()
    plain, hour, day = project("insert: text?"), within(), within("insert: text? unique within 1d")
    written(plain, [at_minute(plain, 1, 0, insert="A"), at_minute(plain, 2, 90, insert="A")], log=log)

    log = again(log)
    (found,) = written(hour, [at_minute(hour, 3, 100, insert="A")], log=log)
    assert found.kind == "duplicate"
    with pytest.raises(DefinitionError, match=r"insert: it is unique now, .*share a value of it: 'm1' and 'm2'"):
        check_change(again(log), day)


def test_a_label_cannot_name_an_event_by_a_value_that_others_may_have_later() -> None:
    assert within().events.naming == {}


@pytest.mark.parametrize(
    "kind, value, same", [("integer", 7, "7"), ("money", "1.5", "1.50"), ("number(3)", "2", "2.000")]
)
def test_values_of_any_type_are_compared_as_values(kind, value, same):
    of = project(f"ref: {kind}? unique")
    answers = written(of, [label(of, ref=same)], [payment(of, 1, ref=value), payment(of, 2, ref=same)])

    assert [each.kind for each in answers] == ["waiting", "decided", "refused"]


# ---- labels


def test_a_label_by_a_unique_field_is_that_of_its_event_whatever_names_it():
    of = project()
    answers = written(
        of, [payment(of, 1, arn="A")], [label(of, arn="A"), label(of, event="p1"), label(of, event="p1", arn="A")]
    )

    assert [answer.kind for answer in answers] == ["decided", "taken", "duplicate", "duplicate"]
    assert len({answer.id for answer in answers[1:]}) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_labels_that_wait_join_right_after_their_event_and_once(size):
    of, log = project("arn: text? unique, ref: integer? unique"), MemoryLog()
    parts = [
        label(of, arn="A"),
        label(of, event="p1"),
        label(of, "genuine", ref=7),
        label(of, arn="Z"),
        label(of, arn="A"),
        payment(of, 2, arn="B"),
        payment(of, 1, arn="A", ref=7),
        label(of, arn="A"),
        payment(of, 3),
    ]
    held = writer(log, of)
    answers = [item for at in range(0, len(parts), size) for item in held.write(parts[at : at + size])]
    records = [record for part in log.read() for record in part][1:]

    assert [(item.type, item.id.partition("#")[0]) for item in records] == [
        ("payment", "p2"),
        ("payment", "p1"),
        ("label", "payment/p1"),
        ("label", "payment/p1"),
        ("payment", "p3"),
    ]
    assert answers[7].kind == "duplicate"
    assert answers[7].seq == 4
    assert [(item.field, item.event_id) for item in log.waiting.all()] == [("arn", "Z")]
    (decided,) = log.decisions.of("payment", ["p1"]).values()
    assert b'"card.frauds":0' in decided.document


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"event": "p1", "arn": "B"}, "arn: payment 'p1' has another one; this is that of payment 'p2'"),
        ({"event": "p9", "arn": "B"}, "event: it is not payment 'p2', which arn names"),
        ({"event": "p1", "arn": "Z"}, "arn: payment 'p1' has another one"),
        ({"event": "p3", "arn": "Z"}, "arn: payment 'p3' has none"),
        ({"arn": "A", "ref": 8}, "ref: payment 'p1' has another one; this is that of payment 'p2'"),
        ({}, "event: expected a text of at most 65,536 bytes, or one of arn, ref instead; it is missing"),
    ],
)
def test_a_label_that_names_two_events_or_none_is_refused(more, reason):
    of = project("arn: text? unique, ref: integer? unique")
    there = [payment(of, 1, arn="A", ref=7), payment(of, 2, arn="B", ref=8), payment(of, 3)]
    *_, refused = written(of, there, [label(of, **more)])

    assert (refused.kind, refused.reason) == ("refused", reason)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_label_that_waited_and_whose_event_has_another_value_goes_to_quarantine(at_once):
    of, log = project(), MemoryLog()
    parts = [label(of, event="p1", arn="A"), payment(of, 1, arn="B")]
    written(of, *([parts] if at_once else [[part] for part in parts]), log=log)

    ((_, entry),) = quarantined(log)
    assert entry.reason == "arn: payment 'p1' has another one"
    assert not log.waiting.all()


def test_a_name_that_several_types_have_is_that_of_the_decided_one():
    transfer = (
        "transfer:\n  id: id\n  time: at\n  fields: { id: text, at: time, arn: text unique, iban: text unique }\n"
    )
    of = project(events=transfer)
    moved = submission(of, "transfer", {"id": "t1", "at": "2026-03-01T12:00:00Z", "arn": "A", "iban": "I"})
    answers = written(of, [moved, payment(of, 1, arn="A")], [label(of, arn="A"), label(of, iban="I")])
    both = label(of, arn="A", iban="I")

    assert [answer.id.partition("#")[0] for answer in answers[2:]] == ["payment/p1", "transfer/t1"]
    assert both.refusal == "iban: it names one of the type transfer, and arn one of the type payment"


def test_a_mapping_of_labels_may_make_a_unique_field(tmp_path):
    text = "label:\n  from:\n    csv:\n      arn: row.Ref\n      verdict: lower(row.Verdict)\n"
    of = project(events=text)
    folder = tmp_path / "bank"
    folder.mkdir()
    for name, content in of.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    labels = tmp_path / "chargebacks.csv"
    labels.write_text(f"Ref,Verdict,known_at\nA,FRAUD,{KNOWN_AT}\nB,FRAUD,{KNOWN_AT}\n", encoding="utf-8")
    held = app.open(folder)
    held.decide([{"payment": {"id": "p1", "at": "2026-03-01T12:00:00Z", "amount": "5.00", "arn": "A"}}])
    report = held.labelling.add_file(labels)

    assert (report.labels.appended, report.labels.pending) == (1, 1)
    labels.write_text(f"Verdict,known_at\nFRAUD,{KNOWN_AT}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="lacks the column"):
        held.labelling.add_file(labels)


def test_what_cannot_name_an_event_is_said():
    transfer = "transfer:\n  id: id\n  time: at\n  decide: true\n  fields: { id: text, at: time, arn: text unique }\n"
    text = FILES["events.yaml"].replace("amount: money }", "amount: money, arn: text? unique, reason: text? unique }")
    found = load_definitions({**FILES, "events.yaml": text + transfer})

    assert [warning.path for warning in found.warnings] == ["arn", "reason"]
    assert not project().events.not_naming


# ---- the index


def bodies(log: Log) -> list[Any]:
    return [record.body for part in log.read() for record in part if record.kind == "event"]


def test_a_field_that_becomes_unique_is_known_for_the_events_that_are_there(tmp_path):
    log = SqliteLog(tmp_path / "log.db")
    before, after = project("arn: text?"), project()
    written(before, [payment(before, 1, arn="A"), payment(before, 2, arn="B"), payment(before, 3)], log=log)
    answers = written(after, [payment(after, 4, arn="B"), label(after, arn="A")], log=log)

    assert [answer.kind for answer in answers] == ["refused", "taken"]
    log.close()


def test_a_field_that_becomes_unique_and_has_doubles_is_refused_by_name_and_nothing_is_written(tmp_path):
    log = SqliteLog(tmp_path / "log.db")
    before, after = project("arn: text?"), project()
    written(before, [payment(before, number, arn=f"A{number % 4}") for number in range(1, 12)], log=log)
    last = log.last_seq()
    for act in (check_change, writer):
        with pytest.raises(DefinitionError) as caught:
            act(log, after)

        (problem,) = caught.value.problems
        assert problem.path == "payment.fields.arn"
        assert "share a value of it: 'p1' and 'p5', 'p2' and 'p6', 'p3' and 'p7', and 4 more" in problem.message
    assert (log.last_seq(), log.indexed()) == (last, [])
    log.close()


def test_values_are_forgotten_with_the_mark_and_found_again_with_it():
    marked, plain = project(), project("arn: text?")
    log = MemoryLog()
    written(marked, [payment(marked, 1, arn="A")], log=log)
    log = again(log)
    written(plain, [payment(plain, 2, arn="B")], log=log)
    assert (log.indexed(), log.find_unique("payment", "arn", ["A"])) == ([], {})
    log = again(log)
    answers = written(marked, [payment(marked, 3, arn="A"), payment(marked, 4, arn="B")], log=log)

    assert [answer.kind for answer in answers] == ["refused", "refused"]


def test_a_field_of_another_type_is_indexed_anew():
    two, four = project("ref: number(2)? unique"), project("ref: number(4)? unique")
    log = MemoryLog()
    written(two, [payment(two, 1, ref="7.25")], log=log)
    log = again(log)
    answers = written(four, [payment(four, 2, ref="7.25"), payment(four, 3, ref="7.2501")], log=log)

    assert [record.form for record in log.indexed()] == ["number(4)"]
    assert [answer.kind for answer in answers] == ["refused", "decided"]


def test_what_a_killed_process_left_of_an_index_does_no_harm():
    of = project()
    log = MemoryLog()
    written(project("arn: text?"), [payment(of, 1, arn="A"), payment(of, 2, arn="B")], log=log)
    log.append(Batch(unique=[UniqueValue("payment", "arn", "A", 2), UniqueValue("payment", "arn", "old", 2)]))
    log = again(log)
    written(of, log=log)

    assert set(log.find_unique("payment", "arn", ["A", "B", "old"])) == {"A", "B"}


def again(log: MemoryLog) -> MemoryLog:
    log.close()
    return MemoryLog(log.store)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["", "A", "B", "C"])), max_size=14), st.integers(1, 5))
def test_batches_of_any_size_take_the_same_events_and_files_give_the_same(rows, size):
    of = project()
    parts = [payment(of, number, arn=arn) for number, arn in rows]
    log, one_by_one = MemoryLog(), MemoryLog()
    held = writer(log, of)
    for at in range(0, len(parts), size):
        held.write(parts[at : at + size])
    written(of, *[[part] for part in parts], log=one_by_one)

    assert bodies(log) == bodies(one_by_one)
    values = [msgspec.json.decode(body).get("arn") for body in bodies(log)]
    known = [value for value in values if value is not None]
    assert len(set(known)) == len(known)


def test_features_of_files_leave_out_what_ingest_would_refuse(tmp_path: Path):
    of = project()
    file = tmp_path / "events.jsonl"
    rows = [("p1", 1, "A"), ("p2", 2, "A"), ("p3", 3, None), ("p4", 4, None), ("p1", 5, "Z"), ("p6", 6, "B")]
    lines = [{"id": id_, "at": f"2026-03-01T12:0{at}:00Z", "amount": "1.00", "arn": arn} for id_, at, arn in rows]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    found = list(file_columns([file], of, None, "payment"))

    assert [id_ for item in found for id_ in item.ids.to_pylist()] == ["p1", "p3", "p4", "p6"]
    found = list(file_columns([file], project("arn: text? unique within 1m"), None, "payment"))
    assert [id_ for item in found for id_ in item.ids.to_pylist()] == ["p1", "p3", "p4", "p6"]
    found = list(file_columns([file], project("arn: text? unique within 59s"), None, "payment"))
    assert [id_ for item in found for id_ in item.ids.to_pylist()] == ["p1", "p2", "p3", "p4", "p6"]


def test_a_label_line_of_a_hashed_unique_field_keeps_its_hash_in_quarantine_and_comes_back():
    of, log = project("arn: text? hashed unique"), MemoryLog()
    held = Writer(log, of, lambda: NOW_MS)
    hasher = lambda text: f"hashed:{sha256(text.encode()).hexdigest()[:32]}:{text[-4:]}"  # noqa: E731 - one line says it
    intake = Intake(of.events, of.settings, hasher)
    lines = read_stream(io.BytesIO(b"arn,verdict,known_at\nclear-1,fraud,2026-01-01T00:00:00Z\n"), "csv")
    held.write([intake.submit("payment", PAID, source="t", place="1", raw=b"{}", is_strict=True)])
    held.write(list(intake.submissions(lines, "l.csv", "label")))

    ((number, entry),) = quarantined(log)
    assert "lies before the time of payment" in entry.reason
    assert b"clear-1" not in entry.raw
    headers = {"l.csv": CsvHeader(("arn", "verdict", "known_at"))}
    (again,) = retry(log, held, Intake(of.events, of.settings, keeping_hashed(hasher)), [number], headers)
    assert again.reason == entry.reason
