"""Backtests of an opened project: which files make a draft, and the draft compared with the project without it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Unpack

import msgspec

from shroff import config
from shroff.app.arrow_tables import FileOptions, paths
from shroff.app.jobs.kinds import InPath
from shroff.app.parts import ProjectPart
from shroff.backtest.document import BacktestReport
from shroff.errors import Problem, UsageError
from shroff.models import in_force
from shroff.operations.declaration import OperationRequest, Param, operation
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.draft_overlay import RULES, DraftFile
from shroff.runtime.texts import argument
from shroff.runtime.whole_files import own, write_lines

if TYPE_CHECKING:
    from shroff.operations.declaration import ProgressSteps
    from shroff.replay.notebook import Moment
    from shroff.runtime.progress import Progress

OVER: Final = ("features.yaml", "policy.yaml")
NO_DRAFTS: Final = ("shroff.yaml", "events.yaml", "model.yaml")


class BacktestOptions(FileOptions, total=False):
    """Keyword arguments of `LogBacktests.run`."""

    as_type: str | None
    start: Moment | None
    end: Moment | None
    as_of: Moment | None
    rules: str | Path | None
    policy: str | Path | None
    model: str | None
    rows: int
    reading: Progress | None
    computing: Progress | None


class LogBacktests(ProjectPart):
    """Back-tests of a project."""

    def run(self, **how: Unpack[BacktestOptions]) -> BacktestReport:
        """Back-test a draft over the log: compare what the project decides with it and without it.

        Both decide with lists, tables and models as of each event. Without a draft, the project's files are compared
        with the active version.

        Args:
            rules: A folder of rules, optionally with features.yaml and policy.yaml, that override the project's. A
                rule replaces the rule with the same id.
            policy: A file that overrides policy.yaml.
            model: A model of the registry, used instead of the champion.
            start: The draft applies from the first event at or after this time; a day is its start in UTC.
            end: The backtest ends before the first event at or after this time.
            as_of: Use the labels known at this time; by default the time of the log's last record.
            files: Judge the events of these files instead, as if the log had them alone.
            labels: Rows of labels of their events, as `ingest` takes them.
            order: `time` sorts the files first, as `ingest` does.
            as_type: The event type of every line of the files, as `ingest` takes it.
            rows: How many changed events are shown.
        """
        from shroff.app.live.ingest import scratch_log
        from shroff.backtest.report_builder import DraftComparison, JudgedPeriod, backtest, changed
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms

        rules, policy, model = how.get("rules"), how.get("policy"), how.get("model")
        names = [str(part) for part in (rules, policy, model) if part is not None]
        definitions, files_laid = self._draft(rules=rules, policy=policy, model=model)
        without = self._draft()[0] if names else None
        own_models = () if model is None else (self._context.registry.load(model).event,)
        # Who tries a rule beside the model in force asks what the rule is worth, not the model.
        judges_models = model is not None or not names or "policy.yaml" in files_laid or definitions.reads_score()
        start_ms, end_ms = moment_ms(how.get("start"), "start"), moment_ms(how.get("end"), "end")
        with ExitStack() as opened:
            if files := paths(how.get("files", ())):
                given = how.get("as_type"), how.get("labels")
                taking = scratch_log(self._context, files, *given, decide=True, order=how.get("order", "file"))
                log, _ = opened.enter_context(taking)
            else:
                log = opened.enter_context(self._log.reading())
            as_of_ms = moment_ms(how.get("as_of"))
            as_of_ms = last_moment(log, self._context.now_ms()) if as_of_ms is None else as_of_ms
            report = backtest(
                log,
                definitions,
                names,
                period=JudgedPeriod(as_of_ms, start_ms, end_ms),
                how=DraftComparison(without, self._context.registry.load, own_models, judges_models),
                reading=how.get("reading"),
                computing=how.get("computing"),
            )
        if "rows" in how:
            report.changed_rows = changed(report, how["rows"])
        return report

    def _draft(
        self, *, rules: str | Path | None = None, policy: str | Path | None = None, model: str | None = None
    ) -> tuple[Definitions, frozenset[str]]:
        """The project with a draft laid over it, and over which of its files that is.

        Raises: DefinitionError with every mistake; UsageError.
        """
        problems: list[Problem] = []
        files = config.read_files(self._context.paths.folder, problems)
        draft = [] if rules is None else _files_of(Path(rules))
        if policy is not None:
            path = Path(policy)
            draft.append(DraftFile("policy.yaml", str(path), config.lines_ended(config.read_text(path))))
        if model is not None:
            chosen = self._context.registry.load(model)
            known = in_force.read_in_force(files.get(in_force.FILE), problems)
            now = known.get(chosen.event, in_force.InForce())
            draft_of = msgspec.structs.replace(now, champion=in_force.Promotion(chosen.id, chosen.digest))
            found = {**known, chosen.event: draft_of}
            files[in_force.FILE] = in_force.text_of(found)
        loaded = load_definitions(files, self._log.hasher, self._context.registry.load, draft)
        return loaded.beside(problems).or_raise(), frozenset(file.over for file in draft)


def _files_of(folder: Path) -> list[DraftFile]:
    """The files of a draft. Raises: UsageError where there are none, or one that no draft may have."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}. A draft is a folder with rule files, like rules/.")
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("rules/*.yaml")])
    for path in paths:
        if path.name in NO_DRAFTS and path.parent == folder:
            raise UsageError(f"{path}: a draft has rules, features.yaml and policy.yaml, and no other files.")
    if not paths:
        raise UsageError(f"{folder} has no rules: no file there ends with .yaml.")
    texts = {path: config.read_text(own(folder, path.relative_to(folder).as_posix())) for path in paths}
    return [
        DraftFile(path.name if path.name in OVER else RULES, str(path), config.lines_ended(text))
        for path, text in texts.items()
    ]


# ---- the operation


class RunBacktest(OperationRequest[BacktestReport], rename={"start": "from", "end": "to"}):
    """A draft to compare with the project: `rules` is a folder and `policy` a file in it, `model` an id."""

    files: Annotated[
        tuple[Path, ...],
        Param("Files of events to use in place of the log.", metavar="[FILE...]", is_argument=True, is_local=True),
    ] = ()
    rules: Annotated[
        InPath | None,
        Param(
            "A folder of draft rules; each replaces the rule with the same id. It may have features.yaml too.",
            metavar="DIR",
            complete="files",
        ),
    ] = None
    policy: Annotated[
        InPath | None,
        Param("A draft policy; it replaces that of the same name in policy.yaml.", metavar="FILE", complete="files"),
    ] = None
    model: Annotated[str | None, Param("A model of the registry, used instead of the champion.", metavar="ID")] = None
    start: Annotated[
        str | None,
        Param("Apply the draft from this time on.  [default: the beginning]", flags="--from", metavar="T"),
    ] = None
    end: Annotated[
        str | None, Param("Compare events before this time.  [default: the end]", flags="--to", metavar="T")
    ] = None
    as_of: Annotated[
        str | None, Param("Use the labels known at this time.  [default: the log's last record]", metavar="T")
    ] = None
    as_type: Annotated[
        str | None,
        Param(
            "The event type of every line of FILEs.",
            flags="--as",
            metavar="EVENT",
            complete="event_types",
            is_local=True,
        ),
    ] = None
    labels: Annotated[Path | None, Param("Labels of the events of FILEs.", metavar="FILE", is_local=True)] = None
    order: Annotated[Literal["file", "time"], Param("time: sort by event time.", is_local=True)] = "file"
    report: Annotated[Path | None, Param("Write the report as one HTML page.", metavar="FILE", is_local=True)] = None
    out: Annotated[
        Path | None,
        Param("Write all events whose decision changes, as .csv or .parquet.", metavar="FILE", is_local=True),
    ] = None
    rows: Annotated[Annotated[int, msgspec.Meta(ge=0)], Param("How many changed events to show.", is_local=True)] = 20


@operation(
    "backtest",
    right="run:backtests",
    is_long=True,
    examples=[
        "shroff backtest --rules drafts/",
        "shroff backtest --rules drafts/ --from 2026-04-01 --report backtest.html --out changed.csv",
        "shroff backtest march.csv --as payment --labels labels.csv --rules drafts/",
    ],
)
def run_backtest(backtests: LogBacktests, progress: ProgressSteps, request: RunBacktest) -> BacktestReport:
    """Compare a draft of rules, policy or model with the project without it, over the log's events.

    Both decide each event anew, with lists, tables and models as of its place in the log. Without a draft, the
    project's files are compared with the active version. With FILEs, only their events are used, not the log.
    """
    from shroff.backtest.report import ROWS, page
    from shroff.backtest.report_builder import changed, write_changed

    if not request.files and (request.as_type or request.labels or request.order != "file"):
        raise UsageError("--as, --labels and --order are for FILEs; without them the events of the log are judged.")
    if request.report is not None and request.report.suffix != ".html":
        raise UsageError(f"{request.report} should end with .html.")
    how: Any = msgspec.structs.asdict(request)
    del how["report"], how["out"]
    steps = progress.counting("reading records"), progress.counting("computing events")
    report = backtests.run(**how, reading=steps[0], computing=steps[1])
    if request.report is not None:
        project = report.verdicts.versions[-1].draft.settings.name
        write_lines(request.report, [[page(report, project, changed(report, ROWS)).encode()]])
    else:
        vars(report)["command"] = _again(request)
    if request.out is not None:
        write_changed(report, request.out)
    return report


def _again(request: RunBacktest) -> str:
    """The command that writes this report as a page."""
    names = {"--rules": "rules", "--policy": "policy", "--model": "model", "--from": "start", "--to": "end"}
    names |= {"--as-of": "as_of", "--as": "as_type", "--labels": "labels"}
    given = [
        word for flag, name in names.items() if (value := getattr(request, name)) is not None for word in (flag, value)
    ]
    given += ["--order", "time"] if request.order == "time" else []
    return " ".join(["shroff backtest", *map(argument, (*request.files, *given)), "--report backtest.html"])
