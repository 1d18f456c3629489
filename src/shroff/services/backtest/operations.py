"""Backtests of an opened project: load a draft, and compare it with the project without it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from shroff import config
from shroff.backtest.document import BacktestReport
from shroff.errors import Problem, UsageError
from shroff.features.computed import Computed
from shroff.language.expression import Aggregate, FeatureValue, Node, Score, ThisField, aggregates, children, walk
from shroff.language.printer import text_of
from shroff.language.types import INTEGER_MAX
from shroff.language.values import DAY_MS
from shroff.models import in_force
from shroff.operations.declaration import LocalPath, OperationRequest, Param, ProgressSteps, operation
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.dependency_hash import read_by
from shroff.project.draft_overlay import RULES, DraftFile
from shroff.runtime.atomic_files import own, write_lines
from shroff.runtime.texts import argument
from shroff.runtime.values import replace
from shroff.services.arrow_tables import Files, paths
from shroff.services.jobs.kinds import InPath
from shroff.services.parts import ProjectPart
from shroff.services.project_files import fallbacks_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shroff.arrays import Ints
    from shroff.language.columns import Column
    from shroff.language.row import Reference
    from shroff.log.state.feature_events import LookUpsThen
    from shroff.replay.notebook import Moment
    from shroff.rules.definitions import Rule
    from shroff.runtime.progress import Progress
    from shroff.streams.log import Log

OVER = ("features.yaml", "policy.yaml")
DECLARED = ("events.yaml", "features.yaml")  # files that define the values of fields and features
COUNTED_MS = 30 * DAY_MS
COUNT_KEPT_MS = 10 * 60 * 1000
COUNTED_FIRST, COUNTED_MORE = 1 << 16, 4  # sequence numbers in the first stretch; growth factor of the next
AMOUNT = "amount"
PARTS = ("values", "valid")  # arrays of a column
NO_DRAFTS = ("shroff.yaml", "events.yaml", "model.yaml")


class CountedStretch(Struct):
    """Sequence numbers (after, upto] of a log: the events of one type, and the columns that conditions read."""

    after: int
    upto: int
    times_ms: Any = None
    seqs: Any = None
    ids: Any = None
    of: dict[str, Column] = {}


class _CountedEvents(Struct):
    """Cached events of one type in the last days of a log, newest stretch first."""

    as_of_ms: int = 0
    stretches: list[CountedStretch] = []
    look_ups: dict[
        frozenset[str], Sequence[LookUpsThen]
    ] = {}  # for 30 days, by the lists and tables that conditions read


class CountedDays(NamedTuple):
    """Stretches of the last 30 days, newest first, each with the rows at which each rule hits."""

    as_of_ms: int
    stretches: list[tuple[CountedStretch, list[Ints]]]
    is_complete: bool


class HitCount(NamedTuple):
    """Hits of a draft in the events from `since_ms` to `as_of_ms`; amounts in minor units.

    Until it is complete, further calls count further back.
    """

    as_of_ms: int
    since_ms: int
    events: int
    hits: int
    amount: int
    is_complete: bool = False


@lru_cache(2)
def _counted(folder: Path, event: str, declared: str, turn: int) -> _CountedEvents:
    """Return the cache of one event type, valid while its declarations stay, for one `turn` of 10 minutes."""
    return _CountedEvents()


def _leaves(node: Node, by: str) -> Iterator[tuple[str, Node]]:
    """Yield the parts that a condition reads, under names that distinguish aggregates of two entities."""
    if isinstance(node, Aggregate | FeatureValue | ThisField):
        yield f"{by if isinstance(node, Aggregate) else ''} {text_of(node)}", node
    else:
        for child in children(node):
            yield from _leaves(child, by)


def _column_of(columns: Mapping[str, Column], node: Node) -> Column:
    return columns[text_of(node)]


def _hit_rows(rule: Rule, stretch: CountedStretch, references: Sequence[tuple[int, Reference]]) -> Ints:
    """Return the rows of a stretch at which a rule hits; each of `references` is valid up to its sequence number."""
    import numpy as np

    from shroff.language.columns import ColumnSource, evaluate_columns

    columns = {text_of(node): stretch.of[name] for name, node in _leaves(rule.when, rule.by)}
    hits = [np.zeros(0, np.int64)]
    first = 0
    for end, reference in references:
        last = int(np.searchsorted(stretch.seqs, end, "right"))
        if last <= first:
            continue
        rows = np.arange(first, last)
        times_ms = stretch.times_ms[rows]
        here = {text: column.take(rows) for text, column in columns.items()}
        source = ColumnSource(len(rows), partial(_column_of, here), reference, times_ms)
        hit = evaluate_columns(rule.when, source)
        hits.append(rows[hit.values & hit.valid & (times_ms < (rule.expires_ms or INTEGER_MAX))])
        first = last
    return np.concatenate(hits)


class LogBacktests(ProjectPart):
    """Back-tests of a project."""

    def run(
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
        """Back-test a draft over the log: compare what the project decides with it and without it.

        Both decide with lists, tables and models as of each event. Without a draft, the project's files are compared
        with the active version.

        Args: as `shroff backtest` has them.
        """
        from shroff.backtest.run import DraftComparison, JudgedPeriod, backtest, changed
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms
        from shroff.services.ingest.event_ingest import scratch_log

        names = [str(part) for part in (rules, policy, model) if part is not None]
        definitions, files_laid = self.draft(rules=rules, policy=policy, model=model)
        without = self.draft()[0] if names else None
        own_models = () if model is None else (self._registry.load(model).event,)
        # A draft rule with the active model tests the rule, not the model.
        judges_models = model is not None or not names or "policy.yaml" in files_laid or definitions.reads_score()
        start_ms, end_ms = moment_ms(start, "start"), moment_ms(end, "end")
        with ExitStack() as opened:
            if given := paths(files):
                taking = scratch_log(self._context, given, as_type, labels, decide=True, order=order)
                log, _ = opened.enter_context(taking)
            else:
                log = opened.enter_context(self._log.reading())
            as_of_ms = last_moment(log, self._now_ms(), moment_ms(as_of))
            report = backtest(
                log,
                definitions,
                names,
                period=JudgedPeriod(as_of_ms, start_ms, end_ms, self._systems.time_zone),
                how=DraftComparison(without, self._registry.load, own_models, judges_models),
                reading=reading,
                computing=computing,
            )
        if rows is not None:
            report.changed_rows = changed(report, rows)
        return report

    def count_hits(self, rules: Sequence[Rule], definitions: Definitions) -> HitCount:
        """Count the hits of a draft's rules in the last 30 days: first in the newest events, in more with each call.

        The end time is at most 10 minutes ago. Columns are cached until then.

        Args:
            rules: Rules of one event type and one entity.

        Raises: as `counted_days`.
        """
        days = self.counted_days(rules, definitions, fills_max=1)
        since_ms = days.as_of_ms
        events = hits = amount = 0
        for stretch, rows_by_rule in days.stretches:
            events += len(stretch.times_ms)
            since_ms = min([since_ms, *stretch.times_ms.tolist()])
            for rows in rows_by_rule:
                hits += len(rows)
                amount += int(stretch.of[AMOUNT].values[rows].sum()) if AMOUNT in stretch.of else 0
        if days.is_complete:
            since_ms = days.as_of_ms - COUNTED_MS
        return HitCount(days.as_of_ms, since_ms, events, hits, amount, is_complete=days.is_complete)

    def counted_days(
        self, rules: Sequence[Rule], definitions: Definitions, fills_max: int = INTEGER_MAX, *, has_keys: bool = False
    ) -> CountedDays:
        """Find the hits of rules of one event type and entity, and with `has_keys` the columns `key 0`, `key 1`, ...

        Args:
            fills_max: Stretches to read at most; columns are cached for 10 minutes.

        Raises: UsageError for a rule that reads the score or `since flag`.

        Cost: the batch engine over the newest 65,536 sequence numbers, then four times as many in each stretch, and
            the events in their windows; nothing for cached columns.
        """
        nodes, first = [rule.when for rule in rules], rules[0]
        if any(rule.computed.looks_since_flag or isinstance(node, Score) for rule in rules for node in walk(rule.when)):
            raise UsageError("a rule that reads the score or its own flags is not counted here; run a backtest.")
        from shroff.training.sets.sources import log_source

        folder, turn = self._paths.folder, self._now_ms() // COUNT_KEPT_MS
        missed = definitions.missed_fraud(first.on)
        leaves = {name: leaf for node in nodes for name, leaf in _leaves(node, first.by)}
        leaves |= {} if missed is None else {AMOUNT: missed}
        keys = definitions.events.entities[first.by].keys.get(first.on, ()) if has_keys else ()
        leaves |= {f"key {number}": part for number, part in enumerate(keys)}
        with self._log.reading() as log:
            texts = "".join(config.read_text(folder / name) for name in DECLARED if (folder / name).exists())
            cached = _counted(folder, first.on, f"{texts} {definitions.versions.tables}", turn)
            if not cached.stretches:
                self._begin(cached, definitions, log)
            days = CountedDays(cached.as_of_ms, [], is_complete=True)
            read = read_by(nodes, definitions.features.get)
            look_up_key = frozenset({*read.lists, *(f"{name} as a table" for name in read.tables)})
            if look_up_key not in cached.look_ups:
                source = log_source(log, definitions, first.on, nodes=nodes, after=cached.stretches[-1].after)
                cached.look_ups[look_up_key] = source.stretches
            then = cached.look_ups[look_up_key]
            references = [*((stretch.end, stretch.reference) for stretch in then[:-1])]
            references.append((INTEGER_MAX, then[-1].reference if then else definitions.reference))
            for stretch in cached.stretches:
                if lacking := {name: node for name, node in leaves.items() if name not in stretch.of}:
                    if not fills_max:
                        return days._replace(is_complete=False)
                    self._fill(stretch, lacking, first, definitions, log, cached.as_of_ms - COUNTED_MS)
                    fills_max -= 1
                days.stretches.append((stretch, [_hit_rows(rule, stretch, references) for rule in rules]))
        return days

    def _begin(self, cached: _CountedEvents, definitions: Definitions, log: Log) -> None:
        """Set the end time of the count, and split the log's last 30 days into stretches."""
        from shroff.log.later_labels import last_moment, place_before
        from shroff.log.state.fold import lateness_of

        cached.as_of_ms, upto = last_moment(log, self._now_ms()) or 0, log.last_seq()
        first = place_before(log, cached.as_of_ms - COUNTED_MS, lateness_of(log, definitions))
        size = COUNTED_FIRST
        while upto > first or not cached.stretches:
            cached.stretches.append(CountedStretch(max(first, upto - size), upto))
            upto, size = upto - size, size * COUNTED_MORE

    def _fill(
        self,
        stretch: CountedStretch,
        leaves: Mapping[str, Node],
        rule: Rule,
        definitions: Definitions,
        log: Log,
        behind_ms: int,
    ) -> None:
        """Compute missing columns of a stretch, for its events after `behind_ms`."""
        import numpy as np
        import pyarrow as pa

        from shroff.language.columns import Column
        from shroff.log.columns.stored import LineReader, ids_of, log_columns
        from shroff.log.columns.tables import Way, rounds_of
        from shroff.log.later_labels import place_before
        from shroff.log.state.fold import lateness_of, reach_ms
        from shroff.training.sets.rows import minor_units
        from shroff.training.sets.sources import feed, log_source, of_fold
        from shroff.training.sets.wanted import features_read

        at = frozenset([rule.on])
        computed = [Computed(name, node, rule.by, at, needs_key=False, rule=rule.id) for name, node in leaves.items()]
        read = [*features_read(definitions, rule.on, list(leaves.values())), *computed]
        reads_labels = any(part.event == "label" for item in read for part in aggregates(item.node))
        lateness_ms, reader = lateness_of(log, definitions), LineReader(definitions, reads_labels=reads_labels)
        own = list(log_columns(log, definitions, stretch.upto, after=stretch.after, reader=reader))
        mine = [(piece.after + 1, piece.frames[rule.on]) for piece in own if rule.on in piece.frames]
        begins_ms = min((int(frame.times.min()) for _, frame in mine), default=behind_ms)
        back_ms, before = reach_ms([item.node for item in read], definitions), 0
        if back_ms is not None and not reads_labels and not lateness_ms.leaps:
            before = place_before(log, begins_ms - back_ms, lateness_ms) if back_ms else stretch.after
        times = np.concatenate([np.zeros(0, np.int64), *(frame.times for _, frame in mine)])
        seqs = np.concatenate([np.zeros(0, np.int64), *(first + frame.rows for first, frame in mine)])
        nodes = [item.node for item in read]
        source = log_source(log, definitions, rule.on, stretch.upto, nodes, after=before)
        answers: dict[str, list[Column]] = {name: [] for name in leaves}
        for fold in range(max(1, len(source.folds))):
            reference = source.folds[fold].reference if source.folds else definitions.reference
            as_of = replace(definitions, reference=reference)
            with closing(rounds_of(as_of, read, lateness_ms, rule.on, Way())) as engine:
                earlier = feed(engine, of_fold(source, fold), rule.on, fold)
                for frame in (frames[rule.on] for frames in engine.answers() if rule.on in frames):
                    here = np.arange(min(earlier, len(frame)), len(frame))
                    earlier -= len(frame) - len(here)
                    for name in leaves:
                        answers[name].append(frame.computed[name].take(here))
        is_behind = times > behind_ms
        rows = np.flatnonzero(is_behind)
        stretch.times_ms = times[rows]
        stretch.seqs = seqs[rows]
        stretch.ids = pa.chunked_array([ids_of(frame) for _, frame in mine], pa.string()).take(rows)
        for name, columns in answers.items():
            values, valid = times, is_behind
            if columns:  # the last rows belong to this stretch
                values, valid = (np.concatenate([getattr(column, part) for column in columns]) for part in PARTS)
            column = Column(values[rows - len(times)], valid[rows - len(times)])
            if name == AMOUNT:
                units = minor_units(column, leaves[name].type, definitions.settings.money_places, len(rows))
                column = Column(np.asarray(units), column.valid)
            stretch.of[name] = column

    def draft(
        self, *, rules: str | Path | None = None, policy: str | Path | None = None, model: str | None = None
    ) -> tuple[Definitions, frozenset[str]]:
        """Return the project with a draft applied, and the names of the files that it overrides.

        Raises: DefinitionError with all errors; UsageError.
        """
        problems: list[Problem] = []
        files = config.read_files(self._paths.folder, problems)
        draft = [] if rules is None else _files_of(Path(rules))
        if policy is not None:
            path = Path(policy)
            draft.append(DraftFile("policy.yaml", str(path), config.lines_ended(config.read_text(path))))
        if model is not None:
            chosen = self._registry.load(model)
            roles = in_force.read_in_force(files.get(in_force.FILE), problems)
            now = roles.get(chosen.event, in_force.InForce())
            draft_of = replace(now, champion=in_force.Promotion(chosen.id, chosen.digest))
            changed = {**roles, chosen.event: draft_of}
            files[in_force.FILE] = in_force.text_of(changed)
        problems += fallbacks_in(self._context, files)[0]
        loaded = load_definitions(files, self._log.hasher, self._registry.load, draft)
        return loaded.beside(problems).or_raise(), frozenset(file.over for file in draft)


def _files_of(folder: Path) -> list[DraftFile]:
    """Raises: UsageError if the draft has no file, or one that it must not have."""
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
    """A draft to compare with the project: `rules` is a folder and `policy` a file in it, `model` an id.

    Args:
        files ([FILE...]): Files of events to use in place of the log.
        rules (DIR): A folder of draft rules; each replaces the rule with the same id. It may have
            features.yaml and policy.yaml too.
        policy (FILE): A draft policy; it replaces that of the same name in policy.yaml.
        model (ID): A model of the registry, used instead of the champion.
        start (T): Apply the draft from the first event at or after this time; a day is its start, UTC.  [default: the
            beginning]
        end (T): Stop before the first event at or after this time.  [default: the end]
        as_of (T): Use the labels known at this time.  [default: the log's last record]
        as_type (EVENT): The event type of every line of FILEs.
        labels (FILE): Labels of the events of FILEs.
        order: time: sort by event time.
        report (FILE): Write the report as one HTML page.
        out (FILE): Write all events whose decision changes, as .csv or .parquet.
        rows: How many changed events to show.
    """

    files: Annotated[tuple[Path, ...], Param(is_argument=True, is_local=True)] = ()
    rules: Annotated[InPath | None, Param(complete="files")] = None
    policy: Annotated[InPath | None, Param(complete="files")] = None
    model: str | None = None
    start: Annotated[str | None, Param(flags="--from")] = None
    end: Annotated[str | None, Param(flags="--to")] = None
    as_of: str | None = None
    as_type: Annotated[str | None, Param(flags="--as", complete="event_types", is_local=True)] = None
    labels: LocalPath = None
    order: Annotated[Literal["file", "time"], Param(is_local=True)] = "file"
    report: LocalPath = None
    out: LocalPath = None
    rows: Annotated[Annotated[int, msgspec.Meta(ge=0)], Param(is_local=True)] = 20


@operation("backtest", right="run:backtests", is_long=True)
def run_backtest(backtests: LogBacktests, progress: ProgressSteps, request: RunBacktest) -> BacktestReport:
    """Compare a draft of rules, policy or model with the project without it, over the log's events.

    Both decide each event anew, with lists, tables and models as of its place in the log. Without a draft, the
    project's files are compared with the active version. With FILEs, only their events are used, not the log.

    Examples:
        shroff backtest --rules drafts/
        shroff backtest --rules drafts/ --from 2026-04-01 --report backtest.html --out changed.csv
        shroff backtest march.csv --as payment --labels labels.csv --rules drafts/
    """
    from shroff.backtest.report import ROWS, page
    from shroff.backtest.run import changed, write_changed

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
    names = {"--rules": "rules", "--policy": "policy", "--model": "model", "--from": "start", "--to": "end"}
    names |= {"--as-of": "as_of", "--as": "as_type", "--labels": "labels"}
    options = [[flag, getattr(request, name)] for flag, name in names.items()]
    words = [word for option in options if option[1] is not None for word in option]
    if request.order == "time":
        words += ["--order", "time"]
    return " ".join(["shroff backtest", *map(argument, (*request.files, *words)), "--report backtest.html"])
