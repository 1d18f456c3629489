"""Drills: `make drills`. A service under load, a fault, its alert, its end. Writes bench/results/drills.md.

    python -m tools.drills [NAME ...]      # only these; no table is written

Each drill has a service of its own, a sender that repeats a payment until it is answered, a destination, and the rules
of deploy/ in a real Prometheus and Alertmanager. Test settings: a scrape each half second, and an alert fires when its
expression has been true for a second.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
import psycopg

from bench.machine import RESULTS, describe, write_result
from shroff.config import TEMPLATE_FOLDER
from shroff.services import project as app
from tests.deploy import checks, watchers
from tests.deploy.watching import rules_of
from tests.support.forks import SHROFF
from tests.support.served import Served, key_of, started
from tools.servers.databases import Postgres
from tools.servers.ports import Port

SENT: Final = 100  # payments before the fault, and after it at least
PATIENCE_S: Final = 120.0
LOOK_S: Final = 0.05
PAUSE_S: Final = 0.01  # between two payments
FAULTS: Final = RESULTS / "faults.md"
SEE: Final = "How long backups and restores take by the size of a log: [restore](restore.md)."
ABOUT: Final = """\
A sender repeats each payment until it is answered.

- **Seconds to alert** run from the fault until Alertmanager has the alert. Prometheus reads metrics each half second,
  and an alert fires after one second. In production, add the time in `for`, up to 30 s for two scrapes, and the 10 s
  for which Alertmanager gathers alerts.
- **Seconds to recover** run from the end of the fault, starts of programs included, until a new payment is answered.
  For the destination they run until everything is delivered.
- **Sent again** are answered payments that the sender has to repeat because they were lost with the disk.
- **Lost** and **doubled** are counted in the log, or in the destination."""


class Sender:
    """Sends payments one after the other; each is repeated with its id until it is answered by 200."""

    def __init__(self, addresses: list[str], key: str) -> None:
        self.addresses = addresses
        self.answered: list[tuple[str, float]] = []
        self._headers = {"authorization": f"Bearer {key}"}
        self._like = json.loads((TEMPLATE_FOLDER / "payments/examples/payment.json").read_text("utf-8"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    @property
    def last_s(self) -> float:
        """When the last payment was answered."""
        return self.answered[-1][1]

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        number = failed = 0
        while not self._stop.wait(PAUSE_S):
            if self.post(f"p-{number}", self.addresses[failed % len(self.addresses)]):
                self.answered.append((f"p-{number}", time.monotonic()))
                number += 1
            else:
                failed += 1

    def post(self, id_: str, address: str) -> bool:
        """Send a payment; whether it was taken."""
        payment = self._like | {"payment_id": id_, "card": f"c-{id_}"}
        try:
            url = f"{address}/api/v1/events/payment"
            # who does not answer is left for another
            return httpx2.post(url, json=payment, headers=self._headers, timeout=2.0).status_code == 200
        except httpx2.TransportError:
            return False


@dataclass(slots=True)
class World:
    """A project that is served, watched and sent to."""

    folder: Path
    ports: list[Port]
    store: Postgres | None = None
    alertmanager: str = ""
    services: list[Served] = field(default_factory=list)
    sender: Sender | None = None
    beside: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def bank(self) -> Path:
        return self.folder / "bank"

    @property
    def sent(self) -> list[str]:
        """The payments that were answered."""
        assert self.sender is not None
        return [id_ for id_, _ in self.sender.answered]

    def serve(self, key: str, at: int = 0) -> None:
        """Start the service of a port; one that is not the first stands by."""
        options = ["--port", str(self.ports[at].number), *(["--standby"] if at else [])]
        self.services[at : at + 1] = [started(self.bank, *options, key=key, is_waited_for=at == 0)]

    def fires(self, alert: str) -> bool:
        """Whether Alertmanager has an alert."""
        found = watchers.asked(self.alertmanager, "/api/v2/alerts", active="true")
        return any(item["labels"]["alertname"] == alert for item in found)

    def decided(self) -> Counter[str]:
        """How often each payment was decided."""
        with app.open_exactly(self.bank).log.reading() as log:
            return Counter(row.id for rows in log.decisions.after() for row in rows)

    def delivered(self) -> Counter[str]:
        """How often each decision came to the destination."""
        assert self.store is not None
        with psycopg.connect(self.store.address) as database:
            return Counter(id_ for (id_,) in database.execute("SELECT id FROM decisions").fetchall())


def until(is_true: Callable[[], bool], what: str) -> float:
    """Wait; gives the seconds. Raises: TimeoutError."""
    began = time.monotonic()
    while not is_true():
        if time.monotonic() > began + PATIENCE_S:
            raise TimeoutError(what)
        time.sleep(LOOK_S)
    return time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault and its end.

    Args:
        settings: Lines of shroff.yaml; `STORE` is the address of a PostgreSQL, which is started where it is named;
            `METRICS` a port, because keys cannot be verified while the log's database is away.
        services: How many; those behind the first stand by.
        prepare: Before payments are sent.
        counted: How often each payment came to where it must be once.
    """

    name: str
    fault: str
    alert: str
    strike: Callable[[World], object]
    mend: Callable[[World], object] | None
    settings: str = ""
    services: int = 1
    prepare: Callable[[World], object] = lambda _: None
    counted: Callable[[World], Counter[str]] = World.decided


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a drill.

    Attributes:
        alert_s: From the fault until Alertmanager had the alert.
        recover_s: From the end of the fault until a new payment was answered, and had come to where it must be.
        sent: Payments that were answered.
        again: Those of them that had to be sent again after the fault.
    """

    drill: Drill
    alert_s: float
    recover_s: float
    sent: int
    again: int
    lost: int
    doubled: int


# ---- faults and their ends


def _kill(world: World) -> None:
    world.services[0].kill()


def _serve(world: World) -> None:
    world.serve(world.services[0].key)


def _signal(which: signal.Signals) -> Callable[[World], None]:
    return lambda world: world.services[0].process.send_signal(which)


def _follow(world: World) -> None:
    command = f"{SHROFF} -C {world.bank} backup create --follow --every 1 --at {world.folder}/vault --json"
    world.beside.append(subprocess.Popen(command.split(), stdout=subprocess.PIPE))
    assert world.beside[0].stdout is not None
    world.beside[0].stdout.readline()


def _lose_disk(world: World) -> None:
    _kill(world)
    for item in world.beside:
        item.kill()
        item.wait()
    (world.folder / "secrets").mkdir()
    shutil.copy(world.bank / ".shroff/hash.key", world.folder / "secrets")  # never in a backup, and kept elsewhere
    shutil.rmtree(world.bank)


def _restore(world: World) -> None:
    command = f"{SHROFF} restore {world.bank} --from {world.folder}/vault --secrets {world.folder}/secrets"
    subprocess.run(command.split(), check=True, capture_output=True)
    _serve(world)


def _kill_store(world: World) -> None:
    assert world.store is not None
    for child in world.store.children():
        child.kill()


def _start_store(world: World) -> None:
    assert world.store is not None
    world.store.start()


SINK: Final = 'sinks: { warehouse: { sql: { url: "STORE", table: decisions } } }'
DRILLS: Final = (
    Drill("killed", "the service is killed (`kill -9`), and started again", "ShroffDown", _kill, _serve),
    Drill(
        "frozen", "the service is frozen, and goes on", "ShroffDown", _signal(signal.SIGSTOP), _signal(signal.SIGCONT)
    ),
    Drill(
        "pair", "the active service of a pair is killed; the standby takes over", "ShroffDown", _kill, None, services=2
    ),
    Drill(
        "disk",
        "the service is killed and its disk is lost; the project is restored from the backup of a second ago",
        "ShroffDown",
        _lose_disk,
        _restore,
        prepare=_follow,
    ),
    Drill(
        "store",
        "the PostgreSQL under the log is killed, and started again",
        "ShroffNotReady",
        _kill_store,
        _start_store,
        "store: STORE\nmetrics: { port: METRICS }",
    ),
    Drill(
        "destination",
        "the database that decisions are sent to is killed, and started again",
        "ShroffDeliveryFailing",
        _kill_store,
        _start_store,
        SINK,
        counted=World.delivered,
    ),
)


# ---- running them


def _end(world: World) -> None:
    for service in world.services:
        service.kill()
    for other in world.beside:
        other.kill()
        other.communicate()


@contextmanager
def world_of(drill: Drill, folder: Path) -> Iterator[World]:
    """The services of a drill, its sender, and what watches them."""
    with ExitStack() as held:
        ports = [held.enter_context(closing(Port())) for _ in range(drill.services)]
        own = held.enter_context(closing(Port()))
        world = World(folder, ports)
        shutil.copytree(TEMPLATE_FOLDER / "payments", world.bank)
        lines = drill.settings.replace("METRICS", str(own.number))
        if "STORE" in lines:
            world.store = held.enter_context(Postgres())
            lines = lines.replace("STORE", world.store.address)
        with (world.bank / "shroff.yaml").open("a", encoding="utf-8") as file:
            file.write(lines + "\n")
        key = key_of(world.bank)
        held.callback(_end, world)
        for at in range(drill.services):
            world.serve(key, at)
        addresses = [f"127.0.0.1:{port.number}" for port in ports]
        scraped = [f"127.0.0.1:{own.number}"] if "METRICS" in drill.settings else addresses
        settings = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
        for name in ("prometheus", "alertmanager"):
            (folder / name).mkdir()
        world.alertmanager = held.enter_context(watchers.alertmanager(folder / "alertmanager", settings))
        held.enter_context(watchers.prometheus(folder / "prometheus", scraped, world.alertmanager, fast=True, key=key))
        drill.prepare(world)
        world.sender = Sender([f"http://{address}" for address in addresses], key)
        held.callback(world.sender.end)
        yield world


def run(drill: Drill, folder: Path) -> Result:
    """Do one drill. Raises: TimeoutError where no alert comes, or the service does not recover."""
    with world_of(drill, folder) as world:
        sender = world.sender
        assert sender is not None
        until(lambda: len(world.sent) >= SENT and not world.fires(drill.alert), "payments")
        drill.strike(world)
        struck = time.monotonic()
        alert_s = until(lambda: world.fires(drill.alert), drill.alert)
        ended = struck if drill.mend is None else time.monotonic()
        if drill.mend is not None:
            drill.mend(world)
        until(lambda: sender.last_s > ended, "an answer")
        recover_s = next(at_s for _, at_s in sender.answered if at_s > ended) - ended
        if drill.counted is World.delivered:
            wanted = set(world.sent)
            until(lambda: wanted <= {*world.delivered()}, "deliveries")
            recover_s = time.monotonic() - ended
        until(lambda: len([at_s for _, at_s in sender.answered if at_s > ended]) >= SENT, "more answers")
        sender.end()
        if drill.counted is World.delivered:
            until(lambda: {*world.sent} <= {*world.delivered()}, "deliveries")
        found = drill.counted(world)
        again = [message for message in world.sent if message not in found]
        for item in again:
            sender.post(item, sender.addresses[0])
        found = drill.counted(world)
        lost = sum(message not in found for message in world.sent)
        return Result(drill, alert_s, recover_s, len(world.sent), len(again), lost, found.total() - len(found))


def page(results: Sequence[Result]) -> str:
    """The table, with the faults of `make faults` in its last row."""
    waits = {rule["alert"]: rule["for"] for rule in rules_of(checks.DEPLOY) if "alert" in rule}
    heads = "fault | alert | seconds to alert | `for` in deploy/ | seconds to recover | answered | sent again | lost"
    rows = [f"| {heads} | doubled |", "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    rows += [
        f"| {row.drill.fault} | {row.drill.alert} | {row.alert_s:.1f} | {waits[row.drill.alert]} | {row.recover_s:.1f} "
        f"| {row.sent:,} | {row.again:,} | {row.lost:,} | {row.doubled:,} |"
        for row in results
    ]
    times, lost, doubled, most = _faults()
    campaign = f"{times} random faults of [`make faults`](faults.md)"
    rows.append(f"| {campaign} | not watched | - | - | at most {most} | - | - | {lost} | {doubled} |")
    return "\n".join(["# Drills", "", f"{describe()}. `make drills` repeats it.", "", ABOUT, "", *rows, "", SEE, ""])


def _faults() -> list[str]:
    """Of the tables of `make faults`: how many, lost, doubled, and the longest recovery in seconds."""
    rows = re.findall(r"(?m)^\| \*\*all\*\* .*$", FAULTS.read_text(encoding="utf-8"))
    cells = [[part.strip() for part in row.strip("|").split("|")] for row in rows]
    counts = [sum(int(row[at]) for row in cells) for at in (1, 2, 3)]
    return [*map(str, counts), max((row[5].removeprefix("at most ") for row in cells), key=float)]


def main() -> int:
    """0 when nothing was lost or doubled, 1 else."""
    parser = argparse.ArgumentParser(prog="python -m tools.drills", description=(__doc__ or "").partition("\n")[0])
    names = [path.name for path in DRILLS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these, of {', '.join(names)}; no table is kept")
    chosen = parser.parse_args().names
    results = []
    for drill in DRILLS:
        if drill.name in (chosen or names):
            with tempfile.TemporaryDirectory() as folder:
                results.append(run(drill, Path(folder)))
                result = results[-1]
                print(f"{drill.name}: alert {result.alert_s:.1f} s, recovered {result.recover_s:.1f} s, ", end="")
                print(
                    f"{result.sent} sent, {result.again} again, {result.lost} lost, {result.doubled} doubled",
                    flush=True,
                )
    if not chosen:
        write_result("drills", page(results))
    return int(any(result.lost or result.doubled for result in results))


if __name__ == "__main__":
    sys.exit(main())
