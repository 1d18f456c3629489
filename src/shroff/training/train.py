"""Training: from a project's log to a model in its registry, judged on folds of time and held against its gates."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import numpy as np
from msgspec import field

import shroff
from shroff.arrays import Bools, Ints8
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.language.values import DAY_MS, parse_duration, show_duration
from shroff.log.columns.tables import Way
from shroff.models.definitions import LEARNERS, ModelInput, ModelSettings, Split
from shroff.models.evaluation import baselines
from shroff.models.evaluation.folds import Evaluation, Learn, evaluate
from shroff.models.evaluation.gates import COMPARED_WITH, LATENCY, LEAK_TEST, judge_gates
from shroff.models.evaluation.metrics import Terms
from shroff.models.evaluation.windows import Fold, KnownRows, final_window, known_rows, rows_of, windows_of
from shroff.models.learners.cluster import Growing
from shroff.models.learners.learner import columns_for
from shroff.models.learners.search import SearchRange, Trial, search
from shroff.models.learners.training import Trained, learn_by, loaded, train
from shroff.models.loader import DEFAULT_GATES, FOLDS, LABEL_DELAY_MS, TEST_MS, TRAIN_MS
from shroff.models.registry import TESTED, GateResult, Registry, Stored
from shroff.models.sets import RecordedDecisions, TrainingSet
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import MEANINGS
from shroff.project.policy import Policy, outcome_codes
from shroff.project.scoring import unavailable
from shroff.runtime.progress import Progress
from shroff.runtime.texts import Printed, many
from shroff.runtime.values import FrozenStruct, replace
from shroff.training.leak_test import LeakReport, leak_test
from shroff.training.measured import metrics_document
from shroff.training.printed import text
from shroff.training.report import ReportFacts
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import HistorySource
from shroff.training.tested_rows import file_of, judged_rows

NOT_DECIDED = "Files have no decisions to compare with: 'shroff ingest' them and train on the log."
CURE_EMPTY = "Add events and labels with 'shroff ingest FILE --labels FILE'."
LEAK_SETS = 4  # that the leak test makes
SINGLE_SCORES = 2_000  # that are timed, for the latency


class Steps(FrozenStruct):
    """Callbacks on the progress of training: events read, folds done, trials of a search; the current step."""

    reading: Progress | None = None
    folds: Callable[[int, int], None] | None = None
    trials: Callable[[Trial], None] | None = None
    stage: Callable[[str], None] | None = None


def at_stage(steps: Steps | None, what: str) -> None:
    """Report that a stage begins."""
    if steps is not None and steps.stage is not None:
        steps.stage(what)


class TrainingRun(FrozenStruct):
    """One run of a training: when and by what means, and where its model goes.

    Args:
        way: Where features are computed, and where what memory does not hold lies.
        growing: Where trees are grown; None: in this process.
    """

    registry: Registry
    now_ms: int
    threads: int
    steps: Steps
    way: Way
    growing: Growing | None = None


class Maker(FrozenStruct):
    """How a model comes about: of a fold's rows, to be judged, and of the newest window's, to be kept.

    Args:
        data: What the manifest says of the data that it has learned from; None for the newest window.
        about: What the manifest says beside.
    """

    learn: Learn
    keep: Callable[[KnownRows], Trained]
    data: JsonMapping | None = None
    about: JsonMapping = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class TrainReport(Printed):
    """A model that was trained, and all that is known of it.

    Args:
        rows, fraud: What the model itself learned from.
        immature: Rows of its window that were left out, being younger than the label delay.
        leak: None where no gate asked for the test.
        promoted: Whether it is in force now; `why_not` says why it is not.
        is_champion: Whether it was made the champion, be it in force already or not.
        is_incomplete: Lines of the files that it was trained on were left out, as `remarks` say.
    """

    stored: Stored
    as_of_ms: int
    rows: int
    fraud: int
    immature: int
    evaluation: Evaluation
    gates: tuple[GateResult, ...]
    leak: LeakReport | None
    remarks: tuple[str, ...]
    seconds: float
    promoted: bool = False
    why_not: str = ""
    is_incomplete: bool = False
    is_champion: bool = False

    def __repr__(self) -> str:
        return text(self)

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


def train_model(
    definitions: Definitions,
    settings: ModelSettings,
    source: HistorySource,
    run: TrainingRun,
    *,
    as_of_ms: int,
    brought_by: TextMapping | None = None,
    making: Callable[[TrainingSet], Maker] | None = None,
) -> TrainReport:
    """Train a model of what was known at a moment, judge it on folds before, and put it into the registry.

    It is not put in force. `brought_by` stands in its manifest: what it was trained for, where nobody asked.
    With `making` it comes about otherwise, and is judged alike.

    Raises: UsageError where there is nothing to learn from, with what is missing.
    """
    started = time.monotonic()
    steps = run.steps
    growing = run.growing
    way = replace(run.way, reading=steps.reading)
    at_stage(steps, "reading events, computing features")
    given = build_set(definitions, settings, source, as_of_ms, way)
    _check_happened(given, source)
    policy = definitions.policy(settings.event)
    terms = terms_of(definitions, settings.event)
    ruled = rule_outcomes(definitions, settings.event, given.recorded)
    maker = _trainer(given, settings, run) if making is None else making(given)
    said = [*_ran_on(growing), *_tests_too_late(given, settings)]
    champion = _champion(definitions, settings, source, given, way)
    at_stage(steps, _fold_words(0, settings.split.folds))
    try:
        evaluation = evaluate(
            given,
            settings,
            terms,
            maker.learn,
            champion=champion,
            rules=baselines.rules_only(ruled, "the rules' hits alone"),
            progress=partial(_fold_done, steps),
        )
    except UsageError as error:
        raise UsageError(_history_too_short(given, settings) or " ".join([str(error), *said])) from None
    if source.log is None:
        beside = {name: comparison for name, comparison in evaluation.compared.items() if name != baselines.RULES_ONLY}
        evaluation = replace(evaluation, compared=beside)
        said += [NOT_DECIDED] if any(rule.on == settings.event for rule in definitions.rules) else []
    window = final_window(settings.split, as_of_ms)
    known = known_rows(given, window.train_start_ms, window.train_end_ms, as_of_ms, settings.label_delay_ms)
    at_stage(steps, "training on the newest window")
    trained = maker.keep(known)
    leak = _leaks(definitions, settings, source, as_of_ms, replace(way, reading=None), steps)
    latency_ms = _latency_ms(trained, given) if _asks(settings, LATENCY) else None
    gates = judge_gates(
        settings.gates, evaluation, leak_test_passed=None if leak is None else leak.passed, latency_p99_ms=latency_ms
    )
    manifest = {
        "event": settings.event,
        "made_at": time_text(run.now_ms),
        **({"purpose": settings.purpose} if settings.purpose else {}),
        "shroff": shroff.__version__,
        "definitions": definitions.versions.definitions,
        "as_of": time_text(as_of_ms),
        "data": _data_of(given, window, known) if maker.data is None else dict(maker.data),
        "policy": {"review_at": policy.review_at, "decline_at": policy.decline_at},
        **({} if brought_by is None else {"brought_by": dict(brought_by)}),
        **_held_against(definitions, settings),
        "gates": {gate.words: gate.passed for gate in gates},
        **maker.about,
        **trained.as_manifest(),
    }
    at_stage(steps, "writing the report")
    allowed = _hit_by_effect(definitions, settings.event, given.recorded)["allow"]  # there the score changes nothing
    tested = judged_rows(given, evaluation, ruled, allowed)
    told = ReportFacts(definitions, settings, given, evaluation, trained, gates, leak, terms, tested)
    stored, is_new = run.registry.add(
        as_of_ms,
        manifest,
        {**trained.fitted.files, TESTED: file_of(tested)},
        metrics=metrics_document(evaluation, leak),
        gates=gates,
        page=told.page,
    )
    said += [] if is_new else [f"{stored.id} exists already: the same data gave the same model, so nothing is added."]
    return TrainReport(
        stored,
        as_of_ms,
        trained.rows,
        trained.frauds,
        known.immature,
        evaluation,
        tuple(gates),
        leak,
        (*said, *trained.remarks, *evaluation.remarks),
        time.monotonic() - started,
    )


def _fold_words(done: int, count: int) -> str:
    return f"training and evaluating, fold {done + 1} of {count}" if done < count else "measuring, with intervals"


def _fold_done(steps: Steps, done: int, count: int) -> None:
    if steps.folds is not None:
        steps.folds(done, count)
    at_stage(steps, _fold_words(done, count))


def _trainer(given: TrainingSet, settings: ModelSettings, run: TrainingRun) -> Maker:
    """A learner that learns here or on a cluster, its parameters searched for where model.yaml says so."""
    parameters = _searched(given, settings, run) if settings.search else settings.parameters
    return Maker(
        learn_by(settings, parameters, run.threads, run.growing),
        lambda known: train(given, known, settings, parameters, run.threads, run.growing),
    )


def _ran_on(growing: Growing | None) -> list[str]:
    """Report of a cluster's work, where one was requested."""
    if growing is None:
        return []
    processes = many(growing.cluster.processes, "process", "processes")
    words = f"{processes} of {growing.cluster.name}"
    return [f"Features were computed and trees grown by {words}, all else by the command's own."]


def _data_of(given: TrainingSet, window: Fold, known: KnownRows) -> JsonObject:
    """What the manifest says of the rows that a model has learned from."""
    return {
        "from": time_text(window.train_start_ms),
        "to": time_text(window.train_end_ms),
        "seqs": [int(given.seqs[known.rows[0]]), int(given.seqs[known.rows[-1]])],
        "immature": known.immature,
        "unclear": known.unclear,
        **({"not_seen": known.not_seen} if known.not_seen else {}),
    }


def _held_against(definitions: Definitions, settings: ModelSettings) -> JsonObject:
    """What a promotion holds today's project against: the champion then, and what each input meant."""
    champion = definitions.scoring_of(settings.event).champion
    return {
        COMPARED_WITH: None if champion is None else {"id": champion.id, "digest": champion.digest},
        MEANINGS: definitions.meanings(settings.event, settings.inputs),
    }


def terms_of(definitions: Definitions, event: str) -> Terms:
    """The policy's thresholds and costs, as metrics weigh by them."""
    policy = definitions.policy(event)
    places = definitions.settings.money_places

    def units(minor: int | None) -> float | None:
        return None if minor is None else minor / 10**places

    return Terms(
        policy.review_at,
        policy.decline_at,
        units(policy.false_decline_minor),
        units(policy.review_minor),
        policy.reviews_a_day,
        places,
        cut_offs_of(definitions.models.get(event)),
    )


def cut_offs_of(settings: ModelSettings | None) -> tuple[float, ...]:
    """The thresholds at which gates of model.yaml ask, rising."""
    return tuple(sorted({gate.at for gate in (settings.gates if settings else ()) if gate.at is not None}))


def rule_outcomes(definitions: Definitions, event: str, recorded: RecordedDecisions) -> Ints8:
    """Outcome of the hits alone for each row by today's effects, those in shadow aside: codes of OUTCOMES.

    By a recorded hit it cannot be told whether the rule's rollout took in its key, so it counts as if.
    """
    by_effect = _hit_by_effect(definitions, event, recorded)
    return outcome_codes(by_effect, np.full(len(recorded.outcomes), np.nan), Policy())


def _hit_by_effect(definitions: Definitions, event: str, recorded: RecordedDecisions) -> defaultdict[str, Bools]:
    """Which rows were hit by rules of an effect today."""
    found = defaultdict[str, Bools](lambda: np.zeros(len(recorded.outcomes), np.bool_))
    for rule in definitions.rules:
        if rule.on == event and not rule.is_shadow and rule.id in recorded.hits:
            found[rule.effect] |= recorded.hits[rule.id]
    return found


def _check_happened(given: TrainingSet, source: HistorySource) -> None:
    """Raises: UsageError where nothing had happened by then, with when it began."""
    if len(given):
        return
    words = f"by {time_text(given.as_of_ms)} no {given.event} had happened"
    times = (
        frame.times for chunk in source.taken() if (frame := chunk.frames.get(given.event)) is not None and len(frame)
    )
    oldest_ms = min((int(time_.min()) for time_ in times), default=None)
    if oldest_ms is None:
        raise UsageError(f"{words}, and none is there. {CURE_EMPTY}")
    raise UsageError(f"{words}: the oldest is of {time_text(oldest_ms)}. Give a later time, or none.")


def _history_too_short(given: TrainingSet, settings: ModelSettings) -> str:
    """How much history there is and how much is needed, where no fold can learn; empty where one can.

    That is as of the moment asked for, or as of a better one (see `_tests_too_late`).
    """
    split = settings.split
    event = settings.event
    oldest_ms = int(given.times_ms.min())
    had_ms = min(given.as_of_ms, _best_as_of_ms(given, settings)) - oldest_ms
    needed = {"label_delay": settings.label_delay_ms, "split.test": split.test_ms, "split.delay": split.delay_ms}
    if had_ms > sum(needed.values()):
        return ""
    lengths = " + ".join(f"{name} {show_duration(length)}" for name, length in needed.items())
    longest = max(needed, key=lambda name: needed[name])
    return (
        f"{event} has {had_ms / DAY_MS:.1f} days of history, from {time_text(oldest_ms)} on. Training needs more than "
        f"{sum(needed.values()) / DAY_MS:.1f} days: {lengths}, and events before that to train on. Add older "
        f"ones, or shorten {longest} in model.yaml."
    )


def _best_as_of_ms(given: TrainingSet, settings: ModelSettings) -> int:
    """The moment as of which the last test ends at the newest event."""
    return int(given.times_ms.max()) + settings.label_delay_ms


def _tests_too_late(given: TrainingSet, settings: ModelSettings) -> list[str]:
    """A remark where more than half of the last test is after the newest event, as where labels came long after it."""
    last = windows_of(settings.split, settings.label_delay_ms, given.as_of_ms)[-1]
    newest_ms = int(given.times_ms.max())
    if last.test_end_ms - newest_ms <= (last.test_end_ms - last.test_start_ms) / 2:
        return []
    better = time_text(_best_as_of_ms(given, settings))
    words = (
        f"The newest {settings.event} is of {time_text(newest_ms)}, the last test ends {time_text(last.test_end_ms)}: "
        f"tests end after the events. --as-of {better} puts the end of the last test at the newest {settings.event}."
    )
    return [words]


def _searched(given: TrainingSet, settings: ModelSettings, run: TrainingRun) -> TextMapping:
    """The learner's parameters, searched for on rows that no fold tests."""
    at_stage(run.steps, "searching for parameters, trials")
    trials = settings.search.get("trials")
    limit = settings.search.get("time")
    bounds = SearchRange(int(Decimal(trials)) if trials else None, parse_duration(limit) / 1_000 if limit else None)
    first = windows_of(settings.split, settings.label_delay_ms, given.as_of_ms)[0]
    train_rows = rows_of(given, first, settings.label_delay_ms).train
    return search(given, train_rows, settings, bounds, run.threads, run.steps.trials, run.growing)


def _champion(
    definitions: Definitions, settings: ModelSettings, source: HistorySource, given: TrainingSet, way: Way
) -> baselines.Baseline | None:
    """The model in force on the rows of the set; None where there is none that can be loaded."""
    scorer = definitions.scoring_of(settings.event).champion
    if scorer is None:
        return None
    if scorer.model is None:  # a model that nobody can look at is not beaten
        raise unavailable(scorer)
    model = scorer.model
    inputs = tuple(ModelInput(input_.name, node) for input_, node in zip(model.inputs, scorer.inputs, strict=True))
    own = plain_settings(definitions, settings.event, inputs)
    read = (
        given
        if inputs == settings.inputs
        else build_set(definitions, own, source, given.as_of_ms, replace(way, reading=None))
    )
    scores = model.scores(columns_for(model.inputs, read.inputs))
    return baselines.champion(scores, scorer.learnt_until_ms, f"{model.id}, the active model")


def _asks(settings: ModelSettings, metric: str) -> bool:
    return any(gate.metric == metric for gate in settings.gates)


def _leaks(
    definitions: Definitions, settings: ModelSettings, source: HistorySource, as_of_ms: int, way: Way, steps: Steps
) -> LeakReport | None:
    if not _asks(settings, LEAK_TEST):
        return None
    sets = 0

    def build(definitions: Definitions, settings: ModelSettings, source: HistorySource, as_of_ms: int) -> TrainingSet:
        nonlocal sets
        sets += 1
        at_stage(steps, f"leak test, set {sets} of {LEAK_SETS}")
        return build_set(definitions, settings, source, as_of_ms, way)

    return leak_test(definitions, settings, source, as_of_ms, build=build)


def _latency_ms(trained: Trained, given: TrainingSet) -> float:
    """The 99th percentile of what one score takes, in milliseconds of the processor, over rows of the set.

    Not of the clock, and the best of three for each row: a machine that is busy with other things makes no model
    slower.
    """
    model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
    rows = np.unique(np.linspace(0, len(given) - 1, SINGLE_SCORES).astype(np.int64))
    columns = columns_for(model.inputs, [replace(input_, values=input_.values[rows]) for input_ in given.inputs])
    model.scores([column[:1] for column in columns])
    taken = np.empty(len(rows))
    for row in range(len(rows)):
        single = [np.ascontiguousarray(column[row : row + 1]) for column in columns]
        taken[row] = min(_spent_ns(partial(model.scores, single)) for _ in range(3))
    return float(np.percentile(taken, 99) / 1e6)


def _spent_ns(call: Callable[[], object]) -> int:
    """Processor time of this thread that a call takes."""
    started = time.thread_time_ns()
    call()
    return time.thread_time_ns() - started


def plain_settings(definitions: Definitions, event: str, inputs: tuple[ModelInput, ...]) -> ModelSettings:
    """Settings of model.yaml for an event type, with other inputs and without slices, to read a set and not to train.

    Of one that it does not name what it says where nothing stands.
    """
    declared = definitions.models.get(event)
    if declared is not None:
        return replace(declared, inputs=inputs, give_away=(), slices=())
    split = Split(TRAIN_MS, LABEL_DELAY_MS, TEST_MS, FOLDS)
    return ModelSettings(event, inputs, LABEL_DELAY_MS, LEARNERS[0], split, None, DEFAULT_GATES)
