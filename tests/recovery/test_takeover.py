"""One service takes over from another while a thousand events a second are due: nothing is lost, doubled or changed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx2
import msgspec
import pytest

from shroff.examples.bank import bank
from shroff.services import project as app
from tests.recovery.faults_stores import named
from tests.recovery.harness import make_project
from tests.recovery.open_loop import OpenLoop, RouteDoc
from tests.support import forks
from tests.support.served import ENDS_S, NO_TLS, Served, started

pytestmark = [pytest.mark.slow, pytest.mark.long]

RATE = 1_000.0
BETWEEN_S = 1.5  # of undisturbed load before, between and after
EVENTS_MAX = 3_000_000  # nobody waits for so many
WITHIN_S = 120.0  # a machine may be slow; what was seen is printed
LEASE = "3s"  # as it is where nobody says
OVERTAKEN = 3  # the exit status of a service whose lead another one took


@pytest.fixture(params=["sqlite", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose log is in a file or on a server, and which takes events of several senders in any order."""
    folder = make_project(tmp_path / "bank")
    settings = folder / "shroff.yaml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("lateness:")] + ["lateness: 60d"]
    if request.param != "sqlite":
        address = request.getfixturevalue(request.param).address
        scheme, _, rest = named(address, f"t{uuid4().hex[:12]}").partition("://")
        monkeypatch.setenv("TAKEOVER_STORE", rest)
        lines.append(f'store: {{ url: "{scheme}://${{TAKEOVER_STORE}}", lease: {LEASE} }}')
    settings.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def services() -> Iterator[list[Served]]:
    """What a test starts, and which is gone behind it."""
    found: list[Served] = []
    yield found
    for item in found:
        item.process.send_signal(signal.SIGCONT)
        item.kill()


def events() -> Iterator[bytes]:
    return (msgspec.json.encode(item.event) for item in bank(EVENTS_MAX, seed=5))


def again(service: Served) -> Served:
    """A service at the same address, which stands by."""
    port = service.url.rpartition(":")[2]
    return started(service.folder, "--standby", "--port", port, key=service.key, is_waited_for=False)


def stands_by(service: Served) -> None:
    """Wait until it does."""
    end_s, state = time.monotonic() + ENDS_S, ""
    while state != "standing by":
        assert time.monotonic() < end_s, (state, service.said)
        time.sleep(0.05)
        with suppress(httpx2.TransportError):
            state = httpx2.get(f"{service.url}/health/ready", timeout=ENDS_S, verify=NO_TLS).json()["state"]


def port_of(service: Served) -> int:
    return int(service.url.rpartition(":")[2])


def check(folder: Path, told: RouteDoc) -> None:
    """Every event that was sent has exactly one decision, as it was answered; and the log gives the same again."""
    project = app.open_exactly(folder)
    with project.log.reading() as log:
        there = [row.document for rows in log.decisions.after() for row in rows]
        records = [item.id for some in log.read() for item in some if item.kind == "event"]
    ids = sorted(msgspec.json.decode(event)["payment_id"] for event in told.events)
    assert told.wrong == []
    assert sorted(told.answers) == list(range(len(told.events)))
    assert sorted(records) == ids
    assert sorted(there) == sorted(told.answers.values())
    assert project.verify(["online"]).mismatches == 0


def show(
    capsys: pytest.CaptureFixture[str], what: str, told: RouteDoc, asked: list[tuple[float, Served]]
) -> list[float]:
    """How long each of these had to be waited for; for a person, too, however the test ends."""
    took_s = [told.took_s(since_s, port_of(service)) for since_s, service in asked]
    took = " and ".join(f"{item:.2f} s" for item in took_s)
    late = ", ".join(f"{name} {1_000 * told.quantile_s(share):,.0f}" for name, share in (("p50", 0.5), ("p99", 0.99)))
    rest = f"{told.turned_away:,} times turned away, {told.lost_requests:,} requests without an answer"
    with capsys.disabled():
        print(f"\n{what}: taken over after {took}; {len(told.events):,} events, ms from due {late}; {rest}")
    return took_s


def taken_over(standby: Served, end: Callable[[], object]) -> tuple[float, Served]:
    """End the leader some way, and wait until the one that stands by leads, and a while longer; since when, and who."""
    stands_by(standby)
    time.sleep(BETWEEN_S)
    since_s = time.monotonic()
    end()
    standby.wait()
    time.sleep(BETWEEN_S)
    return since_s, standby


@pytest.mark.parametrize("project", ["sqlite", "postgres"], indirect=True)
def test_a_rolling_restart_under_a_thousand_events_a_second_loses_nothing(project, services, capsys, request):
    settings = project / "shroff.yaml"  # who ends in order gives the lease back; a slow machine must not lose one
    settings.write_text(settings.read_text().replace(f"lease: {LEASE}", "lease: 30s"))
    first = started(project)
    second = started(project, "--standby", key=first.key, is_waited_for=False)
    services += [first, second]
    with OpenLoop([first.url, second.url], first.key, events(), RATE) as sending:
        asked = [taken_over(second, first.stop)]
        third = again(first)
        services.append(third)
        asked.append(taken_over(third, second.stop))
    took_s = show(capsys, request.node.name, sending.told, asked)
    third.stop()

    assert max(took_s) < WITHIN_S
    check(project, sending.told)


@pytest.mark.parametrize("project", ["postgres"], indirect=True)
def test_a_leader_that_is_killed_and_one_that_is_frozen_are_taken_over_from(project, services, capsys, request):
    """The log is on a server, as on one in a file the system's lock outlives a frozen leader (0023)."""
    first = started(project)
    second = started(project, "--standby", key=first.key, is_waited_for=False)
    services += [first, second]
    with OpenLoop([first.url, second.url], first.key, events(), RATE) as sending:
        asked = [taken_over(second, first.kill)]
        third = again(first)
        services.append(third)
        asked.append(taken_over(third, lambda: os.kill(forks.pid_of(second.process), signal.SIGSTOP)))

        os.kill(forks.pid_of(second.process), signal.SIGCONT)
        refused = posted(second)
        words = " ".join(second.process.communicate(timeout=ENDS_S))
        time.sleep(BETWEEN_S)
    took_s = show(capsys, request.node.name, sending.told, asked)
    third.stop()

    assert (refused == 200, second.process.returncode) == (False, OVERTAKEN), words
    assert "Another process has taken over" in words
    assert max(took_s) < WITHIN_S
    check(project, sending.told)


def posted(zombie: Served) -> int:
    """What a service answers that wakes behind its successor's back; 0 where it is gone already."""
    event = {**next(bank(1, seed=6)).event, "payment_id": "for-nobody"}
    try:
        with zombie.client() as client:
            return client.post("/api/v1/events/payment", json=event).status_code
    except httpx2.TransportError:
        return 0
