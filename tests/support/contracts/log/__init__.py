"""The contract of logs in parts, and their base: how logs are made, and a log with its reader for each test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from shroff.streams.log import Log
from shroff.testing.contracts.promises import Contract


class LogCase(Contract):
    """What an adapter says of its logs."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """Open the log in this folder for writing; a new one where there is none."""

    @abstractmethod
    def make_reader(self, folder: Path) -> Log:
        """Open the log in this folder for reading, beside a writer."""

    @abstractmethod
    def overtake(self, log: Log, folder: Path) -> Log:
        """Open a log for writing that this process holds already, as if its owner had been silent for too long."""

    def reopen(self, folder: Path) -> Log:
        """Open a log again that was closed."""
        return self.make_log(folder)

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        """A new log, closed behind the test."""
        log = self.make_log(tmp_path)
        yield log
        log.close()

    @pytest.fixture
    def reader(self, log: Log, tmp_path: Path) -> Iterator[Log]:
        """A reader beside it."""
        reader = self.make_reader(tmp_path)
        yield reader
        reader.close()
