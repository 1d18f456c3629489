"""Messages of Amazon SNS under open-loop load: verified, decided and durable before they are answered.

The template `savings`; each message is signed by version 2 with a key of 2,048 bits. Beside them in the same run: the
same events posted with a key and without a signature; and a plain loop that verifies a message and inserts it into
SQLite, one commit each. The generator is pinned to one core, the service to the other.

    python -m bench.sns [--rates 500,1000,2000] [--seconds 10] [--scratch FOLDER] [--keep]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

from bench.machine import tell_result
from bench.service import ME, SHROFF, WARM_S, load, request, row, running
from shroff.config import TEMPLATE_FOLDER
from shroff.people import keys
from shroff.people.access import Role
from shroff.services import project as app
from shroff_plugins.connectors.sns import SnsSource
from tools import sns

LOOPED = 2_000  # messages of the plain loop
SOURCES = f"""
sources:
  savings_topic:
    sns: {{ topics: ["{sns.TOPIC}"], certificates: certs }}
    events: [saving, withdrawal]
"""


def project(folder: Path) -> Path:
    """A project with a source, and the certificate of the stand-in."""
    shutil.copytree(TEMPLATE_FOLDER / "savings", folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(SOURCES)
    (folder / "certs").mkdir()
    (folder / "certs" / sns.CERTIFICATE.rpartition("/")[2]).write_bytes(sns.certificate(now=datetime.now(UTC)))
    return folder


def message(number: int, at_ms: int) -> str:
    """A saving as the app writes it."""
    context = {"accountId": f"a-{number % 5_000}", "savedAmount": f"{number % 900_000 + 1}::HUNDREDTH_CENT::ZAR"}
    found = {"userId": f"u-{number % 5_000}", "eventType": "SAVING_PAYMENT_SUCCESSFUL", "timestamp": at_ms + number}
    return json.dumps({**found, "transactionId": f"t-{number}", "context": context})


def hooks(at_ms: int) -> Iterator[bytes]:
    """Requests as SNS makes them."""
    for number in count():
        yield request("/hooks/savings_topic", sns.posted(MessageId=f"m-{number}", Message=message(number, at_ms)), "")


def posts(at_ms: int, key: str) -> Iterator[bytes]:
    """The same events by a program with a key."""
    for number in count():
        event = {
            "saving_id": f"p-{number}",
            "saved_at": datetime.fromtimestamp((at_ms + number) / 1_000, UTC).isoformat(),
            "user": f"v-{number % 5_000}",
            "account": f"b-{number % 5_000}",
            "amount": f"{(number % 900_000 + 1) / 100:.2f}",
        }
        yield request("/api/v1/events/saving", json.dumps(event).encode(), key)


def looped(folder: Path, at_ms: int) -> float:
    """Messages a second of a plain loop: verify, insert, commit."""
    bodies = [sns.posted(MessageId=f"m-{number}", Message=message(number, at_ms)) for number in range(LOOPED)]
    source = SnsSource({"topics": [sns.TOPIC], "certificates": str(folder / "certs")}, lambda _url: b"")
    source.fetch(sns.CERTIFICATE)
    database = sqlite3.connect(folder / "loop.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE message (id TEXT PRIMARY KEY, body BLOB)")
    began_s = time.perf_counter()
    for body in bodies:
        found = source.verified({}, body, int(time.time() * 1_000))
        database.execute("INSERT INTO message VALUES (?, ?)", (found.id, found.body))
    seconds = time.perf_counter() - began_s
    database.close()
    return LOOPED / seconds


def run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure, print, and write the table."""
    os.sched_setaffinity(0, {1})
    folder = project(scratch / "app")
    with app.open_exactly(folder).people.open() as desk:
        key = keys.create(desk, ME, "bench", Role.SERVICE)[1]
    at_ms, rows = int(time.time() * 1_000) - 3_600_000, []
    hooked, posted = hooks(at_ms), posts(at_ms, key)
    served = [str(SHROFF), "-C", str(folder), "serve", "--port", "0", "--rate", "1000000"]
    with running(served, 0) as port:
        for calls in (hooked, posted):
            load(port, calls, 200, int(200 * WARM_S))
        for rate in options.rates:
            for name, calls in (("messages of SNS", hooked), ("posted with a key", posted)):
                found = load(port, islice(calls, int(rate * options.seconds)), rate, int(rate * options.seconds))
                rows.append(row(name, found))
                print(rows[-1], flush=True)
    heads = "| work | due/s | answered/s | p50 ms | p90 | p99 | p99.9 | most | answered otherwise |"
    table = "\n".join([heads, "| --- " * 9 + "|", *rows])
    plain = f"A plain loop that verifies, inserts and commits: {looped(folder, at_ms):,.0f} messages/s."
    tell_result("sns", "Messages of Amazon SNS", __doc__, f"{table}\n\n{plain}", keep=options.keep)


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rates", type=lambda text: [float(part) for part in text.split(",")], default=[500, 1_000, 2_000]
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        run(options, Path(scratch))


if __name__ == "__main__":
    main()
