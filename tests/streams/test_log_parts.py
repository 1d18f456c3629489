"""The parts of the log contract: together they are a log, and none is wide."""

from __future__ import annotations

import inspect
from collections import Counter

from shroff.streams.log import Lead, Log, LogReader, LogState, LogWriter

INHERITED = (LogReader, LogState, LogWriter, Lead)
COMPOSED = {"inbox", "quarantine", "outbox", "offsets", "waiting", "personal", "late"}


def promised(part: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(part, inspect.isroutine) if not name.startswith("_")} | {
        name for name, _ in inspect.getmembers(part, lambda member: isinstance(member, property))
    }


def test_each_promise_of_a_log_belongs_to_one_part():
    of_parts = Counter(name for part in INHERITED for name in promised(part))

    assert set(of_parts) | COMPOSED == promised(Log)
    assert {name: count for name, count in of_parts.items() if count > 1} == {}
    assert max(len(promised(part)) for part in INHERITED) <= 20
