"""What `doctor`, *Health* and the metrics vouch for: each thing is taken away, and they say so."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from msgspec import Struct
from msgspec.json import encode as to_json

from shroff.cli.status import _text as status_text
from shroff.errors import DefinitionError, ShroffError
from shroff.events.event import time_text
from shroff.json_types import JsonMapping
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.monitoring import doctor_clock
from shroff.monitoring.doctor import OK, WRONG, EarlierFindings, Finding
from shroff.monitoring.doctor_systems import named_systems
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.health.operations import ExamineProject
from shroff.services.lake.operations import WriteLake
from shroff.services.sinks.routes import sink_routes
from shroff.streams.log import Batch, Offset
from shroff.streams.sink_cursor import TROUBLE, Trouble, first_offsets, source_of
from shroff.web.api.health import HealthBoard
from shroff.web.metrics_store import look_at_store
from shroff.worker.online_features import EntityRow
from tests.support.patience import comes
from tests.support.projects import FILES, NOW_MS, write_files
from tests.support.webs import asker
from tools.watch.rules import all_alerts

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
QUIET = {**PAYMENT, "amount": "50.00"}  # no rule finds it, so it has no case
PAGE = Path(__file__).parents[2] / "docs/runbooks/watched.md"
MENDED = "-: it is filled again"
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


# ---- a thing of a project that is well is taken away: who says so, as the table of a page for operators has it


class Taken(NamedTuple):
    """A project after something of it was taken away: its folder, and its clock."""

    folder: Path
    now_ms: int | None = None

    def open(self) -> app.Project:
        project = app.open_exactly(self.folder)
        if self.now_ms is not None:
            project.context.now_ms = lambda: self.now_ms
        return project


def small(folder: Path, settings: str = "", events: Sequence[JsonMapping] = (QUIET,), **files: str) -> app.Project:
    """The small bank with further settings and files, after its first decisions."""
    own = {name.replace("__", "/") + ".yaml": text for name, text in files.items()}
    write_files(folder / "small", {**FILES, "shroff.yaml": FILES["shroff.yaml"] + settings, **own})
    project = app.open(folder / "small")
    project.decide(events, as_type="payment")
    return project


def taken(project: app.Project, later_ms: int | None = None) -> Taken:
    """The project as it is now, seen so much later, or as of today."""
    now_ms = project.context.now_ms()
    return Taken(project.context.paths.folder, None if later_ms is None else now_ms + later_ms)


def nothing(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    return taken(small(folder))


def notice_secret(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    return taken(small(folder, notices__called=CALL))


def mail_password(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    return taken(small(folder, "mail: { smtp: 'smtp://shroff:${MAIL_PASSWORD}@127.0.0.1:9' }\n"))


def sign_in_provider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    monkeypatch.setenv("SIGN_IN", "s")
    own = "issuer: 'https://127.0.0.1:9', client_id: x, client_secret: '${SIGN_IN}', roles: { a: admin }"
    return taken(small(folder, f"sign_in: {{ oidc: {{ {own} }} }}\n"))


def mail_server(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    notice = "to: [analysts@bank.example]\nshow: { amount: this.amount }\n"
    return taken(small(folder, "mail: { smtp: 'smtp://127.0.0.1:9' }\n", notices__analysts=notice))


def whoever_runs_jobs(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = small(folder, schedules="nightly: { kind: train, cron: '0 3 * * *' }\n")
    with project.jobs.open() as desk:
        desk.tick()
    return taken(project, 2 * DAY_MS)


def receiver(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = small(folder, "sinks: { hook: { webhook: { url: 'http://127.0.0.1:9/x', secret: s, start: first } } }\n")
    project.sinks.deliver()
    return taken(project)


def delivered_table(folder: Path, count: int = 1, more: str = "rows: kept") -> app.Project:
    """A bank whose decisions were delivered to a table."""
    address = f"sqlite:///{folder / 'decisions.db'}"
    events = [{**QUIET, "id": f"p-{number}"} for number in range(1, count + 1)]
    project = small(
        folder, f"sinks: {{ table: {{ sql: {{ url: '{address}', table: decisions, {more} }} }} }}\n", events
    )
    project.sinks.deliver()
    return project


def changed(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "decisions.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def consumed_rows(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = delivered_table(folder, 100, "rows: consumed")
    changed(folder, "DELETE FROM decisions")
    return taken(project)


def rows_of_a_new_sink(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = delivered_table(folder, 1, "start: now")
    project.decide([{**QUIET, "id": f"later-{number}"} for number in range(100)], as_type="payment")
    project.sinks.deliver()
    changed(folder, "DELETE FROM decisions WHERE seq % 3 > 0")
    return taken(project)


def table_of_a_sink(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = delivered_table(folder)
    changed(folder, "DROP TABLE decisions")
    return taken(project)


def column_of_a_sink(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = delivered_table(folder)
    create = "CREATE TABLE decisions (event text, id text, PRIMARY KEY (event, id))"
    changed(folder, "DROP TABLE decisions", create, "INSERT INTO decisions VALUES ('payment', 'p-1')")
    return taken(project)


def rows_of_a_sink(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = delivered_table(folder, 100)
    changed(folder, "DELETE FROM decisions WHERE seq % 3 > 0")
    return taken(project)


def old_rows_of_a_sink(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = delivered_table(folder, 100)
    changed(folder, "DELETE FROM decisions")
    return taken(project, 2 * DAY_MS)


class Kept(Struct):
    """Features in memory, of a server that removes keys when its memory is full; all stores of a test are one."""

    policy: str = ""
    evicted: int = 0
    rows: dict[tuple[str, str], EntityRow] = {}
    marked: str = ""

    def write(self, rows: Sequence[EntityRow]) -> None:
        self.rows |= {(row.entity, row.key): row for row in rows}

    def read(self, entity: str, keys: Sequence[str]) -> list[EntityRow | None]:
        return [self.rows.get((entity, key)) for key in keys]

    def mark(self) -> str:
        return self.marked

    def set_mark(self, mark: str, before: str) -> bool:
        self.marked = mark
        return True

    def eviction(self) -> tuple[str, int]:
        return self.policy, self.evicted

    def close(self) -> None:
        pass


def kept_features(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[app.Project, Kept]:
    """A bank whose features were delivered to a store in memory."""
    store = Kept()
    monkeypatch.setattr(AdapterFactory, "open_online", lambda self, log: store)
    monkeypatch.setattr(AdapterFactory, "reach", lambda self, system, limit_s, what="": "redis://redis.bank")
    events = [{**QUIET, "id": f"p-{number}", "card": f"c-{number}"} for number in range(100)]
    project = small(folder, "online: redis://redis.bank/0\n", events)
    project.sinks.deliver()
    return project, store


def content_of_the_feature_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    project, store = kept_features(folder, monkeypatch)
    store.rows, store.marked = {}, ""
    return taken(project)


def evicted_features(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    project, store = kept_features(folder, monkeypatch)
    store.policy, store.evicted = "allkeys-lru", 50
    store.rows = {at: row for at, row in store.rows.items() if row.as_of_seq % 2}
    return taken(project)


def policy_of_the_feature_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    project, store = kept_features(folder, monkeypatch)
    store.policy = "allkeys-lru"
    return taken(project)


def lake(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = small(folder, f"lake: {folder / 'lake'}\n")
    project.run(WriteLake())
    shutil.rmtree(folder / "lake")
    return taken(project, 2 * DAY_MS)


def time_of_the_clock(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    return taken(small(folder), -900 * DAY_MS)


def an_hour_of_the_clock(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    return taken(small(folder), -HOUR_MS)


def right_clock_of_live_events(folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_unset: bool = False) -> Taken:
    monkeypatch.setattr(doctor_clock, "is_unset", lambda: is_unset)
    project = small(folder)
    start_ms = project.context.now_ms()
    for number in range(20):
        project.context.now_ms = lambda number=number: start_ms + number * MINUTE_MS
        at = time_text(start_ms + number * MINUTE_MS - HOUR_MS)
        project.decide([{**QUIET, "id": f"live-{number}", "at": at}], as_type="payment")
    return Taken(project.context.paths.folder, start_ms + 20 * MINUTE_MS)


def hash_key(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    files = {**FILES, "events.yaml": FILES["events.yaml"].replace("card: text?", "card: text? hashed")}
    write_files(folder / "small", files)
    project = app.open(folder / "small")
    project.decide([QUIET], as_type="payment")
    project.context.paths.hash_key.unlink()
    return taken(project)


def right_features_file(folder: Path, _: pytest.MonkeyPatch) -> Taken:
    project = small(folder)
    (project.context.paths.folder / "features.yaml").write_text("card: {\n")
    return taken(project)


def disk_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    project = small(folder)
    little = SimpleNamespace(total=10**9, used=10**9, free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: little)
    vfs = SimpleNamespace(f_bavail=10, f_frsize=4096, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda path: vfs)
    return taken(project)


THINGS: dict[str, Callable[[Path, pytest.MonkeyPatch], Taken]] = {
    "nothing": nothing,
    "a variable that a notice reads": notice_secret,
    "the variable of the mail server's password": mail_password,
    "the mail server": mail_server,
    "the sign-in provider": sign_in_provider,
    "every process that runs schedules": whoever_runs_jobs,
    "the receiver of a sink": receiver,
    "the table of a sink": table_of_a_sink,
    "a column of a sink's table": column_of_a_sink,
    "rows of the last day from a sink's table": rows_of_a_sink,
    "the same of a sink with `start: now`": rows_of_a_new_sink,
    "rows of a sink with `rows: consumed`": consumed_rows,
    "older rows from a sink's table": old_rows_of_a_sink,
    "all keys of the store of features": content_of_the_feature_store,
    "keys that the store of features evicted": evicted_features,
    "the guarantee that the store of features keeps keys": policy_of_the_feature_store,
    "the lake": lake,
    "the clock's time: years behind": time_of_the_clock,
    "the clock's time: behind the newest record": an_hour_of_the_clock,
    "the clock's time: ahead of live events": right_clock_of_live_events,
    "the clock's time: ahead of live events, and its time service": partial(right_clock_of_live_events, is_unset=True),
    "free space on the disk": disk_space,
    "the hash key": hash_key,
    "a right file of features": right_features_file,
}


def firing(page: str) -> set[str]:
    """The alerts whose expression is true by a page of metrics; of the alerts that look at one sample alone."""
    alerts = {alert.expr.removesuffix(" == 1"): alert.name for alert in all_alerts() if alert.expr.endswith(" == 1")}
    samples = re.findall(r"(?m)^(\w+)(?:\{[^}]*\})? (\S+)$", page)
    value = dict(samples)
    is_full = float(value["shroff_disk_free_bytes"]) < 0.1 * float(value["shroff_disk_size_bytes"])
    found = {alerts[name] for name, sample in samples if name in alerts and float(sample) == 1}
    return found | {"ShroffDiskNearlyFull"} if is_full else found


async def served(thing: Taken, *, is_mended: bool) -> tuple[str, set[str]]:
    """Whether a service of the project is ready, and the alerts that fire, with the check that fails.

    Args:
        is_mended: The service mends it by itself; that is waited for.
    """
    try:
        async with asker(thing.folder, now_ms=None if thing.now_ms is None else lambda: thing.now_ms) as asks:
            if is_mended:
                health = asks.service.project.health
                await comes(lambda: not any(health.failing_checks(EarlierFindings()).values()))
            ready = await asks.ask("GET", "/health/ready", key="")
            metrics = (await asks.ask("GET", "/metrics")).body.decode()
    except ShroffError:
        return "does not start", {"ShroffDown"}
    checks = re.findall(r'(?m)^shroff_check_failing\{check="([^"]*)"\} 1', metrics)
    failing = re.findall(r'(?m)^shroff_delivery_failing\{sink="([^"]*)"\} 1', metrics)  # have an alert of their own
    of_sinks = {f"sink {sink}" for sink in failing}
    named = {f"ShroffCheckFailing `{check}`" for check in checks if check not in of_sinks}
    return str(ready.status), named | firing(metrics)


def who_says_so(thing: Taken, *, is_mended: bool = False) -> list[str]:
    """What each look says, as the page's table has it."""
    project = thing.open()
    answer = project.run(ExamineProject())
    findings = [finding for finding in answer.findings if finding.state != OK]
    with suppress(DefinitionError):  # of a project that no service starts with
        on_health = HealthBoard(thing.open()).look().findings
        assert sorted(map(_seen, answer.findings)) == sorted(map(_seen, on_health))
    assert all(finding.cure for finding in findings)
    try:
        status = status_text(project, look_at_store(project, is_quick=True), None)
    except ShroffError:
        status = "! fails  "
    ready, alerts = asyncio.run(served(thing, is_mended=is_mended))
    return [
        ", ".join(f"{finding.state} `{finding.subject}`" for finding in findings) or "-",
        str(answer.exit_status()),
        ", ".join(f"`{line}`" for line in re.findall(r"(?m)^\s*(! .*?)  ", status)) or "-",
        ready,
        MENDED if is_mended and not alerts else ", ".join(sorted(alerts)) or "-",
    ]


def _seen(finding: Finding) -> tuple[str, str]:
    return finding.subject, finding.state


def rows_of_page() -> dict[str, list[str]]:
    """The rows of the page's table by the thing that is taken away."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: row[1:6] for row in lines[2:]}


def test_the_page_lists_the_things_that_are_taken_away_here():
    assert [*rows_of_page()] == [*THINGS]


@pytest.mark.slow
@pytest.mark.parametrize("name", THINGS)
def test_the_page_says_who_says_so(name, tmp_path, monkeypatch):
    room = SimpleNamespace(total=100, used=50, free=50)  # however full the disk of this machine is
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    row = rows_of_page()[name]
    assert row == who_says_so(THINGS[name](tmp_path, monkeypatch), is_mended=row[-1] == MENDED)


def test_a_log_that_was_removed_is_told_by_its_snapshots(tmp_path):
    project = small(tmp_path)
    places = project.context.paths
    places.log.unlink()
    assert not app.open(tmp_path / "small").health.doctor().of(WRONG)
    places.snapshots.mkdir(exist_ok=True)
    (places.snapshots / "0001.snapshot").write_bytes(b"")

    assert [finding.subject for finding in app.open(tmp_path / "small").health.doctor().of(WRONG)] == ["log"]


def test_each_setting_that_may_read_a_variable_is_looked_at():
    fields = [name for name, type_ in Systems.__annotations__.items() if type_ in {"System", "System | None"}]
    systems = Systems(**{name: System("kind", {"key": name}) for name in fields})

    assert {system.options["key"] for _, system in named_systems(systems)} == {*fields}


def test_a_table_that_was_dropped_is_filled_again_by_the_next_delivery(tmp_path):
    project = delivered_table(tmp_path)
    changed(tmp_path, "DROP TABLE decisions")
    project.sinks.deliver()

    with closing(sqlite3.connect(tmp_path / "decisions.db")) as database:
        assert database.execute("SELECT id FROM decisions").fetchall() == [("p-1",)]
