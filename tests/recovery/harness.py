"""Runs of a real `ingest` that end by SIGKILL, and what their log holds afterwards.

Every run is a process of its own, forked from one that has the program loaded, so that
hundreds of them take seconds. What is compared is everything that the log's contract
shows, without the clock: events, decisions with their receipts, hits, flags, quarantine,
waiting labels, outbox.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec.structs import astuple

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.rows import APPEND_STEPS as STEPS
from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank, with_labels
from shroff.notices.sql import NoticeStore
from shroff.notices.store import Due
from shroff.notices.triggers import KIND
from shroff.runtime.values import replace
from shroff.services import adapter_factory
from shroff.services import project as app
from shroff.streams.log import Record
from shroff.worker import ingest
from tests.support import pages
from tests.support.effort import IS_LONG
from tests.support.log_memory_parts import quarantined

Contents = dict[str, list[tuple[object, ...]]]
TEMPLATE = TEMPLATE_FOLDER / "payments"
BATCH_SIZE = 64
# Steps of a commit at which what lies above a log is killed where a change is tried: ahead of its rows, among them, and
# on both sides of its end. `test_kill` and `test_worker` kill at every step.
TRIED_STEPS = STEPS if IS_LONG else ("begin", "decisions", "before commit", "after commit")
GATHERED = 20  # forks between two looks for memory that came in small pages
_forks = count()

TOLD = "notice:analysts"  # the kind of what the notice below keeps

NOTICE_RULE = """
- id: large_payment_told
  on: payment
  by: card
  when: this.amount > 150
  reason: A payment of {this.amount}
  effect: note
  notify: analysts
"""
# Gathered for longer than any clock here jumps: what is told stays in the store of notices, where it can be counted.
NOTICE = """
on: flag
to: { role: analyst }
digest: 9000d
within: 9000d
"""


def make_project(folder: Path) -> Path:
    """A payments project in a new folder, with a rule that tells somebody."""
    shutil.copytree(TEMPLATE, folder)
    (folder / "rules" / "told.yaml").write_text(NOTICE_RULE, encoding="utf-8")
    (folder / "notices" / "analysts.yaml").write_text(NOTICE, encoding="utf-8")
    return folder


def is_told(row: tuple[object, ...], notices: NoticeStore) -> bool:
    """Whether the store of notices took over a row of the log's outbox that it keeps; all others are none of its."""
    kind = row[2]
    if kind != TOLD:
        return str(kind).startswith(KIND)
    with notices.look() as look:
        return look.find(Due, told_key(row)) is not None


def told_key(row: tuple[object, ...]) -> str:
    """The key under which the store of notices keeps a row of the log's outbox."""
    seq, number, *_ = row
    return f"{TOLD.removeprefix(KIND)}/{seq}-{number}"


def keys_told(notices: NoticeStore) -> list[str]:
    """The keys of all that the store of notices took over and keeps."""
    with notices.look() as look:
        return [due.key for due in look.waiting(TOLD.removeprefix(KIND), limit=1_000_000)]


def write_events(path: Path, events: int, seed: int) -> Path:
    """Payments with their labels, and among them lines that are broken, sent twice, altered, far too late or early."""
    lines: list[bytes] = []
    for number, item in enumerate(with_labels(bank(events, seed), seed)):
        kind = "label" if "verdict" in item.event else "payment"
        line = msgspec.json.encode({kind: item.event})
        lines.append(line)
        if number % 97 == 5:
            lines.append(b'{"payment": {"payment_id": "broken-%d", "amount": "1.005"}}' % number)
        if number % 89 == 7:
            lines.append(line)
        if number % 101 == 11 and kind == "payment":
            lines.append(msgspec.json.encode({kind: {**item.event, "amount": "0.07"}}))
        if number % 103 == 13:
            lines.append(b"{ this is no JSON %d" % number)
        if number % 211 == 17 and kind == "payment":
            late = {**item.event, "payment_id": f"late-{number}", "paid_at": "2025-01-01T00:00:00Z"}
            lines.append(msgspec.json.encode({kind: late}))
        if number % 307 == 19:
            label = {
                "event": f"payment/p-{number + 400}",
                "verdict": "fraud",
                "source": "customer",
                "known_at": "2026-10-01T00:00:00Z",
            }
            lines.append(msgspec.json.encode({"label": label}))
        if number % 59 == 23:  # in the same batch as its event, or before it
            early = {
                "event": f"payment/p-{number + 20 + number % 100}",
                "verdict": "fraud",
                "source": "analyst",
                "known_at": "2020-01-01T00:00:00Z",
            }
            lines.append(msgspec.json.encode({"label": early}))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def ingest_in_a_process(
    project: Path, events: Path, on_step: Callable[[str], None] | None = None, *, after_s: float | None = None
) -> int:
    """Ingest in a forked process; gives the signal that ended it, 0 where it ran to its end.

    `on_step` may kill the process at a step of a commit; `after_s` kills it after a time.
    """

    def ingest_all() -> None:
        options = {} if on_step is None else {"on_step": on_step}
        adapter_factory.load_entry = lambda name: partial(SqliteLog, **options)
        ingest.ingest.__kwdefaults__["batch_size"] = BATCH_SIZE
        app.open(project).ingest([events], order="file")  # some lines are too late on purpose

    return in_a_process(ingest_all, after_s=after_s)


def in_a_process(work: Callable[[], object], *, after_s: float | None = None) -> int:
    """Do something in a forked process; gives the signal that ended it, 0 where it ran to its end."""
    return ended(forked(work, after_s=after_s))


def forked(work: Callable[[], object], *, after_s: float | None = None) -> int:
    """Begin some work in a forked process; gives its id.

    The child changes its own copy of the program as it likes.
    """
    if next(_forks) % GATHERED == GATHERED - 1:  # not at the first one: it takes as long as many forks
        pages.gather()
    child = os.fork()  # threads of libraries and servers are not copied; the child uses nothing that they may hold
    if child == 0:
        # What tests before this one left in circles is not taken down here: some of it has threads, which are not
        # copied, and a child that waited for them, or freed what they hold, would end by another signal than ours.
        gc.disable()
        _run(work, after_s)
    return child


def ended(child: int) -> int:
    """Wait for a process; gives the signal that ended it, 0 where it ran to its end."""
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the process failed by itself; its error is above"
        return 0
    return os.WTERMSIG(status)


def _run(work: Callable[[], object], after_s: float | None) -> NoReturn:
    """In the child: never comes back."""
    try:
        if after_s is not None:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, after_s)
        work()
    except BaseException:  # noqa: BLE001 (a forked child must not go on with the tests)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def contents(project: Path) -> Contents:
    """Everything that the log of a project holds, but for the clock."""
    with closing(SqliteLog(project / ".shroff" / "log.db", read_only=True)) as log:
        return contents_of(log)


def unique_of(log: SqliteLog, records: list[Record]) -> list[tuple[object, ...]]:
    """What the log knows of unique fields of payments: the texts of values that it has, and which events they name."""
    indexed = [record.field for record in log.indexed() if record.type == "payment"]
    bodies = [msgspec.json.decode(record.body) for record in records if record.type == "payment"]
    return [
        (name, value, found.id)
        for name in indexed
        for value, found in sorted(log.find_unique("payment", name, [body.get(name) or "" for body in bodies]).items())
    ]


def contents_of(log: SqliteLog) -> Contents:
    """Everything that a log holds, but for the clock."""
    records = [record for batch in log.read() for record in batch]
    records = [replace(record, time_ms=0) if record.kind == "control" else record for record in records]
    return {
        "records": [astuple(record) for record in records],
        "decisions": [astuple(row) for rows in log.decisions.after() for row in rows],
        "hits": [astuple(row) for rows in log.hits.after() for row in rows],
        "flags": [astuple(row) for rows in log.flags.after() for row in rows],
        "waiting": [
            (*astuple(replace(record, body=b"")), msgspec.json.decode(record.body) | {"arrived_ms": 0})
            for record in log.waiting.all()
        ],
        "unique": unique_of(log, records),
        "outbox": [astuple(record) for record in log.outbox.rows(limit=1_000_000)],
        "quarantine": sorted(
            (entry.source, int(entry.place) if entry.place.isdigit() else -1, entry.place, entry.raw)
            for _, entry in quarantined(log)
        ),
    }
