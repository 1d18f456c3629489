"""A project's sinks: delivery by hand and beside a writer, what is stuck, and what people are shown of it."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from shroff import webhooks
from shroff.cli.main import run
from shroff.errors import LogBusyError, UsageError
from shroff.log.writer import Writer
from shroff.notices.triggers import BEGUN, SOURCE
from shroff.runtime import state_folder
from shroff.services import project as app
from shroff.services.sinks.routes import sink_routes
from shroff.streams.log import InboxRequest
from shroff.streams.sink_cursor import THROUGH, DeliveryProgress, source_of
from shroff.worker.inbox import ADOPT
from shroff.worker.inbox_server import carry_out
from shroff.worker.outbox import OUTBOX, key_of, outbox_request
from shroff.worker.request_queue import RequestQueue
from tests.contracts.receivers import receiver
from tests.support.patience import until
from tests.support.projects import FILES

SINKS = """
sinks:
  table: { sql: { url: "sqlite:///out.db", table: decisions } }
  flagged: { sql: { url: "sqlite:///out.db", table: flags, take: flags } }
"""
HOOK = '  hook: { webhook: { url: "%s", secret: "${HOOK_SECRET}", start: first, outcomes: [review] } }\n'


def events(first: int, count: int) -> list[dict[str, str]]:
    """Payments, every third of them so large that it is flagged and reviewed."""
    return [
        {"id": f"p{n}", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "500.00" if n % 3 == 0 else "5.00"}
        for n in range(first, first + count)
    ]


def bank(folder: Path, sinks: str = SINKS) -> app.Project:
    for name, text in {**FILES, "shroff.yaml": FILES["shroff.yaml"] + sinks}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return app.open(folder)


def rows(project: app.Project, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(project.context.paths.folder / "out.db")) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def project(tmp_path):
    return bank(tmp_path / "bank")


@pytest.fixture
def received(monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "a secret of tests")
    with receiver() as server:
        yield server


# ---- by hand


def test_deliver_brings_decisions_and_flags_to_where_they_go(project):
    decisions = project.decide(events(1, 6), as_type="payment")
    found = project.sinks.deliver()

    assert [(item.name, item.sent, item.lag, item.trouble) for item in found] == [
        ("table", 6, 0, None),
        ("flagged", 2, 0, None),
    ]
    assert rows(project, "SELECT id, outcome, receipt FROM decisions ORDER BY seq") == [
        (decision.id, decision.outcome, decision.receipt) for decision in decisions
    ]
    assert rows(project, "SELECT id, rule FROM flags ORDER BY seq") == [("p3", "large"), ("p6", "large")]


def test_deliver_goes_on_where_it_was(project):
    project.decide(events(1, 3), as_type="payment")
    project.sinks.deliver()
    project.decide(events(4, 2), as_type="payment")

    assert [sink.sent for sink in project.sinks.deliver()] == [2, 0]
    assert [sink.sent for sink in project.sinks.deliver()] == [0, 0]
    assert [(state.name, state.lag, state.stuck) for state in project.sinks.states()] == [
        ("table", 0, 0),
        ("flagged", 0, 0),
    ]


def test_a_webhook_is_signed_with_what_the_environment_says_and_gets_the_outcomes_it_asks_for(tmp_path, received):
    project = bank(tmp_path / "bank", SINKS + HOOK % received.url)
    decisions = project.decide(events(1, 6), as_type="payment")
    project.sinks.deliver()

    ids = [webhooks.verify("a secret of tests", headers, body) for headers, body in received.calls]
    seqs = [decision.seq for decision in decisions if decision.outcome == "review"]
    assert ids == [f"small-hook-{seq}-0" for seq in seqs]
    assert [json.loads(body)["id"] for body in received.taken] == ["p3", "p6"]


def test_a_webhook_begins_with_what_comes_from_then_on(tmp_path, received):
    project = bank(tmp_path / "bank", SINKS + (HOOK % received.url).replace("start: first, ", ""))
    project.decide(events(1, 6), as_type="payment")
    project.sinks.deliver()
    project.decide(events(7, 3), as_type="payment")
    project.sinks.deliver()

    assert [json.loads(body)["id"] for body in received.taken] == ["p9"]


def test_a_variable_that_is_not_set_is_told_before_anything_leaves(tmp_path, monkeypatch):
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    project = bank(tmp_path / "bank", SINKS + HOOK % "http://127.0.0.1:9/")
    project.decide(events(1, 1), as_type="payment")

    with pytest.raises(UsageError, match="HOOK_SECRET"):
        project.sinks.deliver()
    assert not (tmp_path / "bank" / "out.db").exists()


def test_a_project_without_sinks_or_without_a_log_says_so(tmp_path):
    with pytest.raises(UsageError, match="no log yet"):
        bank(tmp_path / "new").sinks.deliver()
    plain = bank(tmp_path / "plain", "")
    plain.decide(events(1, 1), as_type="payment")
    with pytest.raises(UsageError, match="no sinks"):
        plain.sinks.deliver()


def test_two_processes_do_not_deliver_at_once_on_one_machine(project):
    project.decide(events(1, 1), as_type="payment")
    with (
        state_folder.lock_file(project.context.paths.state / "delivery.lock", "it runs"),
        pytest.raises(LogBusyError, match="already delivers to the sinks"),
    ):
        project.sinks.deliver()


def test_deliver_works_beside_a_process_that_writes(project):
    project.decide(events(1, 3), as_type="payment")
    go_on = threading.Event()
    with project.log.writing() as (writer, log), closing(project.inboxes.brief(writer, log)) as inbox, inbox.attended():
        done: list[object] = []
        thread = threading.Thread(target=lambda: (done.append(project.sinks.deliver()), go_on.set()))
        thread.start()
        assert go_on.wait(120)
        thread.join()

    assert [item.sent for item in done[0]] == [3, 1]
    assert [state.lag for state in project.sinks.states()] == [0, 0]


@pytest.mark.parametrize(
    "kafka",
    [
        "{ brokers: 'a:9092' }",
        "{ brokers: 'a:9092', topic: a, by: outcome, topics: { else: b } }",
        "{ brokers: 'a:9092', topics: { else: b } }",
        "{ brokers: 'a:9092', take: flags, by: outcome, topics: { else: b } }",
    ],
)
def test_topics_that_cannot_be_chosen_are_a_mistake_in_the_file(tmp_path, kafka):
    report = bank(tmp_path / "bank", f"sinks:\n  decided: {{ kafka: {kafka} }}\n").check()

    (mistake,) = report.errors
    assert (mistake.file, mistake.line) == ("shroff.yaml", 5)


def test_of_two_that_deliver_the_one_that_fell_behind_is_told(project):
    project.decide(events(1, 3), as_type="payment")
    project.sinks.deliver()
    stale = DeliveryProgress("table", before=1, through=2)
    with closing(project.log.open(read_only=False)) as log:
        request = log.inbox.ask(OUTBOX, outbox_request(moved=[stale]), 0)
        reply = json.loads(carry_out(log, InboxRequest(request, OUTBOX, outbox_request(moved=[stale]), 0)))
        assert log.offsets.get("sink:table", "") == "4"

    assert "another process also delivers to it" in reply["refusal"]


# ---- beside the writer


def test_a_writer_that_delivers_on_its_way_has_delivered_all_at_its_end(project):
    project.decide(events(1, 2), as_type="payment")
    with project.log.writing() as (_, log), project.sinks.delivering(log) as delivery:
        until(lambda: delivery.tend() or not any(record.lag for record in delivery.health(log.last_seq())))

    assert [state.lag for state in project.sinks.states()] == [0, 0]
    assert [sink.sent for sink in project.sinks.deliver()] == [0, 0]


def test_sinks_that_are_applied_beside_a_writer_go_on_where_they_were(project):
    def delivered() -> None:
        until(lambda: delivery.tend() or not any(record.lag for record in delivery.health(log.last_seq())))

    def applied(sinks: str) -> None:
        (project.context.paths.folder / "shroff.yaml").write_text(FILES["shroff.yaml"] + sinks)
        inbox.replied(log.inbox.ask(ADOPT, b"null", 0))
        delivery.tend()

    with project.log.writing() as (writer, log), project.sinks.delivering(log) as delivery:
        project.inboxes.begin_active(log)
        with closing(project.inboxes.running(writer, log)) as inbox:
            take(project, writer, 1)
            delivered()
            applied(SINKS.replace('out.db", table: decisions', 'other.db", table: decisions'))
            take(project, writer, 2)
            delivered()
            applied("")
            take(project, writer, 3)
            applied(SINKS)
            delivered()

    assert rows(project, "SELECT id FROM decisions") == [("p1",), ("p3",)]
    with closing(sqlite3.connect(project.context.paths.folder / "other.db")) as other:
        assert other.execute("SELECT id FROM decisions").fetchall() == [("p1",), ("p2",)], "a new table gets all rows"
    assert [(state.name, state.lag) for state in project.sinks.states()] == [("table", 0), ("flagged", 0)]


def take(project: app.Project, writer: Writer, number: int) -> None:
    """Take one payment into the log."""
    (fields,) = events(number, 1)
    intake = project.taking.intake(keeps_hashes=False)
    writer.write([intake.submit("payment", fields, source="", place="", raw=b"", is_strict=True)])


@pytest.mark.parametrize("is_delivered_elsewhere", [False, True])
def test_a_service_notes_from_where_on_is_delivered_and_told_before_it_takes_anything(
    tmp_path, received, is_delivered_elsewhere
):
    project = bank(tmp_path / "bank", SINKS + (HOOK % received.url).replace("start: first", "start: now"))
    project.decide(events(1, 3), as_type="payment")
    stop, noted = threading.Event(), {}

    def begun(writer: object) -> None:
        with project.log.reading() as log:
            for sink in ("table", "hook"):
                noted[sink] = log.offsets.get(source_of(sink), THROUGH)
            noted["told"] = log.offsets.get(SOURCE, BEGUN)
        stop.set()

    elsewhere = (
        state_folder.lock_file(project.context.paths.state / "delivery.lock", "it runs")
        if is_delivered_elsewhere
        else nullcontext()
    )
    with elsewhere, project.live.answerer(RequestQueue(print), begun, lambda writer, log: None, stop=stop) as answerer:
        answerer.run()

    assert noted == {"table": "0", "hook": "4", "told": "4"}


# ---- what is stuck


@pytest.fixture
def stuck(project):
    """A project with a table that would not have p2 and p4."""
    project.decide(events(1, 5), as_type="payment")
    with project.log.reading() as log:
        assert log.counts().stuck == 0
    with closing(sink_routes(project.context)[0].opened()) as table:
        table.send([])  # which makes it
    with closing(sqlite3.connect(project.context.paths.folder / "out.db")) as connection:
        connection.execute(
            "CREATE TRIGGER evens BEFORE INSERT ON decisions WHEN new.id IN ('p2', 'p4') "
            "BEGIN SELECT RAISE(ABORT, 'no evens'); END"
        )
    return project


def shell(project: app.Project, sql: str) -> None:
    with closing(sqlite3.connect(project.context.paths.folder / "out.db")) as connection:
        connection.execute(sql)
        connection.commit()


def called(project: app.Project, capsys, *words: str) -> tuple[int, dict]:
    status = run(["-C", str(project.context.paths.folder), "outbox", *words, "--json"])
    out = capsys.readouterr().out
    assert out, words
    return status, json.loads(out)


def test_what_is_stuck_is_shown_put_back_and_taken_once_the_sink_is_mended(stuck, capsys):
    assert called(stuck, capsys, "deliver")[0] == 1
    status, listed = called(stuck, capsys, "list")
    assert (status, listed["count"]) == (0, 2)
    assert [(row["row"], row["event"], row["attempts"]) for row in listed["stuck"]] == [
        ("table/3-0", "payment/p2", 1),
        ("table/5-0", "payment/p4", 1),
    ]
    assert "no evens" in listed["stuck"][0]["reason"]
    assert listed["sinks"][0] == {
        "name": "table",
        "kind": "sql",
        "take": "decisions",
        "through": 6,
        "lag": 0,
        "stuck": 2,
        "trouble": None,
    }
    shown = called(stuck, capsys, "show", "table/3-0")[1]
    assert json.loads(shown["body"])["id"] == "p2"

    assert called(stuck, capsys, "retry")[1] == {"retried": 2}
    assert called(stuck, capsys, "deliver")[0] == 1
    assert [capsy["attempts"] for capsy in called(stuck, capsys, "list")[1]["stuck"]] == [2, 2]
    shell(stuck, "DROP TRIGGER evens")
    assert called(stuck, capsys, "retry", "table/3-0")[1] == {"retried": 1}
    assert called(stuck, capsys, "deliver")[0] == 0

    assert [capsy["row"] for capsy in called(stuck, capsys, "list")[1]["stuck"]] == ["table/5-0"]
    assert rows(stuck, "SELECT id FROM decisions ORDER BY seq") == [("p1",), ("p2",), ("p3",), ("p5",)]


def test_what_is_dropped_stays_away_and_in_the_log(stuck, capsys):
    called(stuck, capsys, "deliver")
    assert called(stuck, capsys, "drop", "table/3-0")[1] == {"dropped": 1}
    assert called(stuck, capsys, "drop", "--sink", "table")[1] == {"dropped": 1}
    assert called(stuck, capsys, "drop", "--all")[1] == {"dropped": 0}
    called(stuck, capsys, "deliver")

    assert rows(stuck, "SELECT id FROM decisions ORDER BY seq") == [("p1",), ("p3",), ("p5",)]
    with stuck.log.reading() as log:
        assert set(log.decisions.of("payment", ["p2"])) == {"p2"}


@pytest.mark.parametrize("words", [["drop"], ["drop", "--all", "table/3-0"], ["retry", "table/3-0", "--sink", "table"]])
def test_rows_are_named_in_one_way(stuck, words):
    assert run(["-C", str(stuck.context.paths.folder), "outbox", *words]) == 2


@pytest.mark.parametrize("name", ["table/99-0", "nobody/3-0"])
def test_a_row_that_is_not_stuck_is_told(stuck, name):
    stuck.sinks.deliver()
    for change in (stuck.sinks.retry, stuck.sinks.drop):
        with pytest.raises(UsageError, match=f"row {name} is not stuck"):
            change([key_of(name)])
    assert run(["-C", str(stuck.context.paths.folder), "outbox", "show", name]) == 2


@pytest.mark.parametrize("name", ["3", "table", "table/3", "/3-0", "table/3-x", "table/-3-0", "table/²-0"])
def test_what_names_no_row_is_told(name):
    with pytest.raises(UsageError, match="name a stuck row as in 'shroff outbox list'"):
        key_of(name)


@pytest.mark.slow
def test_people_see_how_far_each_sink_is_and_what_is_wrong(tmp_path, capsys, received):
    project = bank(tmp_path / "bank", SINKS + HOOK % "http://127.0.0.1:9/key-in-path")
    project.decide(events(1, 3), as_type="payment")
    assert run(["-C", str(project.context.paths.folder), "outbox", "deliver"]) == 3
    told = capsys.readouterr().out
    assert "hook: 0 rows delivered; 4 records left" in told
    run(["-C", str(project.context.paths.folder), "outbox", "list"])
    listed = capsys.readouterr().out
    assert "hook has been failing since" in listed
    findings = {item.subject: item for item in project.health.doctor()}

    assert findings["sink hook"].state == "wrong"
    assert findings["sink table"].state == "ok"
    for text in (told, listed, findings["sink hook"].words):
        assert "Connection refused" in text
        assert "key-in-path" not in text
        assert "a secret of tests" not in text


def test_the_list_of_what_leaves_has_notices_and_the_lake(tmp_path, capsys):
    project = bank(tmp_path / "bank", SINKS + "lake: ./lake\n")
    (project.context.paths.folder / "notices").mkdir()
    text = "on: decision\nevent: payment\nto: [a@b.example]\n"
    (project.context.paths.folder / "notices" / "all.yaml").write_text(text)
    project.decide(events(1, 3), as_type="payment")
    assert run(["-C", str(project.context.paths.folder), "outbox", "list", "--json"]) == 0
    listed = {sink["name"]: sink for sink in json.loads(capsys.readouterr().out)["sinks"]}

    assert [(name, sink["kind"], sink["lag"], sink["stuck"]) for name, sink in listed.items()] == [
        ("flagged", "sql", 4, 0),
        ("lake", "parquet", 4, 0),
        ("notice all", "mail", 4, 0),
        ("table", "sql", 4, 0),
        ("notices", "files", 1, 0),
    ]
    assert listed["lake"]["trouble"] is None, "it is made with its first record"
