"""A log: that of SQLite at an address, with a setting of its own."""

from __future__ import annotations

from pathlib import Path

from shroff.plugins.log import SqliteLog
from shroff.plugins.settings import WHOLE, AdapterSettings, Key, MappingShape


class DiskLog(SqliteLog):
    """A file of at most so many bytes."""

    settings = AdapterSettings(
        "A file of bounded size.",
        MappingShape(
            "a file", (Key("largest", "The most bytes that the file may have.", WHOLE, default="1000000000"),)
        ),
        schemes={"disk": None},
    )

    def __init__(self, url: str, *, read_only: bool, lease_s: float, largest: str = "1000000000") -> None:
        super().__init__(Path(url.removeprefix("disk://")), read_only=read_only, max_bytes=int(largest))

    @staticmethod
    def is_there(url: str, largest: str = "1000000000") -> bool:
        """Whether there is a log at this address."""
        return Path(url.removeprefix("disk://")).exists()
