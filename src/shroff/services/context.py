"""Context of an opened project: paths, clock, acting user, and a cache of the files read by this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from shroff.log.active_files import ActiveFilesInUse
from shroff.models.registry import Registry
from shroff.project.loader import MadeOnce, systems_of
from shroff.project.parse_cache import ReadOnce
from shroff.runtime.contents import known_store
from shroff.runtime.process_wide import user_name
from shroff.runtime.progress import Tell, unheard
from shroff.runtime.values import replace
from shroff.services.project_log import ProjectLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from shroff.cases.case_service import CaseService
    from shroff.config import ProjectPaths
    from shroff.operations.declaration import OperationRequest
    from shroff.people.access import Who
    from shroff.people.store import Desk
    from shroff.project.definitions import Definitions, Loaded
    from shroff.project.settings.systems import Systems
    from shroff.services.labels.reports import LabelStatistics
    from shroff.services.rules.overview import RuleStatistics


class Warnings(list[str]):
    """Warnings of calls that succeeded."""

    def once(self, words: str) -> None:
        if words not in self:
            self.append(words)


@dataclass(slots=True)
class ProjectContext:
    """State that the parts of one opened project share.

    Definitions are read once, at first use. `warnings` holds warnings of calls that succeeded. `waiting` is called
    after a second of waiting for another process, with its name.
    """

    paths: ProjectPaths
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    warnings: Warnings = field(default_factory=Warnings)
    waiting: Tell = unheard
    via: Literal["command", "program"] = "program"
    served_at: str = ""  # the address of the service that this process is, once it listens
    waits: Tell = unheard  # called with the message to show if Ctrl-C ends a wait for the writer
    asked_by: Who | None = None
    asked_at: str = ""  # address at which this caller reaches the service
    desk: Desk | None = None  # people and the audit log, if a service has them open
    case_service: CaseService | None = None  # cases, if a service has them open; also runs due actions
    adopt: Callable[[list[str] | None], str] | None = None  # as `WriterClient.adopted`, in a service
    of_draft: Callable[[OperationRequest[Any]], Any] | None = None  # checks a draft in a helper process, in a service
    read_once: ReadOnce = field(default_factory=ReadOnce)  # shared by all that this process opens of the project
    taken: ActiveFilesInUse = field(default_factory=ActiveFilesInUse)  # shared as well
    files_read: MadeOnce[Loaded] = field(default_factory=MadeOnce)
    systems_read: MadeOnce[Systems] = field(default_factory=MadeOnce)
    models_kept: MadeOnce[Registry] = field(default_factory=MadeOnce)  # shared as well
    rule_statistics: MadeOnce[RuleStatistics] = field(default_factory=MadeOnce)  # shared as well
    label_statistics: MadeOnce[LabelStatistics] = field(default_factory=MadeOnce)  # shared as well

    def __post_init__(self) -> None:
        known_store(self.paths.tables)

    @property
    def log(self) -> ProjectLog:
        return ProjectLog(self)

    @property
    def loaded(self) -> Loaded:
        from shroff.services.project_files import load

        return self.files_read.get(lambda: load(self))

    @property
    def definitions(self) -> Definitions:
        """Definitions of the project. Raises: DefinitionError with all errors."""
        return self.loaded.or_raise()

    @property
    def systems(self) -> Systems:
        """Outside systems of the project; `loaded` has the errors in their settings."""
        return self.systems_read.get(lambda: systems_of(self.paths.folder))

    @property
    def registry(self) -> Registry:
        return self.models_kept.get(lambda: Registry(self.paths.models))

    @property
    def who(self) -> Who:
        """The caller: the user of this process, with all rights, as they can read and write the project's files.

        In a service it is the signed-in person or API key, whose rights were checked before.
        """
        from shroff.people.access import local

        return self.asked_by if self.asked_by is not None else local(user_name(), self.via)

    def afresh(self) -> ProjectContext:
        return replace(self, taken=ActiveFilesInUse(), files_read=MadeOnce(), systems_read=MadeOnce())

    def at(self, paths: ProjectPaths) -> ProjectContext:
        return replace(self, paths=paths, files_read=MadeOnce())

    def reload(self) -> None:
        """Read the project's files again at the next use. The paths stay."""
        self.files_read.forget()
