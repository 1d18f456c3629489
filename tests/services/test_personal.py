"""Personal fields: beside the log, in nothing that decides, shown to who names them, and erased for ever."""

from __future__ import annotations

import json

import msgspec
import pytest

import shroff
from shroff.cases import case_actions
from shroff.cli.main import run
from shroff.errors import DefinitionError, UsageError
from shroff.people.audit import Act
from shroff.people.store import AuditFilter, rows_of
from shroff.replay.compare import verify_online
from shroff.runtime.values import replace
from shroff.streams.log import LateEvent
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, definitions, intake_of, payment, submission, writer

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text? hashed, amount: money, email: text? personal, name: text personal }
entities:
  card: { payment: card }
"""
ROWS = [
    {
        "id": f"p{n}",
        "at": f"2026-03-01T12:0{n}:00Z",
        "card": f"411111111111{n % 2}",
        "amount": "5.00",
        "name": f"Ann {n}",
    }
    for n in range(4)
]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "bank"
    for name, text in (FILES | {"events.yaml": EVENTS}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return shroff.open(folder)


def taken(project) -> list[object]:
    return project.decide([{**row, "email": f"{row['id']}@example.org"} for row in ROWS], as_type="payment")


def mistakes(changes: dict[str, str]) -> str:
    with pytest.raises(DefinitionError) as raised:
        definitions({"events.yaml": EVENTS, **changes})
    return str(raised.value)


def test_what_is_personal_is_in_no_event_decision_or_receipt(project):
    with_values = taken(project)
    with project.log.reading() as log:
        records = [item for part in log.read() for item in part if item.kind == "event"]
        documents = [row.document for part in log.decisions.after() for row in part]
        beside = log.personal.of("payment", ["p0", "p3"])

    assert not any(b"Ann" in record.body or b"example.org" in record.body for record in records)
    assert not any(b"Ann" in document or b"example.org" in document for document in documents)
    assert beside == {
        "p0": {"email": "p0@example.org", "name": "Ann 0"},
        "p3": {"email": "p3@example.org", "name": "Ann 3"},
    }
    assert [item.receipt for item in with_values] == [item.receipt for item in project.decide(ROWS, as_type="payment")]


def test_the_same_event_with_other_personal_values_is_a_duplicate_and_changes_nothing(project):
    first = taken(project)[0]
    (again,) = project.decide([ROWS[0] | {"name": "Bob"}], as_type="payment")

    assert again.receipt == first.receipt
    with project.log.reading() as log:
        assert log.personal.of("payment", ["p0"])["p0"]["name"] == "Ann 0"


def test_other_personal_values_are_told_from_the_first_repeat_to_the_last_whichever_event_came_again(project):
    taken(project)
    for row in (3, 0):
        project.decide([ROWS[row] | {"name": "Bob"}], as_type="payment")
        project.decide([ROWS[1] | {"id": f"after-{row}"}], as_type="payment")

    with project.log.reading() as log:
        (remark,) = log.remarks()
    assert (remark.first_seq, remark.last_seq) == (len(ROWS) + 1, len(ROWS) + 2)
    assert remark.first_ms <= remark.last_ms


def test_another_personal_value_of_a_repeated_event_is_counted_and_told_without_the_value(project, tmp_path, capsys):
    folder = project.context.paths.folder
    changed = [ROWS[0] | {"name": "Bob"}, ROWS[1], {**ROWS[2], "name": "Bob", "email": "bob@example.org"}]
    new = [{**ROWS[3], "id": "p9"}, {**ROWS[3], "id": "p9", "name": "Bob"}]  # both in one batch
    (tmp_path / "again.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*changed, *new]))
    taken(project)
    for times in (1, 2):
        assert run(["-C", str(folder), "ingest", str(tmp_path / "again.jsonl"), "--as", "payment"]) == 0
        said = capsys.readouterr().out
        assert "payment.name: 3 events already in the log came with another value" in said
        assert run(["-C", str(folder), "doctor"]) in {0, 1}
        said += capsys.readouterr().out
        assert f"payment.email: {times} event{'s' * (times > 1)} came again with another value" in said
        assert "Bob" not in said
        assert "bob@" not in said

    project.erasing.erase("card", "4111111111110")
    assert not project.ingest(tmp_path / "again.jsonl", as_type="payment").personal_changes["payment.email"]
    with project.log.reading() as log:
        assert {remark.asker: remark.count for remark in log.remarks()} == {"payment.name": 7, "payment.email": 2}
        assert not log.counts().refused
    assert b"Bob" not in b"".join(path.read_bytes() for path in (folder / ".shroff").glob("log*"))


def test_a_personal_field_that_must_be_there_is_missed_and_its_value_is_not_shown(project):
    row = {name: value for name, value in ROWS[0].items() if name != "name"}
    (lacking,) = project.decide([row], as_type="payment")
    (wrong,) = project.decide([ROWS[0] | {"email": ["secret@example.org"]}], as_type="payment")

    assert lacking.detail == "name: expected a text of at most 65,536 bytes; it is missing"
    assert wrong.detail.endswith("; the value is hidden because the field is personal")
    assert "secret" not in wrong.detail


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"features.yaml": "card:\n  x: last(payment.email) over 1h\n"}, "reads 'email', which is personal"),
        ({"features.yaml": "card:\n  x: this.email\n"}, "reads 'email', which is personal"),
        ({"rules/large.yaml": FILES["rules/large.yaml"].replace("{this.amount}", "{this.name}")}, "which is personal"),
        ({"events.yaml": EVENTS.replace("card: { payment: card }", "card: { payment: email }")}, "email is personal"),
        ({"events.yaml": EVENTS.replace("id: text,", "id: text personal,")}, "which is not a field of it"),
        ({"events.yaml": EVENTS.replace("amount: money", "amount: money personal")}, "a personal field is text"),
        ({"events.yaml": EVENTS.replace("text? personal", "text? personal hashed")}, "without another mark"),
        ({"events.yaml": EVENTS.replace("text? personal", "text? persnal")}, "Did you mean personal?"),
        ({"events.yaml": EVENTS + "tables: { t: { a: text, b: text personal } }\n"}, "a table has nothing personal"),
    ],
)
def test_nothing_that_decides_reads_a_personal_field(changes, words):
    assert words in mistakes(changes)


def test_export_shows_what_is_named_and_nothing_else(project, capsys):
    taken(project)

    def exported(*options: str) -> list[dict[str, dict[str, str]]]:
        assert run(["-C", str(project.context.paths.folder), "export", "events", *options]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert all(set(row["payment"]) == {"id", "at", "card", "amount"} for row in exported())
    assert [row["payment"]["email"] for row in exported("--personal", "email")] == [
        f"p{n}@example.org" for n in range(4)
    ]
    assert "name" not in exported("--personal", "email")[0]["payment"]
    assert run(["-C", str(project.context.paths.folder), "export", "events", "--personal", "emial"]) == 2
    assert "Did you mean email?" in capsys.readouterr().err
    assert run(["-C", str(project.context.paths.folder), "export", "labels", "--personal", "email"]) == 2


def test_what_is_exported_with_its_personal_fields_comes_back_as_the_same(project, tmp_path, capsysbinary):
    taken(project)
    run(["-C", str(project.context.paths.folder), "export", "events", "--personal", "email,name"])
    (tmp_path / "copy.jsonl").write_bytes(capsysbinary.readouterr().out)
    report = project.ingest(tmp_path / "copy.jsonl", is_hashed=True)

    assert (report.events.read, report.events.duplicates) == (4, 4)


def test_what_is_personal_stays_with_its_event_when_a_file_is_sorted(project, tmp_path):
    (tmp_path / "day.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reversed(ROWS)))
    project.ingest(tmp_path / "day.jsonl", as_type="payment", order="time")

    with project.log.reading() as log:
        assert {id_: fields["name"] for id_, fields in log.personal.of("payment", ["p0", "p3"]).items()} == {
            "p0": "Ann 0",
            "p3": "Ann 3",
        }


def test_erase_takes_away_one_key_and_changes_no_receipt(project, capsys):
    taken(project)
    before = {row["id"]: row["receipt"] for row in project.decisions().to_pylist()}
    for options in (["--dry-run", "--json"], ["--json"]):
        assert run(["-C", str(project.context.paths.folder), "erase", "card", "4111111111111", *options]) == 0
        told = {"events": 2, "erased": 2, "quarantined": [], "mails": 0, "letters": 0}
        assert json.loads(capsys.readouterr().out) == told

    with project.log.reading() as log:
        assert sorted(log.personal.of("payment", [f"p{n}" for n in range(4)])) == ["p0", "p2"]
    assert {row["id"]: row["receipt"] for row in project.decisions().to_pylist()} == before
    assert project.verify().mismatches == 0
    assert project.erasing.erase("card", "4111111111111").erased == 0


EARLIER = (
    EVENTS.replace("card: { payment: card }", "card: { payment: card, signup: card }")
    + """
signup:
  id: id
  time: at
  fields: { id: text, at: time, card: text hashed, other: text? hashed, email: text personal }
"""
)
LATER = {
    "gone": EVENTS,
    "renamed": EARLIER.replace("signup:", "join:"),
    "other key": EARLIER.replace("signup: card", "signup: other"),
    "no key": EARLIER.replace(", signup: card", ""),
}


@pytest.mark.parametrize("later", list(LATER.values()), ids=list(LATER))
def test_events_of_types_and_keys_that_were_declared_earlier_are_erased_and_shown_too(project, later):
    events, row = project.context.paths.folder / "events.yaml", ROWS[0] | {"email": "ann@example.org"}
    events.write_text(EARLIER)
    project.context.reload()
    signup = {name: row[name] for name in ("at", "card", "email")}
    project.decide(
        [signup | {"id": id_, "card": card} for id_, card in (("s1", row["card"]), ("s2", "other"))], as_type="signup"
    )
    with project.log.writing() as (held, _):
        held.keeps_late = True
        fields = signup | {"id": "late", "at": "2025-01-01T00:00:00Z", "card": project.log.hasher(row["card"])}
        old = intake_of(project.definitions).submit(
            "signup", fields, source="test", place="9", raw=msgspec.json.encode(fields), is_strict=False
        )
        held.write([old])
    events.write_text(later)
    project.context.reload()
    project.decide([row], as_type="payment")

    named = [(event["event"], event["fields"]["email"]) for event in project.erasing.all_of("card", row["card"])]
    assert sorted(named) == [(name, "ann@example.org") for name in ("payment/p0", "signup/late", "signup/s1")]
    assert project.erasing.erase("card", row["card"]).erased == 3
    with project.log.reading() as log:
        assert sorted(log.personal.of("signup", ["s1", "s2", "late"])) == ["s2"]


def test_erase_finds_what_people_wrote_in_cases_and_takes_it_away_when_asked(project, capsys):
    project.decide([ROWS[0] | {"amount": "500.00"}, ROWS[1] | {"amount": "600.00"}], as_type="payment")
    with project.cases.open() as desk:
        for number in (1, 2):
            case_actions.note(desk, project.context.who, number, f"Ann {number} called")
            case_actions.attach(desk, project.context.who, number, "id.txt", "text/plain", b"Ann")
    folder, key = ["-C", str(project.context.paths.folder)], "4111111111110"
    found = {"cases": [1], "notes": 1, "files": 1, "notes_erased": False}
    for options, is_erased in (["--notes", "--dry-run"], False), ([], False), (["--notes"], True):
        assert run([*folder, "erase", "card", key, "--json", *options]) == 0
        assert found | {"notes_erased": is_erased} == {
            name: value for name, value in json.loads(capsys.readouterr().out).items() if name in found
        }

    with project.people.open() as people, project.cases.desk(people).store.look() as look:
        assert [[entry.words for entry in look.history(number) if entry.what == "note"] for number in (1, 2)] == [
            *([""], ["Ann 2 called"])
        ]
        assert [len(look.attached(number)) for number in (1, 2)] == [0, 1]
        (act,) = rows_of(people.store, AuditFilter(action="case.erase"))
        assert (act.after, key in act.subject) == ('{"cases":1,"files":1,"notes":1}', False)
    assert run([*folder, "erase", "card", "4111111111111"]) == 0
    assert "1 note and 1 file in 1 case about these events (2): kept; '--notes' removes" in capsys.readouterr().out


def test_words_of_silences_and_escalations_are_notes_and_go_with_the_names_of_files(project, tmp_path):
    project.decide([ROWS[0] | {"amount": "500.00"}], as_type="payment")
    who, key, out = project.context.who, "4111111111110", tmp_path / "ann.json"
    act = Act(who, "rule.silence", "rule large", None, None)
    with project.cases.open() as desk:
        case_actions.attach(desk, who, 1, "ann-smith.txt", "text/plain", b"Ann")
        for what in (case_actions.SILENCED, case_actions.SILENCE_ASKED):
            case_actions.silenced(desk, act, 1, "large, Ann is on her honeymoon", what)
        case_actions.escalate(desk, who, 1, "Ann may be her sister")
        case_actions.silenced(desk, act, 1, "large", case_actions.SILENCE_ENDED)
    folder = ["-C", str(project.context.paths.folder)]
    assert run([*folder, "person", "export", "card", key, "--out", str(out)]) == 0
    assert run([*folder, "erase", "card", key, "--notes"]) == 0

    (case,) = json.loads(out.read_text())["cases"]
    assert {line["what"] for line in case["notes"]} == {"silenced", "silence_asked", "escalated"}
    with project.people.open() as people, project.cases.desk(people).store.look() as look:
        words = [entry.words for entry in look.history(1)]
    assert "large" in words
    assert not [text for text in words if "nn" in text]
    assert project.cases.written_about(["payment/p0"]).notes == 0


def test_all_that_is_stored_about_a_person_is_one_file_and_nothing_of_others(project, tmp_path, capsys):
    project.decide([row | {"amount": "500.00", "email": f"{row['id']}@example.org"} for row in ROWS], as_type="payment")
    project.label("payment/p0", "fraud")
    with project.cases.open() as desk:
        for number in (1, 2):
            case_actions.note(desk, project.context.who, number, f"Ann {number} called")
    out, key = tmp_path / "ann.json", "4111111111110"
    command = ["-C", str(project.context.paths.folder), "person", "export", "card", key, "--out", str(out), "--json"]

    assert run(command) == 0
    counts = json.loads(capsys.readouterr().out)
    text, found = out.read_text(), json.loads(out.read_text())
    assert (counts["events"], counts["decisions"], counts["labels"], counts["cases"]) == (2, 2, 1, 1)
    assert [(event["event"], event["fields"]["email"]) for event in found["events"]] == [
        ("payment/p0", "p0@example.org"),
        ("payment/p2", "p2@example.org"),
    ]
    assert [[label["verdict"] for label in event["labels"]] for event in found["events"]] == [["fraud"], []]
    (case,) = found["cases"]
    assert {alert["event"] for alert in case["alerts"]} <= {"payment/p0", "payment/p2"}
    assert ("Ann 1 called" in text, [other for other in ("p1@", "p3@", "Ann 2 called") if other in text]) == (True, [])
    assert out.stat().st_mode & 0o007 == 0
    with project.people.open() as people:
        (act,) = rows_of(people.store, AuditFilter(action="personal.export"))
        assert (act.after, key in act.subject) == ('{"events":2}', False)

    assert (run(command), out.read_text()) == (2, text)


def test_erase_names_what_it_cannot_reach_and_what_it_does_not_know(project):
    taken(project)
    project.decide([ROWS[0] | {"id": "bad", "amount": "x"}], as_type="payment")

    assert len(project.erasing.erase("card", "4111111111110").quarantined) == 1
    with pytest.raises(UsageError, match=r"there is no entity 'crad'\. Did you mean card\?"):
        project.erasing.erase("crad", "x")


def test_quarantine_shows_bytes_that_may_be_personal_to_who_asks_for_them(project, capsys):
    project.decide([ROWS[0] | {"id": "bad", "amount": "x"}], as_type="payment")
    command = ["-C", str(project.context.paths.folder), "quarantine", "show", "1"]

    assert run([*command, "--json"]) == 0
    assert "Ann" not in capsys.readouterr().out
    assert run([*command]) == 0
    assert "add --personal" in capsys.readouterr().out
    assert run([*command, "--personal"]) == 0
    assert "Ann 0" in capsys.readouterr().out


def test_erase_beside_a_writer_is_carried_out_by_it(project):
    taken(project)
    with project.log.writing() as (held, log), project.inboxes.brief(held, log).attended():
        other = shroff.open(project.context.paths.folder)
        assert other.erasing.erase("card", "4111111111110").erased == 2

    with project.log.reading() as log:
        assert sorted(log.personal.of("payment", [f"p{n}" for n in range(4)])) == ["p1", "p3"]


def test_a_field_that_the_log_has_in_clear_does_not_become_personal(project):
    taken(project)
    (project.context.paths.folder / "events.yaml").write_text(
        EVENTS.replace("amount: money", "amount: money, note: text?")
    )
    project.context.reload()
    project.decide([ROWS[0] | {"id": "n1", "note": "seen"}], as_type="payment")
    (project.context.paths.folder / "events.yaml").write_text(
        EVENTS.replace("amount: money", "amount: money, note: text? personal")
    )
    project.context.reload()

    with pytest.raises(DefinitionError, match="note: it is personal now, but the payment at sequence number"):
        project.decide([ROWS[0] | {"id": "n2"}], as_type="payment")


# ---- events that come too late for a source which keeps them


def later(number: int, minute: int = 0):
    """A payment two days after those of the morning."""
    fields = {"id": f"p{number}", "at": f"2026-03-03T12:{minute:02d}:00Z", "card": "c", "amount": "5.00"}
    return submission("payment", number, fields)


def keeping(log: MemoryLog):
    found = writer(log)
    found.keeps_late = True
    return found


def test_a_late_event_of_a_source_that_keeps_them_decides_nothing_and_is_in_no_window():
    log = MemoryLog()
    held = keeping(log)
    held.write([later(1)])
    before = log.last_seq()
    (answer,) = held.write([payment(2, 1)])
    (after,) = held.write([later(3, 1)])

    assert (answer.kind, answer.seq, answer.document) == ("late", 0, None)
    assert [(record.type, record.id) for record in log.late.after()] == [("payment", "p2")]
    assert (log.last_seq() - before, log.counts().late, log.counts().refused) == (1, 1, 0)
    assert msgspec.json.decode(after.document)["features"]["card.spent_1d"] == "5.00"
    assert verify_online(log).mismatches == 0


def test_a_late_event_that_comes_again_is_a_duplicate_and_its_id_is_taken():
    log = MemoryLog()
    held = keeping(log)
    held.write([later(1)])
    first, again, other = held.write([payment(2, 1), payment(2, 1), payment(2, 1, amount="9.00")])

    assert (first.kind, again.kind, other.kind, other.is_conflict) == ("late", "duplicate", "refused", True)


def test_a_late_event_is_known_after_a_start_and_where_it_comes_in_time():
    store = MemoryLog()
    held = keeping(store)
    held.write([later(1)])
    held.write([payment(2, 1)])
    store.close()
    log = MemoryLog(store.store)
    again, other = keeping(log).write([payment(2, 1), later(2)])

    assert (again.kind, other.kind, other.is_conflict) == ("duplicate", "refused", True)


def test_another_personal_value_is_counted_beside_an_open_batch_and_of_a_late_event_too():
    log = MemoryLog()
    held = keeping(log)
    ann, bob = (("name", "Ann"),), (("name", "Bob"),)
    held.write([replace(later(1), personal=ann)])
    held.prepare([replace(payment(2, 1), personal=ann)])
    rows = [replace(later(1), personal=bob), replace(payment(2, 1), personal=bob), later(1)]
    again = held.prepare(rows, known=held.look_up(rows))

    assert [answer.kind for answer in again.answers] == ["duplicate"] * 3
    assert [remark.asker for remark in again.batch.remarks] == ["payment.name"] * 2
    assert not again.batch.personal


def test_a_source_that_does_not_keep_them_quarantines_late_events():
    log = MemoryLog()
    held = writer(log)
    held.write([later(1)])
    (answer,) = held.write([payment(2, 1)])

    assert (answer.kind, log.counts().late, log.counts().refused) == ("refused", 0, 1)


def test_late_events_are_exported_with_the_time_of_their_arrival(project, capsys):
    taken(project)
    with project.log.writing() as (held, _):
        held.keeps_late = True
        late = submission("payment", 9, {**ROWS[0], "id": "late", "at": "2026-01-01T00:00:00Z"})
        held.write([replace(late, personal=(("name", "Ann"),))])
    assert run(["-C", str(project.context.paths.folder), "export", "late", "--format", "csv"]) == 0
    header, row = capsys.readouterr().out.splitlines()

    assert header == "event,id,time,arrived,fields"
    assert row.startswith("payment,late,2026-01-01T00:00:00Z,")
    with project.log.reading() as log:
        assert isinstance(log.late.with_ids("payment", ["late"])["late"], LateEvent)
        assert log.personal.of("payment", ["late"]) == {"late": {"name": "Ann"}}
