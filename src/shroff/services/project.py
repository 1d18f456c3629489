"""An opened project: what commands, programs and notebooks call."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from shroff import config
from shroff.engine.decision import Decision, Reason, Refusal, Undecided
from shroff.errors import DefinitionError, ShroffError, UsageError
from shroff.log.ruletests import counts_of
from shroff.operations.declaration import OperationRequest, Outcome, ProgressSteps, request_of
from shroff.runtime import atomic_files
from shroff.runtime.progress import Progress
from shroff.runtime.texts import Printed, many
from shroff.runtime.values import replace
from shroff.services.context import ProjectContext
from shroff.services.parts import ProjectParts
from shroff.services.project_files import check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal

    import pyarrow as pa

    from shroff.backtest.document import BacktestReport
    from shroff.cases.case_service import CaseService
    from shroff.explain.explanation import Explained
    from shroff.features.cluster.partitioned import Cluster
    from shroff.log.ruletests import CheckReport
    from shroff.log.writer import Answer
    from shroff.people.access import Who
    from shroff.people.store import Desk
    from shroff.project.definitions import Definitions
    from shroff.replay.compare import Verification
    from shroff.replay.decision_replay import Replayed
    from shroff.replay.notebook import AnswerList, Moment
    from shroff.services.arrow_tables import Files
    from shroff.services.drift.operations import DriftAnswer
    from shroff.services.proposals.proposing import ProposedProject
    from shroff.services.results.operations import Results
    from shroff.services.thresholds.operations import CheapestThresholds
    from shroff.training.cutoffs import WhatIf
    from shroff.training.train import Steps, TrainReport
    from shroff.worker.answers import Events
    from shroff.worker.ingest import IngestReport

# Parts that `dir` of a project lists beside its calls
SHOWN_PARTS = (
    *("agreements", "backtests", "cases", "cutoffs", "drafts", "health", "history", "jobs", "label_reports", "lake"),
    *("letters", "lists", "live", "log", "model", "models", "notices", "online", "people", "quarantine", "retention"),
    *("rules", "silences", "sinks", "source", "sql", "tables", "thresholds", "training", "training_set"),
    *("training_sets", "versions"),
)
TUTORIAL = "tutorial"
_NAME_LINE = re.compile("^name: .*$", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z][\w-]*( [\w-]+)*", re.ASCII)
__all__ = [
    "Decision",
    "Project",
    "Reason",
    "Refusal",
    "Undecided",
    "make_project",
    "open",
    "open_exactly",
    "propose_project",
]


class _Parts(ProjectParts):
    def acting_as(
        self,
        who: Who,
        desk: Desk | None = None,
        adopt: Callable[[list[str] | None], str] | None = None,
        cases: CaseService | None = None,
        asked_at: str = "",
    ) -> Project:
        """Return the project for a caller of a service, whom the audit log names.

        Args:
            adopt: Makes the writer activate these files, all if None; returns why activation waits, or "".
            asked_at: Address at which this person reaches the service.
        """
        context = replace(self.context, asked_by=who, desk=desk, adopt=adopt, case_service=cases, asked_at=asked_at)
        return Project(context)


class Project(Printed, _Parts):
    """One project folder, opened: a facade of parts, one for each subject, and the calls that programs make most.

    `context` is what the parts share. Definitions are read when first needed, and once. The log is opened for each call
    and closed after it, so several programs may read beside one writer.
    """

    def __repr__(self) -> str:
        folder = self.context.paths.folder
        try:
            definitions = self.definitions
        except DefinitionError as error:
            return f"<shroff project {folder}: {many(len(error.problems), 'mistake')}, which .check() shows>"
        except ShroffError:
            return f"<shroff project {folder}>"
        return f"<shroff project {definitions.settings.name} in {folder}: {counts_of(definitions)}>"

    def run(self, request: OperationRequest[Outcome], progress: ProgressSteps | None = None) -> Outcome:
        """Run the operation of a request, such as `ShowList(name="cards")`; its audit row is written before it acts.

        The reference lists all operations.
        """
        from shroff.services.running import run

        return run(self, request, progress or ProgressSteps())

    def call(self, name: str, /, **fields: Any) -> Any:
        """Run an operation by the name of its command, without types: `"lists show", name="cards"`.

        Raises: RefusalError if there is no such operation, or a field does not fit.
        """
        return self.run(request_of(name, fields))

    def __dir__(self) -> list[str]:
        """List the calls of this class and a few parts, for completion in notebooks."""
        return sorted([*(name for name in (*vars(Project), "warnings") if not name.startswith("_")), *SHOWN_PARTS])

    # ---- what programs and notebooks ask most

    @property
    def definitions(self) -> Definitions:
        """The project's definitions. Raises: DefinitionError with every mistake."""
        return self.context.definitions

    def check(self, *, with_log: bool = True) -> CheckReport:
        """Check all project files and run the rules' tests; with a log, also compare its event types.

        A log that cannot be read is a warning. An active model that cannot be loaded is an error, though only
        decisions need it.
        """
        return check(self.context, with_log=with_log)

    def ingest(
        self,
        files: Files,
        *,
        as_type: str | None = None,
        labels: str | Path | None = None,
        order: str | None = None,
        format: str | None = None,
        decide: bool = True,
        is_hashed: bool = False,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Append the events of files to the log and decide them. For the options see `EventIngest.ingest`."""
        return self.taking.ingest(
            files,
            as_type=as_type,
            labels=labels,
            order=order,
            format=format,
            decide=decide,
            is_hashed=is_hashed,
            progress=progress,
        )

    def decide(self, events: Events, *, as_type: str | None = None, is_hashed: bool = False) -> AnswerList:
        """Decide events as `shroff decide` does; all are durable when this returns.

        Args:
            events: Mappings of fields, all of `as_type`, or each `{"payment": {...}}`; or a pandas or Polars data frame
                or an Arrow table, with a column for each field. If there is one event type, it need not be named.

        Returns: For each event, in order: a `Decision`; `Undecided` if its type is not decided; or a `Refusal` if it
        is quarantined. The list has `to_arrow`, `to_pandas` and `to_polars`.
        Raises: UsageError for events that are neither mappings nor a frame.
        """
        return self.taking.decide(events, as_type=as_type, is_hashed=is_hashed)

    def score(self, events: Events, *, as_type: str | None = None, is_hashed: bool = False) -> AnswerList:
        """Score events as `shroff score` does: return what `decide` would if they came now. Nothing is written.

        The decisions have no `seq`. Each event counts in the features of those after it.
        """
        return self.taking.score(events, as_type=as_type, is_hashed=is_hashed)

    def label(
        self,
        event: str | Events,
        verdict: str | None = None,
        *,
        source: str | None = None,
        known_at: str | datetime | None = None,
        reason: str | None = None,
        amount: str | Decimal | None = None,
    ) -> Answer | IngestReport:
        """Record one label of an event, or a data frame of labels.

        Args:
            event: `payment/p-1`, or `p-1` if only one type is decided. Or a data frame or list of mappings with the
                column `event` and others named as the arguments, which count where a row has no value.
            verdict: `fraud`, `genuine` or `unclear`.
            source: `chargeback`, `analyst`, `customer` or `import`, from strong to weak; left out, `import`.
            known_at: When it became known, a `datetime` without a zone in UTC; by default now, or the time of its
                event if that is later. The same label by the same source is then a duplicate.

        Returns: The answer to one label; of a frame, how many were appended, were known already, or were refused.
        Raises: UsageError for one label that is refused; it is in quarantine then, if there is a log.
        """
        if not isinstance(event, str):
            return self.labelling.add_frame(
                event, verdict, source=source, known_at=known_at, reason=reason, amount=amount
            )
        if verdict is None:
            raise UsageError("a label needs a verdict: fraud, genuine or unclear.")
        from shroff.log.writer import REFUSED

        answer = self.labelling.add(event, verdict, source=source, known_at=known_at, reason=reason, amount=amount)
        if answer.kind == REFUSED:
            raise UsageError(f"the label was refused: {answer.reason}")
        return answer

    def features(
        self,
        event: str,
        events: Events | None = None,
        *,
        as_of: Moment | None = None,
        files: Files = (),
        engine: str = "batch",
        floats: bool = False,
    ) -> pa.Table:
        """Compute the features of one type's events, with columns `id`, `seq` and `entity.name`.

        Events of the log read lists and tables as they were when the event came; events of files read today's.

        Args:
            events: Events to use instead of the log, in their order: a data frame, or mappings, as in `decide`.
            as_of: Only events up to this time; a day is its start in UTC. The values do not depend on it.
            files: Files to use instead of the log, in their order.
            floats: Money as 64-bit floats, which scikit-learn takes.

        Returns: An Arrow table with a row for each event: money is decimal, durations are seconds, null is missing.
        Raises: UsageError if there is no such type, or no log yet.
        """
        return self.tables.features(event, events, as_of=as_of, files=files, engine=engine, floats=floats)

    def events(self, event: str | None = None, *, as_of: Moment | None = None, floats: bool = False) -> pa.Table:
        """Get the events of one type, with columns `seq` and its fields; `as_of` and `floats` as in `features`.

        Without a type: events of all types with their fields as JSON, as in `shroff export events --format parquet`.

        Returns: A row for each event, in the order of the log. Money is decimal, times are UTC, null is missing.
        Raises: UsageError if there is no such type, or no log yet.
        """
        return self.tables.events(event, as_of=as_of, floats=floats)

    def labels(self, *, as_of: Moment | None = None) -> pa.Table:
        """Get one row for each event with a label at `as_of`, with its verdict at that time.

        `event` and `id` name the event, as in `features` and `decisions`. A day is its start in UTC.

        Returns: A table with 8 columns: `event`, `id`, `seq`, `verdict`, `source`, `known_at`, `reason` and `amount`.
        Raises: UsageError if there is no log yet.
        """
        return self.tables.labels(as_of=as_of)

    def decisions(self) -> pa.Table:
        """Get all decisions, as in `shroff export decisions --format parquet`.

        Returns: A row for each decision, in the order of the log, with 14 columns, and the 5 of its amount if the
        project has amounts in many currencies. `score` is a probability, or null without a model; reasons, features
        and versions are JSON. Raises: UsageError if there is no log yet.
        """
        return self.tables.decisions()

    def results(
        self, *, start: str | date = "", end: str | date = "", by: str = "week", as_of: str = "", zone: str = ""
    ) -> Results:
        """Count fraud and what decisions did, as `shroff results`: a row for each period, rule or value of a field."""
        options = {"start": start, "end": end, "by": by, "as_of": as_of, "zone": zone}
        results: Results = self.call("results", **{name: value for name, value in options.items() if value})
        return results

    def drift(
        self, event: str | None = None, *, reference: str = "model", recent: str = "7d", as_of: str | None = None
    ) -> DriftAnswer:
        """Compare recent events with the champion's training data, or with a period, as `shroff drift` does."""
        drift: DriftAnswer = self.call("drift", event=event, reference=reference, recent=recent, as_of=as_of)
        return drift

    def thresholds(self, event: str = "", *, model: str = "", what_if: WhatIf | None = None) -> CheapestThresholds:
        """Compute the thresholds of the score with the lowest cost; `cutoffs.thresholds(apply=True)` activates them.

        Raises: UsageError if there is no model, no test rows or no costs.
        """
        from shroff.services.thresholds.operations import CheapestThresholds

        return CheapestThresholds.measured(self.cutoffs.thresholds(event, model=model, what_if=what_if)[0])

    def flags(self) -> pa.Table:
        """Get all flags, as in `shroff export flags --format parquet` (see `ArrowTables.flags`)."""
        return self.tables.flags()

    def explain(self, reference: str, progress: Progress | None = None) -> Explained:
        """Explain a decision: its features beside the entity's earlier values, and its rules in words.

        `reference` is `payment/p-1`, or `p-1` if one type is decided. Raises: UsageError if it was not decided.
        """
        return self.history.explain(reference, progress)

    def replay(self, reference: str, *, is_full: bool = False) -> Replayed:
        """Replay a decision: the recorded one, and the same computed again from the log.

        For the options see `DecisionHistory.replay`. Raises: as `explain`.
        """
        return self.history.replay(reference, is_full=is_full)

    def verify(
        self,
        engines: str | Sequence[str] | None = None,
        sample: int | None = None,
        progress: Progress | None = None,
        *,
        last: int | None = None,
    ) -> Verification:
        """Compute the log again and compare. For the options see `DecisionHistory.verify`."""
        return self.history.verify(engines, sample, progress, last=last)

    def train(
        self,
        event: str | None = None,
        *,
        as_of: Moment | None = None,
        promote: bool = False,
        by: str = "",
        files: Files = (),
        labels: str | Path | None = None,
        order: str = "file",
        steps: Steps | None = None,
        cluster: Cluster | None = None,
    ) -> TrainReport:
        """Train a model with the labels known at `as_of`, evaluate it, and store it in the registry.

        For the options see `training.train`.

        Returns: The model's id, metrics with 95 % confidence intervals, and gates; printed as `shroff train` does.
        Raises: UsageError if there is too little history, which says how much is needed.
        """
        return self.training.train(
            event,
            as_of=as_of,
            promote=promote,
            by=by,
            files=files,
            labels=labels,
            order=order,
            steps=steps,
            cluster=cluster,
        )

    def backtest(
        self,
        *,
        rules: str | Path | None = None,
        policy: str | Path | None = None,
        model: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        as_of: Moment | None = None,
        files: Files = (),
        labels: str | Path | None = None,
        order: str = "file",
        as_type: str | None = None,
        rows: int | None = None,
        reading: Progress | None = None,
        computing: Progress | None = None,
    ) -> BacktestReport:
        """Back-test a draft: compare its decisions with the recorded ones. For the options see `LogBacktests.run`.

        Returns: Outcomes, rules and money of both, with the changed events; printed as `shroff backtest` does.
        Raises: DefinitionError for mistakes in the draft; UsageError if there is nothing to compare.
        """
        return self.backtests.run(
            rules=rules,
            policy=policy,
            model=model,
            start=start,
            end=end,
            as_of=as_of,
            files=files,
            labels=labels,
            order=order,
            as_type=as_type,
            rows=rows,
            reading=reading,
            computing=computing,
        )


def open(folder: str | Path = ".") -> Project:
    """Open the project in a folder or above it. Raises: UsageError if there is none."""
    return Project(ProjectContext(config.find_project(Path(folder))))


def open_exactly(folder: Path) -> Project:
    """Open the project in this folder, not one above it. Raises: UsageError if there is none."""
    if not (folder / config.PROJECT_FILE).is_file():
        what = f"there is no {config.PROJECT_FILE} in {folder}" if folder.is_dir() else f"there is no folder {folder}"
        raise UsageError(f"{what}. Make a project with 'shroff init {folder} --template payments'.")
    return project_in(folder)


def project_in(folder: Path) -> Project:
    return Project(ProjectContext(config.ProjectPaths(folder.resolve())))


def make_project(
    folder: Path, template: str, name: str | None = None, *, has_tutorial: bool = False
) -> tuple[Project, list[str]]:
    """Write a project from a template into a new or empty folder; return it with the names of its files.

    `name` is the display name, by default that of the folder. With `has_tutorial`, the tutorial's files are written to
    `tutorial/`; they are payments of the template `payments`.

    Raises: UsageError if the folder is not empty; StorageError if a file cannot be written, which leaves nothing.
    """
    if has_tutorial and template != "payments":
        raise UsageError(f"the tutorial's payments do not fit the template {template}: leave --template out.")
    files = config.template_files(template)
    if has_tutorial:
        tutorial = config.TEMPLATE_FOLDER.with_name(TUTORIAL)
        files |= {f"{TUTORIAL}/{path.name}": path.read_bytes() for path in tutorial.iterdir()}
    line = f"name: {_yaml_text(name or folder.resolve().name or template)}"
    settings = files[config.PROJECT_FILE].decode()
    files[config.PROJECT_FILE] = _NAME_LINE.sub(lambda _: line, settings, count=1).encode()
    return write_project(folder, files)


def write_project(folder: Path, files: Mapping[str, bytes]) -> tuple[Project, list[str]]:
    """Write a project's files, and a hash key if a field is hashed, into a new or empty folder.

    Returns: The project and the names of its files. Raises: as `make_project`.
    """
    names = atomic_files.write_folder(folder, files)
    project = project_in(folder)
    if project.definitions.events.has_hashed:
        project.log.hasher("")
        names.append(project.context.paths.hash_key.relative_to(project.context.paths.folder).as_posix())
    return project, names


def propose_project(
    folder: Path,
    file: Path,
    name: str | None = None,
    *,
    roles: Mapping[str, str] = MappingProxyType({}),
    ignored: Sequence[str] = (),
) -> tuple[Project, list[str], ProposedProject]:
    """Write a project for the lines of a file into a new or empty folder; return it, its files and the proposal.

    Args:
        roles: Columns by role (`id`, `time`, `money`, `cents`, `units`, `currency`, `label`, `label_time`, `entity`);
            others are guessed. `zone`, `first` and `since` are values; `currency` may be a code such as USD.
        ignored: Columns that become no fields.

    Raises: UsageError if the file cannot be read, the folder holds something, or a role or column does not fit;
        StorageError if the project cannot be written.
    """
    from shroff.services.proposals.proposing import propose_for

    text = _yaml_text(name or folder.resolve().name or "proposal")
    proposal = propose_for(file, text, write_project, roles, ignored)
    return *write_project(folder, proposal.files), proposal


def _yaml_text(text: str) -> str:
    """Return a text as a YAML scalar on one line, in quotation marks unless YAML reads it as text without them.

    >>> _yaml_text("Corner Bank"), _yaml_text("yes: no")
    ('Corner Bank', '"yes: no"')
    """
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())
