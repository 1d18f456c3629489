"""What the program keeps among offsets and cannot read is told in words, wherever it is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StateError
from shroff.log.event_notes import DAY_COUNTS, EVENT_SOURCES, DayCounts, sources_of
from shroff.log.unmatched_files import UNMATCHED, unmatched_of
from shroff.notices.notification_worker import begun_at
from shroff.project.settings.system import System
from shroff.streams.log import Batch, Log, Offset
from shroff.worker.outbox import sink_states

SINKS = {"decided": System("webhook", {})}
READ: dict[str, tuple[tuple[str, str], Callable[[Log], object]]] = {
    "unmatched": ((UNMATCHED, "march.csv"), unmatched_of),
    "sink": (("sink:decided", ""), lambda log: sink_states(log, SINKS)),
    "trouble": (("sink:decided", "trouble"), lambda log: sink_states(log, SINKS)),
    "notices": (("notices", "begun"), begun_at),
    "sources": ((EVENT_SOURCES, "1"), sources_of),
    "days": ((DAY_COUNTS, "20000"), DayCounts),
}


@pytest.mark.parametrize("text", ['{"other": true}', "[[]]", "not JSON"])
@pytest.mark.parametrize("name", READ)
def test_an_offset_with_other_content_is_told_with_its_name(tmp_path: Path, name: str, text: str):
    (source, part), read = READ[name]
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        log.append(Batch(offsets=[Offset(source, part, text)]))
        with pytest.raises(StateError, match=r"the offset '.*' of the log cannot be read.*restore the last backup"):
            read(log)
