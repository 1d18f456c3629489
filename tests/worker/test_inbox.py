"""The inbox: what is asked of a writer at work, in which order it is done, and what is said where it cannot be."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Timer

import msgspec
import pytest

from shroff.adapters.databases.sqlite_file import PAGE_BYTES, connect_beside
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people import database as people_database
from shroff.cli.main import run
from shroff.cli.session import Session
from shroff.errors import LogBusyError, StateError, StorageError, UsageError
from shroff.log import version_switch
from shroff.log.writer import Answer, Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.people import erasure as privacy_erasure
from shroff.services.project_log import ProjectLog
from shroff.services.quarantine import entries as quarantine
from shroff.streams.log import Batch, Log, Refused, Reply
from shroff.worker import inbox, inbox_server
from shroff.worker.inbox import (
    ADOPT,
    DROP,
    LABELS,
    RETRY,
    WATERMARK,
    answers_of,
    ask,
    drop_request,
    labels_request,
    retried_of,
    retry_request,
)
from shroff.worker.inbox_server import InboxServer
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.log_memory_parts import quarantined
from tests.support.patience import SleptClock
from tests.support.projects import FILES, NOW_MS, at_work, intake_of, label, payment, write_files, writer

Changes = Mapping[str, str | None]
OTHER_TYPE = "\nrefund:\n  id: id\n  time: at\n  fields: { id: text, at: time }\n"
MORE = {"features.yaml": FILES["features.yaml"] + "  largest_1d: max(payment.amount) over 1d\n"}


class Desk:
    """A writer at work with its inbox, and the project's files as they are now."""

    def __init__(self, changes: Changes | None = None) -> None:
        self.log = MemoryLog(MemoryStore())
        self.writer = writer(self.log, changes)
        self.files: dict[str, str | None] = dict(changes or {})
        self.inbox = InboxServer(self.log, self.writer, intake_of, self.load, self.reader)

    def load(self, _: object = None) -> Definitions:
        files = {**FILES, **self.files}
        return load_definitions({name: text for name, text in files.items() if text is not None}).or_raise()

    def reader(self) -> MemoryLog:
        return MemoryLog(self.log.store, read_only=True)

    def ask(self, kind: str, body: bytes = b"null") -> int:
        return self.reader().inbox.ask(kind, body, NOW_MS)

    def label(self, number: int, event: str, verdict: str = "fraud") -> int:
        label_line = label(number, event, verdict, "analyst", "2026-04-01T00:00:00Z")
        return self.ask(LABELS, labels_request([label_line], 2))

    def serve_until(self, number: int) -> None:
        deadline = time.monotonic() + 120
        while self.log.inbox.reply_to(number) is None:
            assert time.monotonic() < deadline, "the request is not carried out"
            self.inbox.serve()

    def result(self, number: int) -> msgspec.Raw:
        reply = self.log.inbox.reply_to(number)
        assert reply is not None, "the request waits"
        return inbox.result_of(reply)

    def answer(self, number: int) -> Answer:
        (answer,) = answers_of(self.result(number))
        return answer


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.writer.write([payment(1), payment(2)])
    return made


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """The small project in a folder, with two payments in its log."""
    write_files(tmp_path / "small", FILES)
    fields = [{"id": f"p{n}", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "1.00"} for n in (1, 2)]
    app.open(tmp_path / "small").decide(fields, as_type="payment")
    return tmp_path / "small"


# ---- labels


def test_labels_are_taken_together_and_each_gets_its_answer(desk):
    first, waiting, again = desk.label(1, "p1"), desk.label(2, "p9"), desk.label(3, "p1")
    desk.inbox.serve()

    assert [desk.answer(number).kind for number in (first, waiting, again)] == ["taken", "waiting", "duplicate"]
    assert desk.log.inbox.pending() == []
    assert desk.log.last_seq() == 4
    assert desk.answer(again).seq == desk.answer(first).seq == 4


def test_a_label_that_the_door_refused_goes_to_quarantine_once(desk):
    number = desk.label(1, "p1", "guilty")
    desk.inbox.serve()

    assert desk.answer(number).kind == "refused"
    ((_, entry),) = quarantined(desk.log)
    assert "verdict" in entry.reason
    assert msgspec.json.decode(entry.raw)["verdict"] == "guilty"


def test_a_label_of_a_type_that_is_not_in_force_is_refused(desk):
    label_line = label(1, "p1", "fraud", "analyst", "2026-04-01T00:00:00Z")
    of_refund = replace(label_line, label=replace(label_line.label, event_type="refund"))
    number = desk.ask(LABELS, labels_request([of_refund], 2))
    desk.inbox.serve()

    assert "'refund' is not an event type" in desk.answer(number).reason


def test_requests_are_carried_out_in_the_order_of_their_numbers(desk):
    first = desk.label(1, "p1", "guilty")
    dropped, second = desk.ask(DROP, drop_request([1])), desk.label(2, "p2", "guilty")
    desk.inbox.serve()

    assert msgspec.json.decode(desk.result(dropped)) == 1
    assert [desk.answer(number).kind for number in (first, second)] == ["refused", "refused"]
    assert [entry.place for _, entry in quarantined(desk.log)] == ["2"]


def test_a_watermark_is_set_back_once_though_the_writer_is_killed_right_behind_the_commit(desk, monkeypatch):
    at_ms, append = desk.log.watermark_ms() - 1, desk.log.append
    number = desk.ask(WATERMARK, msgspec.json.encode((at_ms, "a mistyped year")))

    def killed(batch: Batch) -> None:
        append(batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.log, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.inbox.serve()
    monkeypatch.undo()
    InboxServer(desk.log, writer(desk.log), intake_of, desk.load, desk.reader).serve()

    seq, set_back = msgspec.json.decode(desk.result(number))
    assert (seq, set_back["because"]) == (desk.log.last_seq(), "a mistyped year")
    assert len(desk.log.controls()) == 2


# ---- what cannot be read


@pytest.mark.parametrize(
    "kind, body", [("forget", b"{}"), (LABELS, b"[1]"), (LABELS, b"no"), (RETRY, b"[]"), (DROP, b'{"a":1}')]
)
def test_a_request_that_cannot_be_read_is_refused_and_stops_nothing(desk, kind, body):
    number, after = desk.ask(kind, body), desk.label(1, "p1")
    desk.inbox.serve()

    with pytest.raises(UsageError, match=f"cannot read this request .{kind}"):
        desk.result(number)
    assert desk.answer(after).kind == "taken"


# ---- quarantine


def refused(place: str, raw: bytes) -> Refused:
    return Refused("a.jsonl", place, "payment", "because", raw, NOW_MS)


GOOD = b'{"payment":{"id":"p8","at":"2026-03-01T12:00:00Z","card":"c","amount":"1.00"}}'
BAD = GOOD.replace(b"1.00", b"much")


def test_what_is_retried_leaves_quarantine_with_its_event(desk):
    desk.log.append(Batch(refused=[refused("1", GOOD), refused("2", BAD)]))
    number = desk.ask(RETRY, retry_request([], {}))
    desk.inbox.serve()

    assert [(row.place, row.stays) for row in retried_of(desk.result(number))] == [("1", False), ("2", True)]
    assert [entry.place for _, entry in quarantined(desk.log)] == ["2"]
    assert set(desk.log.find("payment", ["p8"])) == {"p8"}


def test_many_entries_are_retried_a_page_after_the_other_with_decisions_between(desk, monkeypatch):
    monkeypatch.setattr(inbox_server, "PAGE", 2)
    desk.log.append(Batch(refused=[refused(str(n), GOOD.replace(b"p8", b"r%d" % n)) for n in range(5)]))
    number = desk.ask(RETRY, retry_request([], {}))
    desk.inbox.serve()
    desk.writer.write([payment(9)])
    assert set(desk.log.find("payment", ["r0", "r1", "r2", "p9"])) == {"r0", "r1", "p9"}
    assert desk.log.inbox.reply_to(number) is None
    # killed here, and begun anew
    desk.inbox = InboxServer(desk.log, desk.writer, intake_of, desk.load, desk.reader)
    desk.inbox.serve()
    desk.inbox.serve()

    assert [row.number for row in retried_of(desk.result(number))] == [3, 4, 5]
    assert (desk.log.quarantine.numbers(), desk.log.inbox.pending()) == ([], [])


def test_what_is_dropped_is_gone_and_a_wrong_number_is_said(desk):
    desk.log.append(Batch(refused=[refused("1", BAD), refused("2", BAD)]))
    first, wrong = desk.ask(DROP, drop_request([2])), desk.ask(DROP, drop_request([2]))
    desk.inbox.serve()

    assert msgspec.json.decode(desk.result(first)) == 1
    with pytest.raises(UsageError, match="no entry 2 in quarantine"):
        desk.result(wrong)
    assert [number for number, _ in quarantined(desk.log)] == [1]


def test_a_retry_is_judged_by_the_files_as_they_are_now(desk):
    desk.log.append(Batch(refused=[refused("1", GOOD)]))
    desk.files["rules/large.yaml"] = FILES["rules/large.yaml"].replace("> 100", "> 0.50")
    number = desk.ask(RETRY, retry_request([], {}))
    desk.serve_until(number)

    assert desk.log.decisions.of("payment", ["p8"])["p8"].outcome == "review"


def test_quarantine_is_listed_and_searched_some_entries_at_a_time(desk, monkeypatch):
    desk.log.append(Batch(refused=[refused(f"{number}", GOOD) for number in range(5)]))
    monkeypatch.setattr(quarantine, "TOGETHER", 2)
    parts = list(quarantine.refused_parts(desk.log))

    assert [[number for number, _ in part] for part in parts] == [[1, 2], [3, 4], [5]]
    assert privacy_erasure._mentioned(desk.log, "p8", {}) == (1, 2, 3, 4, 5)
    assert privacy_erasure._mentioned(desk.log, "nobody", {}) == ()


# ---- versions


def test_a_version_takes_over_while_labels_go_ahead_and_all_else_waits(desk, monkeypatch):
    go_on = Event()
    folding = version_switch.fold
    monkeypatch.setattr(version_switch, "NEAR", 0)
    monkeypatch.setattr(
        version_switch, "fold", lambda *args, **options: (go_on.wait(120), folding(*args, **options))[1]
    )
    desk.files |= MORE
    adopted, dropped, labelled = desk.ask(ADOPT), desk.ask(DROP, drop_request([])), desk.label(1, "p1")
    desk.inbox.serve()
    desk.writer.write([payment(3)])
    desk.inbox.serve()

    assert desk.answer(labelled).kind == "taken"
    assert [request.number for request in desk.log.inbox.pending()] == [adopted, dropped]
    go_on.set()
    desk.serve_until(dropped)
    assert bytes(desk.result(adopted)) == b"null"
    (answer,) = desk.writer.write([payment(4, 1)])
    assert msgspec.json.decode(answer.document)["features"]["card.largest_1d"] == "5.00"
    assert [record.seq for record in desk.log.controls()] == [1, 6]


def test_files_that_say_the_same_put_no_version_in_force(desk):
    desk.files["features.yaml"] = "# a remark\n" + FILES["features.yaml"]
    number = desk.ask(ADOPT)
    desk.inbox.serve()

    assert bytes(desk.result(number)) == b"null"
    assert len(desk.log.controls()) == 1


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"events.yaml": FILES["events.yaml"].replace("entities:", OTHER_TYPE + "entities:")},
            "events.yaml, shroff.yaml or",
        ),
        ({"shroff.yaml": FILES["shroff.yaml"].replace("EUR", "USD")}, "Start it again"),
        ({"features.yaml": "card:\n  a: count(x)\n  b: count(y)\n"}, "have 2 mistakes.*'shroff check' names them"),
    ],
)
def test_files_that_cannot_come_into_force_now_say_why_and_the_old_version_goes_on(desk, changes, words):
    desk.files |= changes
    number = desk.ask(ADOPT)
    desk.inbox.serve()

    with pytest.raises(UsageError, match=words):
        desk.result(number)
    assert desk.writer.write([payment(3)])[0].kind == "decided"
    assert len(desk.log.controls()) == 1


def test_lateness_may_change_beside_what_reads_its_input(desk):
    desk.files["shroff.yaml"] = FILES["shroff.yaml"] + "lateness: 2h\n"
    number = desk.ask(ADOPT)
    desk.serve_until(number)
    early, late = desk.writer.write([payment(3, 200), payment(4, 1)])

    assert (early.kind, late.kind) == ("decided", "refused")


def test_a_version_that_fails_on_the_log_is_refused_and_the_old_one_goes_on(desk, monkeypatch):
    def fail(*_args: object, **_options: object) -> None:
        raise StorageError("the log is damaged")

    monkeypatch.setattr(version_switch, "fold", fail)
    monkeypatch.setattr(version_switch, "NEAR", 0)
    desk.files |= MORE
    number = desk.ask(ADOPT)
    desk.serve_until(number)

    with pytest.raises(UsageError, match="cannot become active: the log is damaged"):
        desk.result(number)
    assert desk.writer.write([payment(3)])[0].kind == "decided"


@pytest.mark.parametrize("failure", [LogBusyError("the log is held"), StorageError("the disk fails")])
@pytest.mark.parametrize("where", ["load", "reader"])
def test_a_version_that_cannot_be_had_now_is_refused_and_the_writer_goes_on(desk, monkeypatch, failure, where):
    def fail(_: object = None) -> None:
        raise failure

    monkeypatch.setattr(version_switch, "NEAR", 0)
    desk.files |= MORE
    desk.inbox = InboxServer(
        desk.log,
        desk.writer,
        intake_of,
        fail if where == "load" else desk.load,
        fail if where == "reader" else desk.reader,
    )
    number = desk.ask(ADOPT)
    desk.serve_until(number)

    with pytest.raises(UsageError, match=f"the project's files cannot .*: {failure}"):
        desk.result(number)
    assert desk.writer.write([payment(3)])[0].kind == "decided"


def test_a_request_that_the_log_does_not_know_is_not_waited_for(desk):
    number = desk.ask(ADOPT)
    later = desk.ask("nothing")
    for gone in (number, later):
        desk.log.append(Batch(replies=[Reply(gone, b"1")]))
        desk.log.store.replies.pop(gone)
        with pytest.raises(StateError, match=f"request {gone} does not wait"):
            desk.inbox.replied(gone)
    with pytest.raises(StateError, match="ask again"):
        desk.inbox.replied(10**6)

    assert desk.log.last_seq() == 3


def test_an_inbox_that_is_closed_gives_up_a_version_and_leaves_its_request(desk, monkeypatch):
    monkeypatch.setattr(version_switch, "NEAR", 0)
    begun = Event()
    folding = version_switch.fold

    def slow(log: Log, now: Definitions, end: int, go_on: Callable[[int], None], start: object) -> object:
        begun.set()
        while True:
            go_on(1)
            time.sleep(0.001)

    monkeypatch.setattr(version_switch, "fold", slow)
    desk.files |= MORE
    number = desk.ask(ADOPT)
    desk.inbox.serve()
    assert begun.wait(120)
    desk.inbox.close()

    assert [request.number for request in desk.log.inbox.pending()] == [number]
    monkeypatch.setattr(version_switch, "fold", folding)
    desk.log.close()
    again = InboxServer(
        log := MemoryLog(desk.log.store), Writer(log, desk.load(), lambda: NOW_MS), intake_of, desk.load, desk.reader
    )
    assert again.replied(number)
    assert len(log.controls()) == 2


# ---- the one that asks


@contextmanager
def read(log: Log) -> Iterator[Log]:
    yield log


def put(log: Log) -> int:
    return log.inbox.ask(ADOPT, b"null", NOW_MS)


def busy(_number: int | None) -> bytes:
    raise LogBusyError("log.db is being written by process 7. Stop that process", "process 7")


def test_one_that_waits_too_long_is_told_that_its_request_stays(desk, monkeypatch):
    monkeypatch.setattr(inbox, "time", SleptClock())
    monkeypatch.setattr(inbox, "PATIENCE_S", 0.05)
    monkeypatch.setattr(inbox, "_TURN_S", 0.02)
    told: list[str] = []
    with pytest.raises(
        LogBusyError,
        match=r"process 7 .* The request is queued for the active writer; do not "
        r"repeat it$",
    ):
        ask(put, busy, lambda: read(desk.reader()), told.append)

    assert told == [f"{inbox.LEFT}."]
    assert len(desk.log.inbox.pending()) == 1


def test_one_that_could_not_ask_is_told_that_nothing_waits(desk, monkeypatch):
    monkeypatch.setattr(inbox, "PATIENCE_S", 0.02)

    @contextmanager
    def held() -> Iterator[Log]:
        raise LogBusyError("log.db is held by another program")
        yield

    with pytest.raises(LogBusyError, match=r"^process 7 writes the log.*The request was not queued; try again$"):
        ask(put, busy, held, lambda _words: None)
    assert not desk.log.inbox.pending()


def test_one_that_waits_is_told_once_for_whom(desk, monkeypatch):
    monkeypatch.setattr(inbox, "time", SleptClock())
    monkeypatch.setattr(inbox, "PATIENCE_S", 0.2)
    monkeypatch.setattr(inbox, "QUIET_S", 0.05)
    monkeypatch.setattr(inbox, "_TURN_S", 0.02)
    told: list[str] = []
    with pytest.raises(LogBusyError):
        ask(put, busy, lambda: read(desk.reader()), lambda _words: None, told.append)

    assert told == ["waiting for process 7, which writes the log and runs this request between two batches."]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["label", "payment/p1", "fraud"],
        ["quarantine", "retry"],
        ["quarantine", "drop", "--all"],
        ["snapshot"],
        ["lists", "add", "blocked", "c"],
    ],
    ids=" ".join,
)
def test_commands_that_wait_say_for_whom_and_what_holds(bank, monkeypatch, capsys, words):
    (bank / "lists").mkdir()
    (bank / "lists" / "blocked.csv").write_text("value,note,added_by,expires_at\n")
    monkeypatch.setattr(inbox, "time", SleptClock())
    monkeypatch.setattr(inbox, "PATIENCE_S", 0.6)
    monkeypatch.setattr(inbox, "QUIET_S", 0.02)
    monkeypatch.setattr(inbox, "_TURN_S", 0.02)
    with app.open(bank).log.writing():
        code = run(["-C", str(bank), *words])
        said = capsys.readouterr()

    assert said.err.count(f"shroff: waiting for process {os.getpid()}, which writes the log") == 1
    assert code == (0 if words[0] == "lists" else 3)
    assert "and did not run this request within 0.6 s" in said.out + said.err
    assert "do not repeat it" in said.out + said.err
    assert "Stop that process" not in said.out + said.err


def test_a_command_of_many_requests_says_once_for_whom_it_waits(capsys):
    session = Session()
    for _ in range(3):
        session.lasts("waiting for process 7.")

    assert capsys.readouterr().err == "shroff: waiting for process 7.\n"


def test_where_the_writer_goes_away_the_one_that_waits_takes_the_log(desk, monkeypatch):
    monkeypatch.setattr(inbox, "_TURN_S", 0.02)
    numbers: list[int | None] = []

    def alone(number: int | None) -> bytes:
        numbers.append(number)
        return busy(number) if len(numbers) < 3 else desk.inbox.replied(number or 0)

    result = ask(put, alone, lambda: read(desk.reader()), lambda _words: None)
    assert bytes(result) == b"null"
    assert numbers == [None, 1, 1]


def test_ctrl_c_while_waiting_says_that_the_request_stays(bank, monkeypatch, capsys):
    def interrupted(_log: Log, _number: int) -> bytes | None:
        raise KeyboardInterrupt

    project = app.open(bank)
    monkeypatch.setattr(inbox, "_await_reply", interrupted)
    with project.log.writing() as (_, log):
        assert run(["-C", str(bank), "label", "p1", "fraud"]) == 130
        waiting = log.inbox.pending()

    assert "Stopped. The request is queued for the active writer" in capsys.readouterr().err
    assert [request.kind for request in waiting] == [LABELS]


# ---- a project beside one that writes


def test_single_labels_and_files_of_them_come_in_beside_a_writer(bank, capsys):
    rows = ["event,verdict,source,known_at"]
    rows += [f"p{n},fraud,chargeback,2026-04-0{n}T00:00:00Z" for n in (1, 2, 3)]
    rows += [rows[1], "p1,guilty,analyst,2026-04-01T00:00:00Z"]
    (bank / "labels.csv").write_text("\n".join(rows) + "\n")
    with at_work(bank):
        assert app.open(bank).label("p1", "genuine", source="analyst").kind == "taken"
        assert run(["-C", str(bank), "label", str(bank / "labels.csv"), "--json"]) == 4

    found = msgspec.json.decode(capsys.readouterr().out)
    assert found == {"read": 5, "appended": 2, "pending": 1, "duplicates": 1, "quarantined": 1}
    with app.open(bank).log.reading() as log:
        assert (log.inbox.pending(), len(log.waiting.all()), len(quarantined(log))) == ([], 1, 1)


def test_quarantine_is_mended_beside_a_writer(bank):
    lines = bank / "a.jsonl"
    lines.write_bytes(BAD + b"\n" + BAD.replace(b"p8", b"p9") + b"\n")
    app.open(bank).ingest([lines])
    with at_work(bank) as other:
        assert app.open(bank).quarantine.drop([1]) == 1
        (result,) = app.open(bank).quarantine.retry([])
        with pytest.raises(UsageError, match="no entry 1 in quarantine"):
            app.open(bank).quarantine.drop([1])
        assert other.definitions is not None

    assert (result.number, result.stays) == (2, True)


def test_a_snapshot_is_saved_by_the_process_that_writes(bank, capsys):
    with at_work(bank):
        assert run(["-C", str(bank), "snapshot", "--json"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out)

    assert (found["seq"], Path(found["file"]).stat().st_size) == (3, found["bytes"])
    with app.open(bank).log.writing() as (held, _):
        assert held.unsaved == 0


def test_a_snapshot_that_the_writer_cannot_save_is_an_error_of_the_disk_and_it_goes_on(bank, capsys):
    (bank / ".shroff" / "snapshots").write_text("in the way")
    with at_work(bank) as other:
        assert run(["-C", str(bank), "snapshot", "--json"]) == 3
        assert app.open(bank).label("p1", "fraud").kind == "taken"
        assert other.definitions is not None

    assert "snapshots" in msgspec.json.decode(capsys.readouterr().out)["detail"]


def test_who_asks_beside_a_writer_that_has_just_begun_waits_for_its_log(bank, monkeypatch):
    monkeypatch.setattr("shroff.services.writer.requests.MADE_WITHIN_S", 120.0)
    project, log, aside = app.open(bank), bank / ".shroff" / "log.db", bank / ".shroff" / "aside"
    log.rename(aside)
    Timer(0.2, lambda: aside.rename(log)).start()

    with project.requests.beside() as found:
        assert found.last_seq() == 3


@pytest.mark.parametrize("room", [150_000, 20_000])
def test_a_label_that_a_full_disk_does_not_take_says_whether_it_waits(bank, monkeypatch, capsys, room):
    #  a request of 120 kB, and half as much again where it is carried out: the disk is full in between, or before
    path = app.open(bank).context.paths.log
    app.open(bank).people.record("test.begin", "the tables of people")
    with closing(SqliteLog(path)):
        size = path.stat().st_size
    words = ["-C", str(bank), "label", "payment/p1", "fraud", "--reason", "x" * 60_000]

    def small(_project: app.Project, *, read_only: bool) -> SqliteLog:
        return SqliteLog(path, read_only=read_only, max_bytes=None if read_only else size + room)

    def small_beside(path: Path, version: int, **more: bool) -> sqlite3.Connection:
        connection = connect_beside(path, version, **more)
        connection.execute(f"PRAGMA max_page_count = {(size + room) // PAGE_BYTES}")
        return connection

    with monkeypatch.context() as full:
        full.setattr(ProjectLog, "open", small)
        full.setattr(people_database, "connect_beside", small_beside)
        assert run(words) == 3
        said = capsys.readouterr().err
    assert "the disk is full" in said
    assert ("do not repeat it" in said) == (room == 150_000)
    assert run(["-C", str(bank), "label", "payment/p2", "genuine"]) == 0
    assert app.open(bank).labels()["id"].to_pylist() == (["p1", "p2"] if room == 150_000 else ["p2"])


def test_what_goes_wrong_in_the_inbox_is_raised_where_the_log_is_used_next(bank, monkeypatch):
    project = app.open(bank)

    def fail(self: InboxServer) -> None:
        raise StorageError("the disk fails")

    monkeypatch.setattr(InboxServer, "serve", fail)
    with project.log.writing() as (held, log), closing(project.inboxes.brief(held, log)) as served, served.attended():

        def use() -> None:
            for _ in range(12_000):
                with served.turn():
                    time.sleep(0.01)

        with pytest.raises(StorageError, match="the disk fails"):
            use()
