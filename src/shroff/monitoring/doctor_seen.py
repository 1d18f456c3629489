"""What one look of `doctor` leaves to the next of the same process, so that none reads again what has not changed.

A program that looks each minute would else read all labels and the whole newest snapshot each minute.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shroff.language.values import HOUR_MS
from shroff.log.later_labels import LaterLabels
from shroff.streams.snapshots import Header, Snapshots

CHECKED_MS: Final = HOUR_MS  # after which a snapshot's bytes are read again: disks fail silently


@dataclass(slots=True)
class Seen:
    """What earlier looks found. For one look at a time."""

    labels: LaterLabels = field(default_factory=LaterLabels)
    _checked: tuple[Hashable, Header | None, int] | None = None
    _lanes: dict[Path, Seen] = field(default_factory=dict)

    def of(self, state: Path) -> Seen:
        """What they found in one of several lanes, by its folder of state."""
        return self._lanes.setdefault(state, Seen())

    def checked(self, snapshots: Snapshots, path: Path, now_ms: int) -> tuple[Header | None, int]:
        """The header of a snapshot, as `Snapshots.check`, and when its bytes were read: now, or within the last hour.

        A snapshot is written once, under another name; so a file of the same size and age is the same one.
        Raises: as `Snapshots.check`, at every look.
        """
        stat = path.stat()
        file = path, stat.st_ino, stat.st_size, stat.st_mtime_ns
        if self._checked is not None:
            known, header, at_ms = self._checked
            if known == file and at_ms <= now_ms < at_ms + CHECKED_MS:
                return header, at_ms
        self._checked = None
        header = snapshots.check(path)
        self._checked = file, header, now_ms
        return header, now_ms
