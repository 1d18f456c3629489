"""What an opened project is asked about its decisions: why, the same again, the whole log again, features in tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from shroff.app.elsewhere import Elsewhere
from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from shroff.explain.explanation import Explained
    from shroff.explain.key_index import KeyIndex
    from shroff.log.columns.tables import Way
    from shroff.log.state.histories import LeftOut
    from shroff.models.registry import Registry
    from shroff.project.definitions import Definitions
    from shroff.replay.compare import Replayed, Verification
    from shroff.runtime.progress import Progress
    from shroff.streams.log import Log


class Asking(Elsewhere):
    """Questions to an opened project. Each call reads the log as it is then."""

    __slots__ = ()

    warnings: list[str]

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """The models of the project, in force or not."""

    @property
    @abstractmethod
    def hasher(self) -> Callable[[str], str]:
        """What stands for the clear values of hashed fields."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    def replay(self, reference: str) -> Replayed:
        """The recorded decision and the same computed again from the log."""
        from shroff.log.history import find
        from shroff.replay.compare import Replayed, replay

        if self.is_parted:
            return self.lane_of(reference).replay(reference)
        with self.reading() as log:
            row = find(log, self.definitions.events, reference)
            return Replayed(row, replay(log, row.seq, self.registry.load))

    def explain(self, reference: str, progress: Progress | None = None) -> Explained:
        """A decision with its features beside this entity's earlier ones, and the words of its rules."""
        from shroff.explain.explanation import explain
        from shroff.log.history import find

        if self.is_parted:
            return self.lane_of(reference).explain(reference, progress)
        with self.reading() as log:
            row = find(log, self.definitions.events, reference)
            return explain(log, row, progress, self.registry.load, self.key_index)

    @abstractmethod
    def key_index(self, definitions: Definitions) -> KeyIndex:
        """The index of the log by key, for the entities of these definitions; it may cover nothing yet."""

    def index_keys(self, progress: Progress | None = None) -> int:
        """Have the index cover the log but for its newest events, by the version in force; gives how many places came.

        Raises: UsageError where there is no log; StorageError where the index cannot be written.
        """
        from shroff.explain.explanation import definitions_at

        with self.reading() as log:
            definitions = definitions_at(log, log.last_seq())  # models are not asked; what they need takes longest
            return self.key_index(definitions).extend(log, progress)

    def verify(
        self,
        engines: str | Sequence[str] = ("online", "batch", "naive"),
        sample: int | None = None,
        progress: Progress | None = None,
    ) -> Verification:
        """Compute the log again through the engines and compare (see `replay.verifying`)."""
        from shroff.features.computed import known_engines
        from shroff.replay.verifying import verified_together, verify

        names = known_engines(engines)
        if sample is not None and sample < 1:
            raise UsageError(f"a sample has 1 event at least, not {sample}.")
        if self.is_parted:
            return verified_together(one.verify(names, sample, progress) for one in self.each_lane() if one.has_log())
        with self.reading() as log:
            return verify(log, names, sample, progress, self.registry.load)

    def feature_tables(
        self,
        event: str,
        files: Sequence[Path],
        way: Way,
        *,
        as_of_ms: int | None = None,
        left: LeftOut | None = None,
    ) -> Iterator[pa.Table]:
        """The features of one type, as Arrow tables that follow each other in log order or in the files' order.

        `left` is told of the lines that gave no event; without it they are a warning.
        """
        from shroff.log.columns.tables import feature_tables, tables_of
        from shroff.log.state.fold import lateness_of
        from shroff.log.state.histories import LeftOut, file_batches, known_by, log_batches

        told = LeftOut() if left is None else left
        definitions = self.definitions
        if files and way.engine in {"batch", "online"}:
            from shroff.log.columns.files import file_columns

            found = file_columns(files, definitions, self.hasher, event, as_of_ms, told)
            yield from tables_of(definitions, event, found, definitions.settings.lateness_ms, way)
        elif files:
            lines = ((path.name, read_lines(path)) for path in files)
            batches = known_by(file_batches(lines, definitions, self.hasher, event, told), as_of_ms)
            yield from feature_tables(definitions, event, batches, definitions.settings.lateness_ms, way)
        else:
            with self.reading() as log:
                batches = known_by(log_batches(log, definitions), as_of_ms)
                yield from feature_tables(definitions, event, batches, lateness_of(log, definitions), way)
        if left is None and told.count:
            self.warnings.append(f"{told}.")
