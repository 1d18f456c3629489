"""Log of an opened project, opened for each call, and the key of its hashed fields."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from shroff.config import ProjectPaths
from shroff.errors import StorageError, UsageError
from shroff.events import hash_keys
from shroff.runtime.keywords import check_keywords
from shroff.streams.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shroff.log.writer import Writer
    from shroff.runtime.progress import Progress
    from shroff.services.context import ProjectContext
    from shroff.streams.log import Log

KEY_CURE = (
    "Restore it from your copy; backups never have it. With a new key, known cards would look new, and 'shroff audit "
    "verify' would report a break for good"
)
FIRST_EVENTS = "Bring events in with 'shroff ingest FILE --as EVENT'."


@check_keywords
class ProjectLog:
    """The log of a project. Each call opens and closes it, so several programs can read while one writes."""

    def __init__(self, context: ProjectContext) -> None:
        self._context = context

    @contextmanager
    def reading(self) -> Iterator[Log]:
        """Open the log to read. Raises: UsageError if there is none yet."""
        if not self.exists():
            raise UsageError(f"this project has no log yet. {FIRST_EVENTS}")
        with closing(self.open(read_only=True)) as log:
            yield log

    @contextmanager
    def writing(self, progress: Progress | None = None) -> Iterator[tuple[Writer, Log]]:
        """Open the writer with its state restored; create the log if there is none.

        On exit without an error a snapshot is saved if the next start would have to read much of the log.

        Raises: LogBusyError while another process writes, TransientError if the log's server cannot be reached;
            DefinitionError for mistakes in the project; StateError for a lost hash key or a model that cannot load.
        """
        from shroff.log.state.snapshots import EVERY
        from shroff.log.writer import Writer
        from shroff.services.adapter_factory import make_state_folder
        from shroff.services.project_files import checked

        context = self._context
        if not self.exists():
            checked(context)  # a project with mistakes gets no log
            make_state_folder(context.paths)
        with closing(self.open(read_only=False)) as log:
            definitions = checked(context)
            if definitions.events.has_hashed:
                self.hasher("")  # create the key before the log records hashed values
            writer = Writer(log, definitions, context.now_ms, progress, Snapshots(context.paths.snapshots))
            context.warnings += writer.warnings
            yield writer, log
            if writer.unsaved > EVERY:
                try:
                    writer.snapshot()
                except StorageError as error:
                    context.warnings.append(f"{error}.")

    def open(self, *, read_only: bool) -> Log:
        """Open the log, including its part in the lake. The caller closes it.

        Raises: LogBusyError while another process writes.
        """
        from shroff.lake.whole_log import whole
        from shroff.runtime.process_wide import keep_freed_memory
        from shroff.services.adapter_factory import AdapterFactory
        from shroff.services.lake.project_lake import Lakes

        keep_freed_memory()
        has_lake = self._context.systems.lake is not None and not self._context.paths.is_elsewhere
        store = AdapterFactory(self._context).open_store(read_only=read_only)
        try:
            return whole(store, Lakes(self._context).reader if has_lake else None)
        except BaseException:
            store.close()
            raise

    def exists(self) -> bool:
        """Whether there is a log. Raises: TransientError if its server cannot be reached."""
        from shroff.services.adapter_factory import AdapterFactory

        return AdapterFactory(self._context).has_store()

    @property
    def hasher(self) -> Callable[[str], str]:
        """Hash function for clear values of hashed fields (see `hash_keys.hasher`).

        A call raises StorageError if the key is lost: a new key would not match the hashes in the log.
        """
        return hash_keys.hasher(self._context.paths, self.refuse_a_second_key)

    def refuse_a_second_key(self) -> None:
        """Raise StorageError if the key of hashed fields and of the audit log is lost."""
        if problem := self.lost_key():
            raise StorageError(f"{problem}. {KEY_CURE}")

    def lost_key(self) -> str:
        """Return a message if the key is missing although the log has hashed values or a sealed audit log, else ""."""
        from shroff.log.history import has_hashed
        from shroff.services.adapter_factory import AdapterFactory

        path = self._context.paths.hash_key
        if path.exists() or not self.exists():
            return ""
        with closing(AdapterFactory(self._context).open_people()) as people, closing(self.open(read_only=True)) as log:
            is_lost = people.is_made() or has_hashed(log)
        is_lost = is_lost and not path.exists()  # another process may have made it meanwhile
        return f"{path} is missing, and the log has hashed values or an audit log sealed with it" if is_lost else ""


class ScratchPaths(ProjectPaths):
    """Paths of a project whose log and snapshots are in another folder."""

    state_folder: Path

    @property
    def log(self) -> Path:
        return self.state_folder / "log.db"

    @property
    def is_elsewhere(self) -> bool:
        return True

    @property
    def snapshots(self) -> Path:
        return self.state_folder / "snapshots"
