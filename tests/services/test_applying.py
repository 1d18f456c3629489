"""From files to the active version: in this process, and in one that runs; what takes a restart is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event

import pytest

from shroff.errors import DefinitionError, UsageError
from shroff.log.active_files import NOW, RESTART
from shroff.log.writer import Writer
from shroff.monitoring.doctor import OK, WRONG
from shroff.notices.notification_worker import END_S, NoticeWorker
from shroff.services import project as app
from shroff.services.notices.files import NoticeFiles
from shroff.services.sinks.routes import sink_routes
from tests.support.patience import PATIENCE_S
from tests.support.telling import FILES, Bank, notice, payment

RULE = FILES["rules/large.yaml"]


@contextmanager
def running(bank: Bank) -> Iterator[Writer]:
    """Another process that writes the log and looks into its inbox."""
    project = bank.project
    with project.log.writing() as (writer, log):
        project.inboxes.begin_active(log)
        with closing(project.inboxes.running(writer, log)) as inbox, inbox.attended():
            yield writer


def changed(found: object) -> list[tuple[str, str, str]]:
    return [(item.file, item.change, item.takes) for item in found.changed]


def active(bank: Bank) -> tuple[str, str]:
    (found,) = [item for item in app.open_exactly(bank.folder).health.doctor() if item.subject == "active version"]
    return found.state, found.words


def write(bank: Bank, name: str, text: str) -> None:
    (bank.folder / name).write_text(text)


def test_apply_makes_files_active_in_a_process_that_runs(tmp_path):
    bank = Bank(tmp_path, notice("on: decision\nto: [a@b.example]\n", "gone"))
    bank.pay()
    with running(bank) as writer:
        services = bank.project.notices.services()
        assert active(bank) == (OK, "the project's files")
        write(bank, "rules/large.yaml", RULE.replace("> 100", "> 500"))
        write(bank, "notices/customer.txt.j2", "Subject: own\n\n{{ link }}")
        (tmp_path / "notices/gone.yaml").unlink()
        write(bank, "shroff.yaml", FILES["shroff.yaml"].replace("Small Bank <notices", "New Bank <new") + "lake: ./l\n")
        names = "rules/large.yaml, notices/customer.txt.j2, notices/gone.yaml, shroff.yaml: mail, shroff.yaml: lake"
        assert active(bank) == (WRONG, f"5 changes in files only: {names}")
        assert not services.renew()
        found = app.open_exactly(tmp_path).versions.apply()

        assert changed(found) == [
            ("rules/large.yaml", "changed", NOW),
            ("notices/customer.txt.j2", "added", NOW),
            ("notices/gone.yaml", "removed", NOW),
            ("shroff.yaml: lake", "added", RESTART),
            ("shroff.yaml: mail", "changed", NOW),
        ]
        assert (found.seq, found.why_not) == (3, None)
        assert "> 500" in writer.definitions.files["rules/large.yaml"]
        assert services.renew()
        assert (list(services.notices), services.mail_from) == (["customer"], "New Bank <new@bank.example>")
        assert services.texts.names == ["customer.txt.j2"]
        assert active(bank) == (WRONG, "1 change in files only: shroff.yaml: lake")
        assert bank.project.context.systems.lake is None


def test_apply_without_a_process_that_runs_is_done_at_once(tmp_path):
    bank = Bank(tmp_path)
    with pytest.raises(UsageError, match="no log yet"):
        bank.project.versions.apply()
    bank.pay()
    write(bank, "rules/large.yaml", f"# only a comment\n{RULE}")
    write(bank, "shroff.yaml", f"# only a comment\n{FILES['shroff.yaml']}")
    assert bank.project.versions.unapplied() == []
    write(bank, "rules/large.yaml", RULE.replace("> 100", "> 500"))
    found = bank.project.versions.apply()

    assert changed(found) == [("rules/large.yaml", "changed", NOW)]
    assert (found.seq, bank.project.versions.unapplied(), bank.project.versions.apply().changed) == (3, [], [])
    assert bank.pay(payment("p-2", "200.00")) == ["approve"]


def test_decisions_do_not_wait_for_the_end_of_notices_that_are_gone(tmp_path, monkeypatch):
    go_on = Event()
    monkeypatch.setattr(NoticeWorker, "step", lambda _: float(not go_on.wait(PATIENCE_S)))
    bank = Bank(tmp_path)
    bank.pay()
    with bank.project.log.writing() as (_, log), bank.project.sinks.delivering(log) as delivery:
        monkeypatch.setattr(NoticeFiles, "tells", lambda _: False)
        delivery._taken = -1  # other files are in force
        began = time.monotonic()
        delivery.tend()
        took_s = time.monotonic() - began
        go_on.set()

    assert took_s < END_S
    assert not [thread for thread in threading.enumerate() if thread.name == "notices"]


def test_files_with_mistakes_change_nothing(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    with running(bank) as writer:
        write(bank, "rules/large.yaml", RULE.replace("amount", "amuont"))
        with pytest.raises(DefinitionError):
            app.open_exactly(tmp_path).versions.apply()

        assert "amuont" not in writer.definitions.files["rules/large.yaml"]


def test_a_setting_by_which_nobody_could_be_told_is_refused(tmp_path):
    silent = {"notices/customer.yaml": None, "rules/large.yaml": RULE.replace("  notify: customer\n", "")}
    bank = Bank(tmp_path, silent)
    bank.pay()
    with running(bank):
        settings = FILES["shroff.yaml"].replace("Small Bank <notices@bank.example>", '"B <${NO_SUCH_NAME}@b.example>"')
        write(bank, "shroff.yaml", settings)
        (tmp_path / "notices").mkdir(exist_ok=True)
        write(bank, "notices/first.yaml", "on: failure\nto: [a@b.example]\n")
        found = app.open_exactly(tmp_path).versions.apply()

        assert "NO_SUCH_NAME" in (found.why_not or "")
        assert not bank.project.notices.services().renew()


TABLE = "{ sql: { url: 'sqlite:///%s.db', table: decisions } }"


def test_settings_of_sinks_and_of_the_service_are_taken_up_by_every_process(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    beside = app.open_exactly(tmp_path)  # which stands by
    before = beside.context.systems
    with running(bank), beside.log.reading() as log:
        assert beside.inboxes.follow_active(log) == ""
        settings = FILES["shroff.yaml"] + "sessions: { idle: 5m }\nhttp: { timeout: 3s }\n"
        write(bank, "shroff.yaml", f"{settings}sinks: {{ table: {TABLE % 'a'} }}\n")
        assert (beside.inboxes.follow_active(log), beside.context.systems) == ("", before)  # nobody applied it
        found = app.open_exactly(tmp_path).versions.apply()

        assert {takes for *_, takes in changed(found)} == {NOW}
        assert [route.name for route in sink_routes(bank.project.context)] == ["table"]
        assert bank.project.context.systems.sessions.idle_ms == 300_000
        applied = (tmp_path / "shroff.yaml").read_text()
        write(bank, "shroff.yaml", FILES["shroff.yaml"] + "sessions: { idle: 6m }\n")
        assert (beside.inboxes.follow_active(log), beside.context.systems) == ("", before)  # nobody applied that
        write(bank, "shroff.yaml", applied)
        assert beside.inboxes.follow_active(log) == ""
        assert (beside.context.systems, active(bank)[0]) == (bank.project.context.systems, OK)

        for secret in ("'${NO_SUCH_NAME}'", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
            hook = f"{{ webhook: {{ url: 'http://localhost:9/', secret: {secret} }} }}"
            write(bank, "shroff.yaml", f"{settings}sinks: {{ table: {TABLE % 'a'}, hook: {hook} }}\n")
            found = app.open_exactly(tmp_path).versions.apply()
            assert ("NO_SUCH_NAME" in (found.why_not or "")) == ("NO_SUCH_NAME" in secret)
            assert ("hook" in bank.project.context.systems.sinks) == (not found.why_not)

        write(bank, "shroff.yaml", f"{settings.replace('3s', '4s')}lake: ./l\n")
        assert changed(app.open_exactly(tmp_path).versions.apply()) == [
            ("shroff.yaml: http", "changed", RESTART),  # a lake in a bucket is open by it
            ("shroff.yaml: lake", "added", RESTART),
            ("shroff.yaml: sinks", "removed", NOW),
        ]
        assert bank.project.context.systems.http.text("timeout") == "3s"


def test_whoever_takes_over_has_the_settings_that_were_applied_meanwhile(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    assert not bank.project.context.systems.sinks
    write(bank, "shroff.yaml", FILES["shroff.yaml"] + f"sinks: {{ table: {TABLE % 'a'} }}\nlake: ./l\n")
    app.open_exactly(tmp_path).versions.apply()
    with running(bank):
        assert list(bank.project.context.systems.sinks) == ["table"]
        assert active(bank) == (WRONG, "1 change in files only: shroff.yaml: lake")


def test_a_first_setting_is_told_though_nothing_beside_the_definitions_was_there(tmp_path):
    bank = Bank(tmp_path)
    for notice_ in (tmp_path / "notices").iterdir():
        notice_.unlink()
    write(bank, "shroff.yaml", "shroff: 1\nname: small\nmoney: EUR\n")
    write(bank, "rules/large.yaml", RULE.replace("  notify: customer\n", ""))
    bank.project = app.open_exactly(tmp_path)
    with running(bank):
        write(bank, "shroff.yaml", "shroff: 1\nname: small\nmoney: EUR\nsnapshots: { every: 5m }\n")

        assert changed(app.open_exactly(tmp_path).versions.apply()) == [("shroff.yaml: snapshots", "added", RESTART)]
        assert active(bank) == (WRONG, "1 change in files only: shroff.yaml: snapshots")


def test_event_types_take_a_restart_and_apply_says_so(tmp_path):
    bank = Bank(tmp_path)
    bank.pay()
    with running(bank):
        write(bank, "events.yaml", FILES["events.yaml"].replace("zone: text?", "zone: text?, more: text?"))
        found = app.open_exactly(tmp_path).versions.apply()

        assert changed(found) == [("events.yaml", "changed", RESTART)]
        assert "read its input as they were then" in (found.why_not or "") or "events.yaml" in found.why_not
    assert active(bank)[0] == WRONG
