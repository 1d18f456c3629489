"""Entries of quarantine that come back to validation: each by itself, whatever its bytes are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.log.outbox import SqlOutbox
from shroff.adapters.log.records.records import SqlRecords
from shroff.adapters.log.waiting_labels import SqlWaitingLabels
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.events.formats.lines import CsvHeader
from shroff.events.intake import Intake
from shroff.monitoring import doctor_clock, doctor_rows
from shroff.services import project as app
from shroff.services.project_log import ProjectLog
from shroff.streams.log import Batch, Refused
from shroff.worker.quarantine_retry import Retried, retry
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, NOW_MS, at_work, definitions, write_files, writer

GOOD = b'{"id":"p8","at":"2026-03-01T12:00:00Z","card":"c","amount":"1.00"}\n'
BAD = GOOD.replace(b"1.00", b"much")
TWO = b"1,2026-03-01T12:00:00Z,c,1.00\n2,2026-03-01T12:00:00Z,c,1.00\n"
COLUMNS = ("id", "at", "card", "amount")


def entry(
    raw: bytes, source: str = "a.jsonl", place: str = "1", type_name: str = "payment", header: str = ""
) -> Refused:
    return Refused(source, place, type_name, "because", raw, NOW_MS - 5, header)


def retried(log: MemoryLog, headers: Mapping[str, CsvHeader] | None = None) -> list[Retried]:
    project = definitions()
    return retry(
        log, writer(log), Intake(project.events, project.settings, None), log.quarantine.numbers(), headers or {}
    )


@pytest.fixture
def bank(tmp_path: Path) -> app.Project:
    """The small project in a folder, without a log."""
    write_files(tmp_path / "small", FILES)
    return app.open(tmp_path / "small")


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (entry(b"\xff\xfegarbage\n", "-"), "invalid character"),
        (entry(b"\xef\xbb\xbf" + GOOD, "-"), "not JSON"),
        (entry(b""), "empty"),
        (entry(b"\n"), "empty"),
        (entry(GOOD + GOOD.replace(b"p8", b"p7")), "more than one line"),
        (entry(b"", "a.csv"), "empty"),
        (entry(TWO, "a.csv"), "more than one line"),
        (entry(b'1,2026-03-01T12:00:00Z,"c,1.00\n', "a.csv"), "does not end"),
        (
            entry(b"1,2026-03-01T12:00:00Z\n", "b.csv", header=CsvHeader(COLUMNS).text),
            "has 2 columns, the header has 4",
        ),
        (entry(GOOD, type_name="gone"), "gone"),
        (entry(b"{}", "waiting labels", "payment/p1", "label"), "missing"),
        (entry(b"[" * 100_000), "nested too deep"),
    ],
)
def test_an_odd_entry_is_refused_again_and_the_others_come_in(odd, words):
    log = MemoryLog()
    log.append(Batch(refused=[odd, entry(GOOD, "b.jsonl")]))
    first, second = retried(log, {"a.csv": CsvHeader(COLUMNS)})

    assert (first.number, first.outcome) == (1, "refused")
    assert words in first.reason
    assert (second.number, second.outcome) == (2, "decided")
    assert [(kept.source, kept.raw) for _, kept in quarantined(log)] == [(odd.source, odd.raw)]


def test_what_is_refused_again_has_its_newest_reason():
    log = MemoryLog()
    log.append(Batch(refused=[entry(BAD)]))
    (result,) = retried(log)

    ((number, kept),) = quarantined(log)
    assert (number, kept.at_ms) == (1, NOW_MS - 5), "nobody sent it again"
    assert kept.reason == result.reason
    assert kept.reason.startswith("amount: expected an amount")


@pytest.mark.parametrize("card", ["Müller", "c"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_csv_line_comes_back_under_a_header_that_is_no_ascii(card, encoding):
    raw = f"p8,2026-03-01T12:00:00Z,{card},1.00,x\r\n".encode(encoding)
    log = MemoryLog()
    log.append(Batch(refused=[entry(raw, "a.csv")]))
    (result,) = retried(log, {"a.csv": CsvHeader((*COLUMNS, "Gebühr"))})

    assert (result.outcome, result.reason) == ("decided", "")
    assert card.encode() in log.find("payment", ["p8"])["p8"].body


@pytest.mark.parametrize("source", ["-", "python", "shroff label"])
def test_what_no_file_brought_is_json_lines(source):
    log = MemoryLog()
    log.append(Batch(refused=[entry(b"p8,2026\n", source)]))
    (result,) = retried(log)

    assert "not JSON" in result.reason


@pytest.mark.parametrize("source", ["march.csv", "march.txt"])
def test_a_json_object_is_no_line_of_csv_whatever_its_file_is_called(source):
    log = MemoryLog()
    log.append(Batch(refused=[entry(GOOD, source)]))
    (result,) = retried(log)

    assert result.outcome == "decided"


# ---- in a project


@pytest.fixture
def asked(bank: app.Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def ask(*words: str) -> dict[str, Any]:
        run(["-C", str(bank.context.paths.folder), *words, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return ask


def test_refused_csv_lines_are_fixed_by_a_corrected_file_and_retried_without_it(bank, asked):
    folder = bank.context.paths.folder
    moment = "2026-03-01T12:00:00Z"
    (folder / "bad.csv").write_text(f"card,id,at,amount\nc,p1,{moment},much\nc,p2,{moment},1.00\nc,p3,{moment},more\n")
    (folder / "good.csv").write_text(f"id,at,card,amount\np1,{moment},c,7.00\n")
    asked("ingest", str(folder / "bad.csv"), "--as", "payment")
    before = [entry["fixed_by"] for entry in asked("quarantine", "list")["entries"]]
    asked("ingest", str(folder / "good.csv"), "--as", "payment")
    after = [entry["fixed_by"] for entry in asked("quarantine", "list")["entries"]]
    # a later file of that name with other columns: each line is read by the header that its own file had
    (folder / "bad.csv").write_text(f"id,card,amount,at\np4,c,lots,{moment}\n")
    asked("ingest", str(folder / "bad.csv"), "--as", "payment")
    assert (before, after) == ([None, None], ["payment/p1", None])
    for _ in range(2):
        reasons = [entry["reason"].rpartition(" ")[2] for entry in asked("quarantine", "retry")["entries"]]
        assert reasons == ["'much'", "'more'", "'lots'"]
    assert [entry["fixed_by"] for entry in asked("quarantine", "list")["entries"]] == ["payment/p1", None, None]


def test_a_conflict_is_not_fixed_by_the_event_that_it_conflicts_with(bank, asked):
    file = bank.context.paths.folder / "reused_ids.csv"
    rows = [f"p1,2026-03-01T12:0{minute}:00Z,c,7.00\n" for minute in range(3)]
    file.write_text("id,at,card,amount\n" + "".join(rows))
    asked("ingest", str(file), "--as", "payment")

    assert [entry["fixed_by"] for entry in asked("quarantine", "list")["entries"]] == [None, None]


PAYMENTS = "id;at;card;amount\np1;2026-03-01T12:00:00Z;c;{}\n"
LABELS = "event;verdict;known_at;amount\np0;fraud;2026-03-02T12:00:00Z;{}\n"


SYNC, LABEL = ["sources", "sync", "nightly"], ["label", "{}"]


@pytest.mark.parametrize(
    ("way", "text", "fixed_by", "is_beside"),
    [
        (["ingest", "{}", "--as", "payment"], PAYMENTS, "payment/p1", False),
        (["run", "--from", "{}", "--as", "payment"], PAYMENTS, "payment/p1", False),
        (["decide", "{}", "--as", "payment"], PAYMENTS, "payment/p1", False),
        (SYNC, PAYMENTS, "payment/p1", False),
        (SYNC, PAYMENTS, "payment/p1", True),
        (LABEL, LABELS, "payment/p0", False),
        (LABEL, LABELS, "payment/p0", True),
    ],
    ids=["ingest", "run", "decide", "sync", "sync beside a writer", "label", "label beside a writer"],
)
def test_a_line_of_csv_keeps_its_columns_whatever_way_it_came(bank, asked, way, text, fixed_by, is_beside):
    folder = bank.context.paths.folder
    (folder / "shroff.yaml").write_text(
        FILES["shroff.yaml"] + "sources: { nightly: { files: { from: ., settled: 0s } } }"
    )
    bank.decide([{"id": "p0", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "1.00"}], as_type="payment")
    with at_work(folder) if is_beside else nullcontext():
        for name, amount in (("bad.csv", "much"), ("good.csv", "1.00")):
            (folder / name).write_text(text.format(amount))
            asked(*(word.format(folder / name) for word in way))
            (listed,) = asked("quarantine", "list")["entries"]
            assert listed["fixed_by"] == (None if name == "bad.csv" else fixed_by)
        (again,) = asked("quarantine", "retry")["entries"]
    assert again["reason"].endswith("found 'much'")


def test_nothing_of_quarantine_and_no_refused_label_makes_a_log(bank, capsys):
    folder = str(bank.context.paths.folder)
    for asked in (["quarantine", "retry"], ["label", "p1", "fraud", "--known-at", "soon"]):
        assert run(["-C", folder, *asked]) == 2
        assert "no log yet" in capsys.readouterr().err
    assert not bank.context.paths.log.exists()

    assert run(["-C", folder, "label", "p1", "fraud"]) == 0  # waits for its event


def test_dropping_all_drops_what_was_there_when_it_was_asked(bank, tmp_path, monkeypatch):
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(BAD)
    bank.ingest([lines], as_type="payment")
    opened = bank.log.open

    def later(*, read_only: bool) -> object:
        """Opens the log when two things happened meanwhile: one more entry came, and one was dropped."""
        log = opened(read_only=read_only)
        if not read_only:
            log.append(Batch(refused=[entry(b"new", place="9")], dropped=[1]))
        return log

    lines.write_bytes(BAD.replace(b"p8", b"p9"))
    bank.ingest([lines], as_type="payment")
    monkeypatch.setattr(ProjectLog, "open", lambda _self, *, read_only: later(read_only=read_only))
    dropped = bank.quarantine.drop([])
    monkeypatch.undo()

    assert dropped == 1
    with bank.log.reading() as log:
        assert [kept.place for _, kept in quarantined(log)] == ["9"]
    with pytest.raises(UsageError, match="no entry 1 in quarantine"):
        bank.quarantine.drop([1])


def test_a_label_that_waits_is_named_as_it_was_understood(bank, capsys):
    bank.decide([{"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "1.00"}], as_type="payment")
    folder = str(bank.context.paths.folder)
    assert run(["-C", folder, "label", "payments/x", "fraud"]) == 4
    said = capsys.readouterr().out.splitlines()[0]
    assert said == "The label was refused: event: 'payments' is not an event type. Did you mean payment?"
    texts = []
    for named in ("nope/x", "x", "payment/x2"):
        assert run(["-C", folder, "label", named, "fraud"]) == 0
        texts.append(capsys.readouterr().out.splitlines()[0])

    assert texts == [
        "payment/nope/x is not in the log yet; the label 'fraud' waits for it.",
        "payment/x is not in the log yet; the label 'fraud' waits for it.",
        "payment/x2 is not in the log yet; the label 'fraud' waits for it.",
    ]


def test_waiting_labels_that_name_a_type_that_is_not_declared_are_told_with_an_example(bank, tmp_path, capsys):
    folder, file = str(bank.context.paths.folder), tmp_path / "labels.csv"
    names = ("login/1", "x", "nosuch/2", "payment/x2", "2026/3", "p/q")
    rows = "".join(f"{name},fraud,2026-03-01T12:00:00Z\n" for name in names)
    file.write_text(f"event,verdict,known_at\n{rows}p1,fraud,2026-03-01T12:00:00Z\n", encoding="utf-8")
    assert run(["-C", folder, "label", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()

    assert told[0] == "7 labels read: 0 appended, 7 waiting for their event, 0 already in the log, 0 quarantined."
    assert told[1].startswith("3 waiting labels name an event such as 'login/1'. events.yaml declares no event type 'l")
    run(["-C", folder, "doctor"])
    assert "7 have no matching event yet (3 by an id such as 'login/1': no such" in capsys.readouterr().out
    # One that comes with its event waits no longer.
    event = b'{"id":"login/9","at":"2026-03-01T12:00:00Z","card":"c","amount":"1.00"}\n'
    (tmp_path / "a.jsonl").write_bytes(event)
    file.write_text("event,verdict,known_at\nlogin/9,fraud,2026-03-01T11:00:00Z\n", encoding="utf-8")
    assert run(["-C", folder, "label", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["undeclared"] == {"count": 1, "example": "login/9"}
    file.write_text("event,verdict,known_at\nlogin/8,fraud,2026-03-01T12:00:00Z\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_bytes(event.replace(b"login/9", b"login/8"))
    given = ["ingest", str(tmp_path / "a.jsonl"), "--as", "payment", "--labels", str(file)]
    assert run(["-C", folder, *given]) == 0
    assert "waiting labels name" not in capsys.readouterr().out


def test_a_label_by_hand_may_have_an_amount(bank, capsys):
    bank.decide([{"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "1.00"}], as_type="payment")
    folder = str(bank.context.paths.folder)

    assert run(["-C", folder, "label", "p1", "fraud", "--amount", "0.005"]) == 4
    assert "amount" in capsys.readouterr().out
    assert run(["-C", folder, "label", "p1", "fraud", "--amount", "0.50"]) == 0
    assert run(["-C", folder, "label", "a.csv", "--amount", "0.50"]) == 2
    with bank.log.reading() as log:
        (record,) = (item for part in log.read() for item in part if item.kind == "label")
    assert b'"amount":"0.50"' in record.body


def test_nothing_is_read_as_a_whole_to_count_it_or_to_take_one(bank, tmp_path, monkeypatch, capsys):
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(BAD + BAD.replace(b"p8", b"p9"))
    bank.ingest([lines], as_type="payment")

    def fail(*_args: object, **_options: object) -> object:
        raise AssertionError("all of it is read")

    monkeypatch.setattr(SqlWaitingLabels, "all", fail)
    monkeypatch.setattr(SqlOutbox, "rows", fail)
    with monkeypatch.context() as patched:
        patched.setattr(SqlRecords, "read", fail)
        patched.setattr(doctor_rows, "_check", lambda *_: None)  # it reads rows for a second at most
        patched.setattr(doctor_clock, "_shifted_words", lambda *_: "")  # it reads the newest 100 events
        found = {item.subject: item for item in bank.health.doctor()}
        assert run(["-C", str(bank.context.paths.folder), "quarantine", "show", "2"]) == 0
        dropped = bank.quarantine.drop([1])

    assert found["quarantine"].words == "2 refused"
    assert found["active version"].words == "the project's files"
    assert '"p9"' in capsys.readouterr().out
    assert dropped == 1
