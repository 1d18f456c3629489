"""The parts of a project, one for each subject: made at first use, their modules imported only then."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from shroff.errors import UsageError
from shroff.runtime.entry_points import CHECKS, installed
from shroff.runtime.keywords import check_keywords

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from shroff.app.adapter_factory import AdapterFactory
    from shroff.app.arrow_tables import ArrowTables, Files
    from shroff.app.cases.label_reports import LabelReports
    from shroff.app.cases.project_cases import ProjectCases
    from shroff.app.context import ProjectContext
    from shroff.app.decision_history import DecisionHistory
    from shroff.app.jobs.project_jobs import ProjectJobs
    from shroff.app.lakes import Lakes
    from shroff.app.live.deployment import FileDeployment
    from shroff.app.live.ingest import EventIngest
    from shroff.app.live.kafka_producer import Productions
    from shroff.app.live.label_intake import LabelIntake
    from shroff.app.live.position_operations import SourceParts
    from shroff.app.live.quarantine import QuarantineEntries
    from shroff.app.live.request_inbox import Inboxes
    from shroff.app.live.requests import WriterRequests
    from shroff.app.live.routes import OnlineFeatures
    from shroff.app.live.sink_delivery import Sinks
    from shroff.app.live.sync_sources import PulledSources
    from shroff.app.live.webhook_sources import PushedSources
    from shroff.app.live.worker_runs import WorkerRuns
    from shroff.app.maintenance.health import HealthChecks
    from shroff.app.maintenance.log_retention import Retention
    from shroff.app.models.classifiers import Classifier
    from shroff.app.models.cutoffs import ScoreCutoffs
    from shroff.app.models.model_frames import TrainingFrame
    from shroff.app.models.promotion import Promotions
    from shroff.app.models.training_sets import TrainingSets
    from shroff.app.models.trainings import Training
    from shroff.app.notice_files import NoticeFiles, SentLetters
    from shroff.app.notices import NoticeViews
    from shroff.app.people import ProjectPeople
    from shroff.app.privacy_erasure import PrivacyErasure
    from shroff.app.project_log import ProjectLog
    from shroff.app.rules.agreements import Agreements
    from shroff.app.rules.backtest_operations import LogBacktests
    from shroff.app.rules.list_files import ListFiles
    from shroff.app.rules.rule_drafts import RuleDraftFiles
    from shroff.app.rules.rule_files import Rules
    from shroff.app.rules.rule_looks import RuleLooks
    from shroff.app.rules.silences import PendingSilences, Silences
    from shroff.config import ProjectPaths
    from shroff.models.registry import Registry
    from shroff.monitoring.doctor_systems import AddedChecks
    from shroff.project.definitions import Definitions
    from shroff.project.settings.systems import Systems
    from shroff.replay.notebook import Moment
    from shroff.training.cutoffs import Cutoffs, WhatIf


def part(path: str) -> Any:
    """A part, as a cached property: an object of the class that `path` names as `module:Class`.

    Its module is imported at first use.
    """
    module, _, name = path.partition(":")

    def made(self: ProjectParts | ProjectPart) -> object:
        return getattr(import_module(f"shroff.app.{module}"), name)(self._context)

    return cached_property(made)


class ProjectPart:
    """A part of a project: what can be done with one subject of it."""

    def __init_subclass__(cls) -> None:
        check_keywords(cls)

    def __init__(self, context: ProjectContext) -> None:
        self._context = context
        self._log = context.log

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

    # Others that several parts need.
    _agreements: Agreements = part("rules.agreements:Agreements")
    _lake: Lakes = part("lakes:Lakes")
    _letters: SentLetters = part("notice_files:SentLetters")
    _models: Promotions = part("models.promotion:Promotions")
    _notice_files: NoticeFiles = part("notice_files:NoticeFiles")
    _notices: NoticeViews = part("notices:NoticeViews")
    _outside: AdapterFactory = part("adapter_factory:AdapterFactory")
    _people: ProjectPeople = part("people:ProjectPeople")
    _requests: WriterRequests = part("live.requests:WriterRequests")
    _rules: Rules = part("rules.rule_files:Rules")
    _training: Training = part("models.trainings:Training")


@check_keywords
class ProjectParts:
    """The parts of an opened project by subject: each is a plain class over one `ProjectContext`."""

    def __init_subclass__(cls) -> None:
        check_keywords(cls)

    def __init__(self, context: ProjectContext) -> None:
        self.context = self._context = context

    agreements: Agreements = part("rules.agreements:Agreements")
    backtests: LogBacktests = part("rules.backtest_operations:LogBacktests")
    cases: ProjectCases = part("cases.project_cases:ProjectCases")
    cutoffs: ScoreCutoffs = part("models.cutoffs:ScoreCutoffs")
    drafts: RuleDraftFiles = part("rules.rule_drafts:RuleDraftFiles")
    erasing: PrivacyErasure = part("privacy_erasure:PrivacyErasure")
    health: HealthChecks = part("maintenance.health:HealthChecks")
    history: DecisionHistory = part("decision_history:DecisionHistory")
    inboxes: Inboxes = part("live.request_inbox:Inboxes")
    jobs: ProjectJobs = part("jobs.project_jobs:ProjectJobs")
    label_reports: LabelReports = part("cases.label_reports:LabelReports")
    labelling: LabelIntake = part("live.label_intake:LabelIntake")
    lake: Lakes = part("lakes:Lakes")
    letters: SentLetters = part("notice_files:SentLetters")
    lists: ListFiles = part("rules.list_files:ListFiles")
    live: WorkerRuns = part("live.worker_runs:WorkerRuns")
    models: Promotions = part("models.promotion:Promotions")
    notice_files: NoticeFiles = part("notice_files:NoticeFiles")
    notices: NoticeViews = part("notices:NoticeViews")
    online: OnlineFeatures = part("live.routes:OnlineFeatures")
    outside: AdapterFactory = part("adapter_factory:AdapterFactory")
    people: ProjectPeople = part("people:ProjectPeople")
    production: Productions = part("live.kafka_producer:Productions")
    pulled: PulledSources = part("live.sync_sources:PulledSources")
    pushed: PushedSources = part("live.webhook_sources:PushedSources")
    quarantine: QuarantineEntries = part("live.quarantine:QuarantineEntries")
    requests: WriterRequests = part("live.requests:WriterRequests")
    retention: Retention = part("maintenance.log_retention:Retention")
    rule_looks: RuleLooks = part("rules.rule_looks:RuleLooks")
    rules: Rules = part("rules.rule_files:Rules")
    silence_requests: PendingSilences = part("rules.silences:PendingSilences")
    silences: Silences = part("rules.silences:Silences")
    sinks: Sinks = part("live.sink_delivery:Sinks")
    source: SourceParts = part("live.position_operations:SourceParts")
    tables: ArrowTables = part("arrow_tables:ArrowTables")
    taking: EventIngest = part("live.ingest:EventIngest")
    training: Training = part("models.trainings:Training")
    training_sets: TrainingSets = part("models.training_sets:TrainingSets")
    versions: FileDeployment = part("live.deployment:FileDeployment")

    @cached_property
    def log(self) -> ProjectLog:
        return self.context.log

    @cached_property
    def checks(self) -> list[AddedChecks]:
        """The checks of plug-ins, which keep what they saw."""
        return [kind(self.context) for kind in installed(CHECKS).values()]

    @property
    def warnings(self) -> list[str]:
        """Warnings of calls that succeeded."""
        return self.context.warnings

    def model(self, id_: str) -> Classifier:
        """Get a model of the registry as a fitted classifier of scikit-learn: `predict_proba`, of shape (n, 2).

        Raises: UsageError if there is none with this id; RegistryError if it is damaged.
        """
        from shroff.app.models.classifiers import Classifier

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

    def thresholds(self, event: str = "", *, model: str = "", what_if: WhatIf | None = None) -> Cutoffs:
        """Compute the thresholds of the score with the lowest cost; `cutoffs.thresholds(apply=True)` activates them.

        Raises: UsageError if there is no model, no test rows or no costs.
        """
        return self.cutoffs.thresholds(event, model=model, what_if=what_if)[0]
