"""The contract of sources bound to the source in memory that tests of the worker read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from shroff.events.formats.wire import Decoder
from shroff.streams.merge import Merge
from shroff.testing.contracts import source_messages
from shroff.testing.contracts.source import Outside, SourceContract
from tests.support.source_memory import MemorySource, MemoryTopic


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_messages, "QUIET_S", 0.1)


class InMemory(Outside):
    """A topic in memory."""

    def __init__(self) -> None:
        self.parts = ["payments/0", "payments/1"]
        self.topic = MemoryTopic({part: [] for part in self.parts}, "payment")

    def put(self, part: str, values: Sequence[bytes]) -> None:
        self.topic.send(part, *values)

    def open(self, decoder: Decoder, merge: Merge) -> MemorySource:
        return MemorySource(self.topic, decoder=decoder, merge=merge)

    def remove_first(self, part: str, count: int) -> None:
        self.topic.gone[part] = count

    def add_part(self) -> str:
        self.topic.send("payments/2")
        return "payments/2"

    def dead_letters(self) -> list[Mapping[str, bytes]]:
        names = ("source", "place", "type", "reason")
        return [
            {name: getattr(letter, name).encode() for name in names} | {"raw": letter.raw}
            for letter in self.topic.letters
        ]

    def close(self) -> None:
        pass


class TestMemorySource(SourceContract):
    def make_outside(self) -> InMemory:
        return InMemory()
