"""What `doctor`, *Health* and the metrics vouch for: each thing is taken away, and they say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.json import encode as to_json

from shroff.app import project as app
from shroff.app.live.routes import sink_routes
from shroff.monitoring.doctor import WRONG
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
