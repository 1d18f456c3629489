"""What an opened project trains again by itself, as files come."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from shroff import config
from shroff.app.additions import Additions
from shroff.app.models.trainings import Trainings
from shroff.runtime.progress import unheard
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.app.models.retraining import FileReport, Options, Said, Watch
    from shroff.log.writer import Writer
    from shroff.training.train import Steps
    from shroff.worker.inbox import Inbox


class Retrainings(Trainings, Additions):
    """The calls of a project that train again."""

    __slots__ = ()

    @abstractmethod
    def inbox(self, writer: Writer, log: Log) -> Inbox:
        """The inbox of a log that this process writes."""

    def watch(
        self, place: str | Path, options: Options | None = None, *, say: Said = unheard, steps: Steps | None = None
    ) -> Iterator[FileReport]:
        """Take each complete new file of a folder or list once, in order, train again for each, and tell of it.

        Without `options.once` it goes on until the iteration is left. Files are looked into
        before a line of them is taken; one that is broken, empty or cut off is set aside, and looked at
        again when it has changed.

        Args:
            place: A folder, or the URL of a text that lists files.
            say: Is told what is waited for.

        Raises: UsageError at once where there is nothing to watch. While it goes on: LogBusyError where another process
            watches for this project, or, with `once`, the one that writes its log takes nothing up for a minute;
            TransientError, with `once`, where what is watched cannot be reached.
        """
        from shroff.app.models.retraining import Options, Watch
        from shroff.replay.clusters import growing_on
        from shroff.training.sets.wanted import settings_of
        from shroff.worker.serving.watched import watched

        options = options or Options()
        if options.cluster is not None:  # a learner that it has nothing for is told before a file is taken
            growing_on(options.cluster, settings_of(self.definitions, options.event).learner, self.places.state)
        given = watched(
            str(place),
            self.now_ms,
            self.places.downloads,
            settled_ms=options.settled_ms,
            has_markers=options.has_markers,
        )
        return self._watching(Watch(self, given, options, say, steps))

    def _watching(self, watch: Watch) -> Iterator[FileReport]:
        """The reports of one process that watches for this project, while it goes on."""
        with config.watching(self.places):
            yield from watch.reports()
