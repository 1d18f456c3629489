"""What `doctor`, *Health* and the metrics vouch for: each thing is taken away, and they say so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.json import encode as to_json

from shroff.app import project as app
from shroff.app.live.routes import sink_routes
from shroff.language.values import DAY_MS
from shroff.monitoring.doctor import OK, WRONG
from shroff.monitoring.doctor_systems import named_systems
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems
from shroff.streams.log import Batch, Offset
from shroff.streams.sink_cursor import TROUBLE, Trouble, first_offsets, source_of
from shroff.web.api.health import HealthBoard
from tests.support.projects import FILES, NOW_MS, write_files

EVERYTHING = """
online: redis://127.0.0.1:9/0
sinks:
  hook: { webhook: { url: "http://127.0.0.1:9/x", secret: s } }
  table: { sql: { url: "sqlite:///decisions.db", table: decisions } }
"""
CALL = """
channel: webhook
url: https://127.0.0.1:9/told
secret: ${HOOK_SECRET}
on: decision
event: payment
outcomes: [review]
"""
PAYMENT = {"id": "p-1", "at": "2026-03-01T10:00:00Z", "card": "c-1", "amount": "150.00"}
ROUTES = ("hook", "table", "online features", "notice called")


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> app.Project:
    monkeypatch.setenv("HOOK_SECRET", "s")
    settings = FILES["shroff.yaml"] + EVERYTHING
    write_files(tmp_path / "bank", {**FILES, "shroff.yaml": settings, "notices/called.yaml": CALL})
    project = app.open(tmp_path / "bank")
    project.decide([PAYMENT], as_type="payment")
    return project


def test_each_route_of_deliveries_is_known_here(bank):
    assert {route.name for route in sink_routes(bank.context)} == {*ROUTES}


@pytest.mark.parametrize("name", ROUTES)
def test_a_delivery_that_fails_is_wrong_in_doctor_and_on_health(bank, name):
    words = "nobody answers at 127.0.0.1:9"
    trouble = to_json(Trouble(words, NOW_MS)).decode()
    log = bank.log.open(read_only=False)
    log.append(Batch(offsets=[*first_offsets(log, {name: False}, lambda: "log-1")]))
    log.append(Batch(offsets=[Offset(source_of(name), TROUBLE, trouble)]))
    log.close()

    look = HealthBoard(bank).look()
    assert [finding.subject for finding in look.wrong if words in finding.words]
    assert name in [state.name for state in look.leaving.failing]
    assert [finding for finding in bank.health.doctor().of(WRONG) if words in finding.words]


# ---- a thing of a project that is well is taken away, and `doctor` names it


def small(folder: Path, settings: str = "", **files: str) -> app.Project:
    """The small bank with further settings and files, after its first decision."""
    own = {name.replace("__", "/") + ".yaml": text for name, text in files.items()}
    write_files(folder / "small", {**FILES, "shroff.yaml": FILES["shroff.yaml"] + settings, **own})
    project = app.open(folder / "small")
    project.decide([PAYMENT], as_type="payment")
    return project


def notice_secret(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    return small(folder, notices__called=CALL)


def mail_password(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    return small(folder, "mail: { smtp: 'smtp://shroff:${MAIL_PASSWORD}@127.0.0.1:9' }\n")


def sign_in_secret(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    own = "issuer: 'https://127.0.0.1:9', client_id: x, client_secret: '${SIGN_IN}', roles: { a: admin }"
    return small(folder, f"sign_in: {{ oidc: {{ {own} }} }}\n")


def sign_in_provider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> app.Project:
    monkeypatch.setenv("SIGN_IN", "s")
    return sign_in_secret(folder, monkeypatch)


def mail_server(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    notice = "to: [analysts@bank.example]\nshow: { amount: this.amount }\n"
    return small(folder, "mail: { smtp: 'smtp://127.0.0.1:9' }\n", notices__analysts=notice)


def whoever_runs_jobs(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    project = small(folder, schedules="nightly: { kind: train, cron: '0 3 * * *' }\n")
    with project.jobs.open() as desk:
        desk.tick()
    now_ms = project.context.now_ms()
    project.context.now_ms = lambda: now_ms + 2 * DAY_MS
    return project


def table_of_a_sink(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    path = folder / "decisions.db"
    project = small(folder, f"sinks: {{ table: {{ sql: {{ url: 'sqlite:///{path}', table: decisions }} }} }}\n")
    project.sinks.deliver()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE decisions")
    return project


def column_of_a_sink(folder: Path, monkeypatch: pytest.MonkeyPatch) -> app.Project:
    project = table_of_a_sink(folder, monkeypatch)
    with closing(sqlite3.connect(folder / "decisions.db")) as database:
        database.execute("CREATE TABLE decisions (event text, id text, PRIMARY KEY (event, id))")
    return project


def clock(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    project = small(folder)
    project.context.now_ms = lambda: NOW_MS - 900 * DAY_MS
    return project


def hash_key(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    events = FILES["events.yaml"].replace("card: text?", "card: text? hashed")
    project = small(folder, events=events)
    project.context.paths.hash_key.unlink()
    return app.open(folder / "small")


def features_file(folder: Path, _: pytest.MonkeyPatch) -> app.Project:
    project = small(folder)
    (project.context.paths.folder / "features.yaml").write_text("card: {\n")
    return app.open(folder / "small")


TAKEN_AWAY = [
    (notice_secret, "variables", "HOOK_SECRET"),
    (mail_password, "variables", "MAIL_PASSWORD (mail.smtp)"),
    (sign_in_secret, "variables", "SIGN_IN (sign_in.client_secret)"),
    (sign_in_provider, "sign-in", "127.0.0.1:9"),
    (mail_server, "mail server", "127.0.0.1:9"),
    (whoever_runs_jobs, "schedule nightly", "no process runs jobs"),
    (table_of_a_sink, "sink table", "its table does not exist"),
    (column_of_a_sink, "sink table", "has no column seq"),
    (clock, "clock", "before this version was released"),
    (hash_key, "hash key", "hash"),
    (features_file, "project", "mistake"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("take", "subject", "words"), TAKEN_AWAY, ids=lambda item: getattr(item, "__name__", ""))
def test_what_is_taken_away_is_named_by_doctor(
    take: Callable[[Path, pytest.MonkeyPatch], app.Project], subject, words, tmp_path, monkeypatch
):
    findings = take(tmp_path, monkeypatch).health.doctor()

    named = [finding for finding in findings if finding.subject == subject and words in finding.words]
    assert [bool(finding.cure) for finding in named if finding.state != OK] == [True], findings


def test_each_setting_that_may_read_a_variable_is_looked_at():
    fields = [name for name, type_ in Systems.__annotations__.items() if type_ in {"System", "System | None"}]
    systems = Systems(**{name: System("kind", {"key": name}) for name in fields})

    assert {system.options["key"] for _, system in named_systems(systems)} == {*fields}


def test_a_table_that_was_dropped_is_filled_again_by_the_next_delivery(tmp_path, monkeypatch):
    project = table_of_a_sink(tmp_path, monkeypatch)
    project.sinks.deliver()

    with closing(sqlite3.connect(tmp_path / "decisions.db")) as database:
        assert database.execute("SELECT id FROM decisions").fetchall() == [("p-1",)]
