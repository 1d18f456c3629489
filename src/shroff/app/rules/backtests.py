"""Backtests of an opened project: which files make a draft, and the draft compared with the project without it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

from msgspec import structs

from shroff import config
from shroff.app.arrow_tables import FileOptions, InputFiles
from shroff.app.live.ingest import scratch_log
from shroff.errors import Problem, UsageError
from shroff.models import in_force
from shroff.models.in_force import InForce, Promotion
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.draft_overlay import RULES, DraftFile
from shroff.runtime.whole_files import own

if TYPE_CHECKING:
    from shroff.app.opened import Opened
    from shroff.backtest.report_builder import Report
    from shroff.replay.notebook import Moment
    from shroff.runtime.progress import Progress

OVER: Final = ("features.yaml", "policy.yaml")
NO_DRAFTS: Final = ("shroff.yaml", "events.yaml", "model.yaml")


class JudgedOptions(FileOptions, total=False):
    """Keyword arguments of `LogBacktests.run` on the events to judge, as in `JudgedInput`."""

    as_type: str | None
    start: Moment | None
    end: Moment | None
    as_of: Moment | None


class BacktestOptions(JudgedOptions, total=False):
    """Keyword arguments of `LogBacktests.run`."""

    rules: str | Path | None
    policy: str | Path | None
    model: str | None
    reading: Progress | None
    computing: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedInput(InputFiles):
    """The events that a backtest judges: of the log, or of files alone.

    Args:
        files: Judge the events of these files instead, as if the log had them alone.
        labels: Rows of labels of their events, as `ingest` takes them.
        order: `time` sorts the files first, as `ingest` does.
        as_type: The event type of every line of the files, as `ingest` takes it.
        start: The draft applies from the first event at or after this time; a day is its start in UTC.
        end: The backtest ends before the first event at or after this time.
        as_of: Use the labels known at this time; by default the time of the log's last record.
    """

    as_type: str | None = None
    start: Moment | None = None
    end: Moment | None = None
    as_of: Moment | None = None


class LogBacktests:
    """Back-tests of a project."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def run(
        self,
        *,
        rules: str | Path | None = None,
        policy: str | Path | None = None,
        model: str | None = None,
        reading: Progress | None = None,
        computing: Progress | None = None,
        **judged: Unpack[JudgedOptions],
    ) -> Report:
        """Back-test a draft over the log: compare what the project decides with it and without it.

        Both decide with lists, tables and models as of each event. Without a draft, the project's files are compared
        with the active version.

        Args:
            rules: A folder of rules, optionally with features.yaml and policy.yaml, that override the project's. A
                rule replaces the rule with the same id.
            policy: A file that overrides policy.yaml.
            model: A model of the registry, used instead of the champion.
            judged: `start`, `end`, `as_of`, `files`, `as_type`, `labels` and `order`, as `JudgedInput` has them.
        """
        from shroff.backtest.report_builder import DraftComparison, JudgedPeriod, backtest
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms

        given = JudgedInput(**judged)
        names = [str(one) for one in (rules, policy, model) if one is not None]
        definitions, files_laid = self._draft(rules=rules, policy=policy, model=model)
        without = self._draft()[0] if names else None
        own_models = () if model is None else (self._opened.registry.load(model).event,)
        # Who tries a rule beside the model in force asks what the rule is worth, not the model.
        judges_models = model is not None or not names or "policy.yaml" in files_laid or definitions.reads_score()
        start_ms, end_ms = moment_ms(given.start, "start"), moment_ms(given.end, "end")
        with ExitStack() as opened:
            if given.paths:
                taking = scratch_log(
                    self._opened, given.paths, given.as_type, given.labels, decide=True, order=given.order
                )
                log, _ = opened.enter_context(taking)
            else:
                log = opened.enter_context(self._opened.reading())
            as_of_ms = moment_ms(given.as_of)
            as_of_ms = last_moment(log, self._opened.now_ms()) if as_of_ms is None else as_of_ms
            return backtest(
                log,
                definitions,
                names,
                period=JudgedPeriod(as_of_ms, start_ms, end_ms),
                how=DraftComparison(without, self._opened.registry.load, own_models, judges_models),
                reading=reading,
                computing=computing,
            )

    def _draft(
        self, *, rules: str | Path | None = None, policy: str | Path | None = None, model: str | None = None
    ) -> tuple[Definitions, frozenset[str]]:
        """The project with a draft laid over it, and over which of its files that is.

        Raises: DefinitionError with every mistake; UsageError.
        """
        problems: list[Problem] = []
        files = config.read_files(self._opened.places.folder, problems)
        draft = [] if rules is None else _files_of(Path(rules))
        if policy is not None:
            path = Path(policy)
            draft.append(DraftFile("policy.yaml", str(path), config.lines_ended(config.read_text(path))))
        if model is not None:
            chosen = self._opened.registry.load(model)
            known = in_force.read_in_force(files.get(in_force.FILE), problems)
            now = known.get(chosen.event, InForce())
            draft_of = structs.replace(now, champion=Promotion(chosen.id, chosen.digest))
            found = {**known, chosen.event: draft_of}
            files[in_force.FILE] = in_force.text_of(found)
        loaded = load_definitions(files, self._opened.hasher, self._opened.registry.load, draft)
        return loaded.beside(problems).or_raise(), frozenset(one.over for one in draft)


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
