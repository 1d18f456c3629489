"""The parts of a project, one for each subject: made when first asked for, their modules loaded only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shroff.app.analytics.event_counts import Analytics
    from shroff.app.analytics.marts import Marts
    from shroff.app.analytics.summaries import Summaries
    from shroff.app.asking import DecisionHistory
    from shroff.app.cases import ProjectCases
    from shroff.app.erasing import Erasing
    from shroff.app.health import HealthChecks
    from shroff.app.jobs.project_jobs import ProjectJobs
    from shroff.app.label_reports import LabelReports
    from shroff.app.lakes import Lakes
    from shroff.app.letters import SentLetters
    from shroff.app.live.applying import Applying
    from shroff.app.live.deliveries import Sinks
    from shroff.app.live.inboxes import Inboxes
    from shroff.app.live.labelling import Labelling
    from shroff.app.live.lane_views import Lanes
    from shroff.app.live.online_views import OnlineFeatures
    from shroff.app.live.productions import Productions
    from shroff.app.live.pulled import PulledSources
    from shroff.app.live.pushed import PushedSources
    from shroff.app.live.quarantine import QuarantineEntries
    from shroff.app.live.requests import WriterRequests
    from shroff.app.live.routes import Routes
    from shroff.app.live.source_views import SourceParts
    from shroff.app.live.taking import Taking
    from shroff.app.live.versions import FileVersions
    from shroff.app.live.workings import LiveWork
    from shroff.app.models.cutoffs import ScoreCutoffs
    from shroff.app.models.promoting import Promotions
    from shroff.app.models.training_sets import TrainingSets
    from shroff.app.models.trainings import Training
    from shroff.app.notice_files import NoticeFiles
    from shroff.app.notices import NoticeViews
    from shroff.app.people import ProjectPeople
    from shroff.app.project import Project
    from shroff.app.pruning import Retention
    from shroff.app.rules.agreements import Agreements
    from shroff.app.rules.backtests import LogBacktests
    from shroff.app.rules.list_files import ListFiles
    from shroff.app.rules.rule_drafts import RuleDraftFiles
    from shroff.app.rules.rule_files import Rules
    from shroff.app.rules.silence_requests import PendingSilences
    from shroff.app.rules.silences import Silences
    from shroff.app.views import WholeTables
    from shroff.app.wiring import OutsideSystems


def agreements(project: Project) -> Agreements:
    from shroff.app.rules.agreements import Agreements

    return Agreements(project.opened)


def analytics(project: Project) -> Analytics:
    from shroff.app.analytics.event_counts import Analytics

    return Analytics(project.opened)


def applying(project: Project) -> Applying:
    from shroff.app.live.applying import Applying

    return Applying(project.opened)


def backtests(project: Project) -> LogBacktests:
    from shroff.app.rules.backtests import LogBacktests

    return LogBacktests(project.opened)


def cases(project: Project) -> ProjectCases:
    from shroff.app.cases import ProjectCases

    return ProjectCases(project.opened)


def cutoffs(project: Project) -> ScoreCutoffs:
    from shroff.app.models.cutoffs import ScoreCutoffs

    return ScoreCutoffs(project.opened)


def drafts(project: Project) -> RuleDraftFiles:
    from shroff.app.rules.rule_drafts import RuleDraftFiles

    return RuleDraftFiles(project.opened)


def erasing(project: Project) -> Erasing:
    from shroff.app.erasing import Erasing

    return Erasing(project.opened)


def health(project: Project) -> HealthChecks:
    from shroff.app.health import HealthChecks

    return HealthChecks(project.opened)


def history(project: Project) -> DecisionHistory:
    from shroff.app.asking import DecisionHistory

    return DecisionHistory(project.opened)


def inboxes(project: Project) -> Inboxes:
    from shroff.app.live.inboxes import Inboxes

    return Inboxes(project.opened)


def jobs(project: Project) -> ProjectJobs:
    from shroff.app.jobs.project_jobs import ProjectJobs

    return ProjectJobs(project.opened)


def label_reports(project: Project) -> LabelReports:
    from shroff.app.label_reports import LabelReports

    return LabelReports(project.opened)


def labelling(project: Project) -> Labelling:
    from shroff.app.live.labelling import Labelling

    return Labelling(project.opened)


def lake(project: Project) -> Lakes:
    from shroff.app.lakes import Lakes

    return Lakes(project.opened)


def letters(project: Project) -> SentLetters:
    from shroff.app.letters import SentLetters

    return SentLetters(project.opened)


def lists(project: Project) -> ListFiles:
    from shroff.app.rules.list_files import ListFiles

    return ListFiles(project.opened)


def live(project: Project) -> LiveWork:
    from shroff.app.live.workings import LiveWork

    return LiveWork(project.opened)


def marts(project: Project) -> Marts:
    from shroff.app.analytics.marts import Marts

    return Marts(project.opened)


def models(project: Project) -> Promotions:
    from shroff.app.models.promoting import Promotions

    return Promotions(project.opened)


def notice_files(project: Project) -> NoticeFiles:
    from shroff.app.notice_files import NoticeFiles

    return NoticeFiles(project.opened)


def notices(project: Project) -> NoticeViews:
    from shroff.app.notices import NoticeViews

    return NoticeViews(project.opened)


def online(project: Project) -> OnlineFeatures:
    from shroff.app.live.online_views import OnlineFeatures

    return OnlineFeatures(project.opened)


def outside(project: Project) -> OutsideSystems:
    from shroff.app.wiring import OutsideSystems

    return OutsideSystems(project.opened)


def people(project: Project) -> ProjectPeople:
    from shroff.app.people import ProjectPeople

    return ProjectPeople(project.opened)


def production(project: Project) -> Productions:
    from shroff.app.live.productions import Productions

    return Productions(project.opened)


def pulled(project: Project) -> PulledSources:
    from shroff.app.live.pulled import PulledSources

    return PulledSources(project.opened)


def pushed(project: Project) -> PushedSources:
    from shroff.app.live.pushed import PushedSources

    return PushedSources(project.opened)


def quarantine(project: Project) -> QuarantineEntries:
    from shroff.app.live.quarantine import QuarantineEntries

    return QuarantineEntries(project.opened)


def requests(project: Project) -> WriterRequests:
    from shroff.app.live.requests import WriterRequests

    return WriterRequests(project.opened)


def retention(project: Project) -> Retention:
    from shroff.app.pruning import Retention

    return Retention(project.opened)


def routes(project: Project) -> Routes:
    from shroff.app.live.routes import Routes

    return Routes(project.opened)


def rules(project: Project) -> Rules:
    from shroff.app.rules.rule_files import Rules

    return Rules(project.opened)


def silence_requests(project: Project) -> PendingSilences:
    from shroff.app.rules.silence_requests import PendingSilences

    return PendingSilences(project.opened)


def silences(project: Project) -> Silences:
    from shroff.app.rules.silences import Silences

    return Silences(project.opened)


def sinks(project: Project) -> Sinks:
    from shroff.app.live.deliveries import Sinks

    return Sinks(project.opened)


def source(project: Project) -> SourceParts:
    from shroff.app.live.source_views import SourceParts

    return SourceParts(project.opened)


def summaries(project: Project) -> Summaries:
    from shroff.app.analytics.summaries import Summaries

    return Summaries(project.opened)


def tables(project: Project) -> WholeTables:
    from shroff.app.views import WholeTables

    return WholeTables(project.opened)


def taking(project: Project) -> Taking:
    from shroff.app.live.taking import Taking

    return Taking(project.opened)


def training(project: Project) -> Training:
    from shroff.app.models.trainings import Training

    return Training(project.opened)


def training_sets(project: Project) -> TrainingSets:
    from shroff.app.models.training_sets import TrainingSets

    return TrainingSets(project.opened)


def versions(project: Project) -> FileVersions:
    from shroff.app.live.versions import FileVersions

    return FileVersions(project.opened)


def lanes(project: Project) -> Lanes:
    return project.opened.lanes
