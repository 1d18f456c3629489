"""Parts of a project, one for each subject. A part and its module are loaded at first use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, get_type_hints

from shroff.errors import UsageError
from shroff.runtime.entry_points import CHECKS, installed
from shroff.runtime.keywords import check_keywords

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from shroff.config import ProjectPaths
    from shroff.models.registry import Registry
    from shroff.monitoring.doctor_systems import AddedChecks
    from shroff.project.definitions import Definitions
    from shroff.project.settings.systems import Systems
    from shroff.replay.notebook import Moment
    from shroff.services.adapter_factory import AdapterFactory
    from shroff.services.apply.deployment import FileDeployment
    from shroff.services.approvals.agreements import Agreements
    from shroff.services.arrow_tables import ArrowTables, Files
    from shroff.services.backtest.operations import LogBacktests
    from shroff.services.cases.project_cases import ProjectCases
    from shroff.services.context import ProjectContext
    from shroff.services.decisions.history import DecisionHistory
    from shroff.services.drafts.draft_files import RuleDraftFiles
    from shroff.services.health.checks import HealthChecks
    from shroff.services.ingest.event_ingest import EventIngest
    from shroff.services.ingest.kafka_producer import Productions
    from shroff.services.jobs.project_jobs import ProjectJobs
    from shroff.services.labels.intake import LabelIntake
    from shroff.services.labels.reports import LabelReports
    from shroff.services.lake.project_lake import Lakes
    from shroff.services.lists.files import ListFiles
    from shroff.services.models.classifiers import Classifier
    from shroff.services.models.frames import TrainingFrame
    from shroff.services.models.promotion import Promotions
    from shroff.services.notices.files import NoticeFiles, SentLetters
    from shroff.services.notices.views import NoticeViews
    from shroff.services.people.erasure import PrivacyErasure
    from shroff.services.people.project_people import ProjectPeople
    from shroff.services.project_log import ProjectLog
    from shroff.services.quarantine.entries import QuarantineEntries
    from shroff.services.retention.log_retention import Retention
    from shroff.services.rules.files import Rules
    from shroff.services.rules.overview import RuleLooks
    from shroff.services.silences.silences import PendingSilences, Silences
    from shroff.services.sinks.delivery import Sinks
    from shroff.services.sinks.routes import OnlineFeatures
    from shroff.services.sources.position_operations import SourceParts
    from shroff.services.sources.pulled import PulledSources
    from shroff.services.sources.pushed import PushedSources
    from shroff.services.thresholds.cutoffs import ScoreCutoffs
    from shroff.services.training.sets import TrainingSets
    from shroff.services.training.trainings import Training
    from shroff.services.writer.request_inbox import Inboxes
    from shroff.services.writer.requests import WriterRequests
    from shroff.services.writer.worker_runs import WorkerRuns

Part = TypeVar("Part", bound="ProjectPart")


def lazy(path: str) -> Any:
    """Return a cached property with an object of the class that `path` names as `module:Class`.

    Its module is imported at first use.
    """
    module, _, name = path.partition(":")

    def made(self: ProjectParts) -> ProjectPart:
        kind: type[ProjectPart] = getattr(import_module(f"shroff.services.{module}"), name)
        return self.part(kind)

    return cached_property(made)


@dataclass_transform(eq_default=False)
class _Fields:
    """Base of classes whose constructor takes the annotated fields in order; quicker to create than a dataclass."""

    def __init_subclass__(cls) -> None:
        check_keywords(cls)

    def __init__(self, *values: object) -> None:
        kind: Any = type(self)
        vars(self).update(zip(_fields(kind), values, strict=True))


class ProjectPart(_Fields):
    """Base of a part: the operations on one subject of a project. Its fields are the other parts that it uses."""

    _context: ProjectContext

    @cached_property
    def _log(self) -> ProjectLog:
        return self._context.log

    @property
    def _definitions(self) -> Definitions:
        return self._context.definitions

    @property
    def _paths(self) -> ProjectPaths:
        return self._context.paths

    @property
    def _systems(self) -> Systems:
        return self._context.systems

    @property
    def _registry(self) -> Registry:
        return self._context.registry

    def _now_ms(self) -> int:
        return self._context.now_ms()


@cache
def _fields(kind: type[Any]) -> Mapping[str, Any]:
    """Raises: UsageError if the type of a field is not imported at run time."""
    try:
        return get_type_hints(kind, localns={"ProjectContext": object})
    except NameError as error:
        raise UsageError(
            f"{kind.__module__}.{kind.__name__} uses {error.name}, and its module does not import that at run time. "
            "Import it outside 'if TYPE_CHECKING'."
        ) from None


@check_keywords
class ProjectParts:
    """The parts of an opened project by subject: each is a plain class over one `ProjectContext`."""

    def __init_subclass__(cls) -> None:
        check_keywords(cls)

    def __init__(self, context: ProjectContext) -> None:
        self.context = context
        self._made: dict[type[ProjectPart], Any] = {}

    def part(self, kind: type[Part]) -> Part:
        """Return the part of a type, created at first use with the parts that it uses."""
        part: Part | None = self._made.get(kind)
        if part is None:
            constructor: Any = kind
            _, *used = _fields(constructor).values()
            part = self._made[kind] = constructor(self.context, *map(self.part, used))
        return part

    agreements: Agreements = lazy("approvals.agreements:Agreements")
    backtests: LogBacktests = lazy("backtest.operations:LogBacktests")
    cases: ProjectCases = lazy("cases.project_cases:ProjectCases")
    cutoffs: ScoreCutoffs = lazy("thresholds.cutoffs:ScoreCutoffs")
    drafts: RuleDraftFiles = lazy("drafts.draft_files:RuleDraftFiles")
    erasing: PrivacyErasure = lazy("people.erasure:PrivacyErasure")
    health: HealthChecks = lazy("health.checks:HealthChecks")
    history: DecisionHistory = lazy("decisions.history:DecisionHistory")
    inboxes: Inboxes = lazy("writer.request_inbox:Inboxes")
    jobs: ProjectJobs = lazy("jobs.project_jobs:ProjectJobs")
    label_reports: LabelReports = lazy("labels.reports:LabelReports")
    labelling: LabelIntake = lazy("labels.intake:LabelIntake")
    lake: Lakes = lazy("lake.project_lake:Lakes")
    letters: SentLetters = lazy("notices.files:SentLetters")
    lists: ListFiles = lazy("lists.files:ListFiles")
    live: WorkerRuns = lazy("writer.worker_runs:WorkerRuns")
    models: Promotions = lazy("models.promotion:Promotions")
    notice_files: NoticeFiles = lazy("notices.files:NoticeFiles")
    notices: NoticeViews = lazy("notices.views:NoticeViews")
    online: OnlineFeatures = lazy("sinks.routes:OnlineFeatures")
    outside: AdapterFactory = lazy("adapter_factory:AdapterFactory")
    people: ProjectPeople = lazy("people.project_people:ProjectPeople")
    production: Productions = lazy("ingest.kafka_producer:Productions")
    pulled: PulledSources = lazy("sources.pulled:PulledSources")
    pushed: PushedSources = lazy("sources.pushed:PushedSources")
    quarantine: QuarantineEntries = lazy("quarantine.entries:QuarantineEntries")
    requests: WriterRequests = lazy("writer.requests:WriterRequests")
    retention: Retention = lazy("retention.log_retention:Retention")
    rule_looks: RuleLooks = lazy("rules.overview:RuleLooks")
    rules: Rules = lazy("rules.files:Rules")
    silence_requests: PendingSilences = lazy("silences.silences:PendingSilences")
    silences: Silences = lazy("silences.silences:Silences")
    sinks: Sinks = lazy("sinks.delivery:Sinks")
    source: SourceParts = lazy("sources.position_operations:SourceParts")
    tables: ArrowTables = lazy("arrow_tables:ArrowTables")
    taking: EventIngest = lazy("ingest.event_ingest:EventIngest")
    training: Training = lazy("training.trainings:Training")
    training_sets: TrainingSets = lazy("training.sets:TrainingSets")
    versions: FileDeployment = lazy("apply.deployment:FileDeployment")

    @cached_property
    def log(self) -> ProjectLog:
        return self.context.log

    @cached_property
    def checks(self) -> list[AddedChecks]:
        """Checks of plug-ins. They cache their results, so keep them."""
        return [kind(self.context) for kind in installed(CHECKS).values()]

    @property
    def warnings(self) -> list[str]:
        return self.context.warnings

    def model(self, id_: str) -> Classifier:
        """Get a model of the registry as a fitted classifier of scikit-learn: `predict_proba`, of shape (n, 2).

        Raises: UsageError if there is none with this id; RegistryError if it is damaged.
        """
        from shroff.services.models.classifiers import Classifier

        return Classifier(self.context.registry, id_)

    def sql(self) -> sqlite3.Connection:
        """Open the log for SQL queries; close it when done. For the tables see docs/howto/read-the-log-with-sql.md.

        Of a pruned log it has what is still in the file; the rest is in the lake.

        Raises: UsageError where there is no log yet, or it is in a database, which is asked by its own programs.
        """
        with self.log.reading() as log:
            connect = getattr(getattr(log, "store", log), "sql_connection", None)  # of logs in a file
            if connect is None:
                raise UsageError(f"{log.place} is a database: connect to it with a client of its own")
            connection: sqlite3.Connection = connect()
            return connection

    def training_set(
        self,
        event: str | None = None,
        *,
        as_of: Moment | None = None,
        fold: int | str | None = None,
        files: Files = (),
        labels: str | Path | None = None,
        order: str = "file",
    ) -> TrainingFrame:
        """Get labeled rows with the inputs of model.yaml, for pandas and scikit-learn: `X, y = project.training_set()`.

        `.train` and `.test` are the two parts of the fold; `.rows` has id, time, key, amount and verdict of each row.
        For the options see `TrainingSets.write`, which writes them as Parquet.

        Raises: UsageError if there are no events, or pandas is not installed.
        """
        return self.training_sets.frame(event, as_of=as_of, fold=fold, files=files, labels=labels, order=order)
