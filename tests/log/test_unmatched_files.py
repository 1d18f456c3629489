"""Notes of a worker on files of which no event type accepts a line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shroff.log.unmatched_files import PassingOver, unmatched_of
from shroff.streams.log import Batch
from shroff.streams.source import PolledMessages
from tests.support.log_memory import MemoryLog


def test_lines_of_unmatched_files_add_up_until_one_is_accepted():
    log = MemoryLog()
    intake: Any = SimpleNamespace(unmatched=[SimpleNamespace(source="a.csv", lines=3)])

    def commit(*names: str, begins: bool = True) -> dict[str, int]:
        """Commit lines of these files in a new worker; return the notes by file."""
        found = [PolledMessages(name, None, "jsonl", (), "", begins=begins) for name in names]
        log.append(Batch(offsets=PassingOver(log, intake, lambda: 7).offsets(found)))
        return {name: note.lines for name, note in unmatched_of(log).items()}

    assert commit("a.csv", "b.csv") == {"a.csv": 3}
    assert commit("a.csv", begins=False) == {"a.csv": 6}
    intake.unmatched = []
    assert commit("a.csv", begins=False) == {}
