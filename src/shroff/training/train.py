"""Training: from a project's log to a model in its registry, judged on folds of time and by its gates."""

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
from shroff.models.registry import REPORT, TESTED, GateResult, Registry, Stored
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
LEAK_SETS = 4  # sets that the leak test makes
SINGLE_SCORES = 2_000  # rows scored one at a time to measure latency


class Steps(FrozenStruct):
    """Callbacks on the progress of training: events read, folds done, trials of a search, and the current step."""

    reading: Progress | None = None
    folds: Callable[[int, int], None] | None = None
    trials: Callable[[Trial], None] | None = None
    stage: Callable[[str], None] | None = None


def at_stage(steps: Steps | None, what: str) -> None:
    if steps is not None and steps.stage is not None:
        steps.stage(what)


class TrainingRun(FrozenStruct):
    """One training run: time, resources, and the registry for its model.

    Args:
        way: How features are computed, and where data larger than memory is spilled.
        growing: Cluster that grows trees; None for this process.
    """

    registry: Registry
    now_ms: int
    threads: int
    steps: Steps
    way: Way
    growing: Growing | None = None


class Maker(FrozenStruct):
    """How to make a model: from a fold's rows, to be judged, and from the newest window's, to be stored.

    Args:
        data: Manifest entry on its training data; None for the newest window.
        about: Further manifest entries.
    """

    learn: Learn
    keep: Callable[[KnownRows], Trained]
    data: JsonMapping | None = None
    about: JsonMapping = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class TrainReport(Printed):
    """A trained model and its evaluation.

    Args:
        rows, fraud: Training rows of the model itself, and frauds among them.
        immature: Rows of its window left out because they are younger than the label delay.
        leak: None if no gate asked for the test.
        promoted: Whether it is in force now; `why_not` is the reason if not.
        is_champion: Whether it was made the champion, in force already or not.
        is_incomplete: Whether lines of its training files were left out, as `remarks` say.
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

    def _charts(self) -> str:
        return (self.stored.file(REPORT) or b"").decode()

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
    """Train a model on what was known at a moment, judge it on folds before that, and add it to the registry.

    It is not put in force.

    Args:
        brought_by: Manifest entry on the cause of a training that nobody requested.
        making: Returns another way to make the model, which is judged alike.

    Raises: UsageError if there is nothing to learn from, with what is missing.
    """
    started = time.monotonic()
    steps = run.steps
    growing = run.growing
    way = replace(run.way, reading=steps.reading)
    at_stage(steps, "reading events, computing features")
    training_set = build_set(definitions, settings, source, as_of_ms, way)
    _check_happened(training_set, source)
    policy = definitions.policy(settings.event)
    terms = terms_of(definitions, settings.event)
    ruled = rule_outcomes(definitions, settings.event, training_set.recorded)
    maker = _trainer(training_set, settings, run) if making is None else making(training_set)
    remarks = [*_ran_on(growing), *_tests_too_late(training_set, settings)]
    champion = _champion(definitions, settings, source, training_set, way)
    at_stage(steps, _fold_words(0, settings.split.folds))
    try:
        evaluation = evaluate(
            training_set,
            settings,
            terms,
            maker.learn,
            champion=champion,
            rules=baselines.rules_only(ruled, "the rules' hits alone"),
            progress=partial(_fold_done, steps),
        )
    except UsageError as error:
        raise UsageError(_history_too_short(training_set, settings) or " ".join([str(error), *remarks])) from None
    if source.log is None:
        compared = {
            name: comparison for name, comparison in evaluation.compared.items() if name != baselines.RULES_ONLY
        }
        evaluation = replace(evaluation, compared=compared)
        remarks += [NOT_DECIDED] if any(rule.on == settings.event for rule in definitions.rules) else []
    window = final_window(settings.split, as_of_ms)
    window_rows = known_rows(
        training_set, window.train_start_ms, window.train_end_ms, as_of_ms, settings.label_delay_ms
    )
    at_stage(steps, "training on the newest window")
    trained = maker.keep(window_rows)
    leak = _leaks(definitions, settings, source, as_of_ms, replace(way, reading=None), steps)
    latency_ms = _latency_ms(trained, training_set) if _asks(settings, LATENCY) else None
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
        "data": _data_of(training_set, window, window_rows) if maker.data is None else dict(maker.data),
        "policy": {"review_at": policy.review_at, "decline_at": policy.decline_at},
        **({} if brought_by is None else {"brought_by": dict(brought_by)}),
        **_held_against(definitions, settings),
        "gates": {gate.words: gate.passed for gate in gates},
        **maker.about,
        **trained.as_manifest(),
    }
    at_stage(steps, "writing the report")
    # The score changes nothing for rows that a rule allows.
    allowed = _hit_by_effect(definitions, settings.event, training_set.recorded)["allow"]
    tested = judged_rows(training_set, evaluation, ruled, allowed)
    report_facts = ReportFacts(definitions, settings, training_set, evaluation, trained, gates, leak, terms, tested)
    stored, is_new = run.registry.add(
        as_of_ms,
        manifest,
        {**trained.fitted.files, TESTED: file_of(tested)},
        metrics=metrics_document(evaluation, leak),
        gates=gates,
        page=report_facts.page,
    )
    remarks += (
        [] if is_new else [f"{stored.id} exists already: the same data gave the same model, so nothing is added."]
    )
    return TrainReport(
        stored,
        as_of_ms,
        trained.rows,
        trained.frauds,
        window_rows.immature,
        evaluation,
        tuple(gates),
        leak,
        (*remarks, *trained.remarks, *evaluation.remarks),
        time.monotonic() - started,
    )


def _fold_words(done: int, count: int) -> str:
    return f"training and evaluating, fold {done + 1} of {count}" if done < count else "measuring, with intervals"


def _fold_done(steps: Steps, done: int, count: int) -> None:
    if steps.folds is not None:
        steps.folds(done, count)
    at_stage(steps, _fold_words(done, count))


def _trainer(training_set: TrainingSet, settings: ModelSettings, run: TrainingRun) -> Maker:
    """Return how to train, here or on a cluster, after the search for parameters of model.yaml, if any."""
    parameters = _searched(training_set, settings, run) if settings.search else settings.parameters
    return Maker(
        learn_by(settings, parameters, run.threads, run.growing),
        lambda rows: train(training_set, rows, settings, parameters, run.threads, run.growing),
    )


def _ran_on(growing: Growing | None) -> list[str]:
    if growing is None:
        return []
    processes = many(growing.cluster.processes, "process", "processes")
    workers = f"{processes} of {growing.cluster.name}"
    return [f"Features were computed and trees grown by {workers}, all else by the command's own."]


def _data_of(training_set: TrainingSet, window: Fold, window_rows: KnownRows) -> JsonObject:
    return {
        "from": time_text(window.train_start_ms),
        "to": time_text(window.train_end_ms),
        "seqs": [int(training_set.seqs[window_rows.rows[0]]), int(training_set.seqs[window_rows.rows[-1]])],
        "immature": window_rows.immature,
        "unclear": window_rows.unclear,
        **({"not_seen": window_rows.not_seen} if window_rows.not_seen else {}),
    }


def _held_against(definitions: Definitions, settings: ModelSettings) -> JsonObject:
    """Return what a later promotion is compared with: the current champion, and the meaning of each input."""
    champion = definitions.scoring_of(settings.event).champion
    return {
        COMPARED_WITH: None if champion is None else {"id": champion.id, "digest": champion.digest},
        MEANINGS: definitions.meanings(settings.event, settings.inputs),
    }


def terms_of(definitions: Definitions, event: str) -> Terms:
    """Return the thresholds and costs of the policy, in the form that metrics use."""
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
    """Return the thresholds that gates of model.yaml name, ascending."""
    return tuple(sorted({gate.at for gate in (settings.gates if settings else ()) if gate.at is not None}))


def rule_outcomes(definitions: Definitions, event: str, recorded: RecordedDecisions) -> Ints8:
    """Return each row's outcome from recorded rule hits alone, by today's effects, as codes of OUTCOMES.

    Rules in shadow are left out. A recorded hit does not show whether the rule's rollout included its key, so it
    counts.
    """
    by_effect = _hit_by_effect(definitions, event, recorded)
    return outcome_codes(by_effect, np.full(len(recorded.outcomes), np.nan), Policy())


def _hit_by_effect(definitions: Definitions, event: str, recorded: RecordedDecisions) -> defaultdict[str, Bools]:
    """Return for each effect which rows were hit by rules that have this effect today."""
    masks = defaultdict[str, Bools](lambda: np.zeros(len(recorded.outcomes), np.bool_))
    for rule in definitions.rules:
        if rule.on == event and not rule.is_shadow and rule.id in recorded.hits:
            masks[rule.effect] |= recorded.hits[rule.id]
    return masks


def _check_happened(training_set: TrainingSet, source: HistorySource) -> None:
    """Raises: UsageError if no event had happened by the set's moment, with the time of the oldest."""
    if len(training_set):
        return
    message = f"by {time_text(training_set.as_of_ms)} no {training_set.event} had happened"
    times = (
        frame.times
        for chunk in source.taken()
        if (frame := chunk.frames.get(training_set.event)) is not None and len(frame)
    )
    oldest_ms = min((int(time_.min()) for time_ in times), default=None)
    if oldest_ms is None:
        raise UsageError(f"{message}, and none is there. {CURE_EMPTY}")
    raise UsageError(f"{message}: the oldest is of {time_text(oldest_ms)}. Give a later time, or none.")


def _history_too_short(training_set: TrainingSet, settings: ModelSettings) -> str:
    """Return how much history there is and how much is needed for the requested moment and the best one
    (`_best_as_of_ms`); empty if a fold can learn.
    """
    split = settings.split
    event = settings.event
    oldest_ms = int(training_set.times_ms.min())
    had_ms = min(training_set.as_of_ms, _best_as_of_ms(training_set, settings)) - oldest_ms
    lengths_ms = {"label_delay": settings.label_delay_ms, "split.test": split.test_ms, "split.delay": split.delay_ms}
    if had_ms > sum(lengths_ms.values()):
        return ""
    lengths = " + ".join(f"{name} {show_duration(length)}" for name, length in lengths_ms.items())
    longest = max(lengths_ms, key=lambda name: lengths_ms[name])
    return (
        f"{event} has {had_ms / DAY_MS:.1f} days of history, from {time_text(oldest_ms)} on. Training needs more than "
        f"{sum(lengths_ms.values()) / DAY_MS:.1f} days: {lengths}, and events before that to train on. Add older "
        f"ones, or shorten {longest} in model.yaml."
    )


def _best_as_of_ms(training_set: TrainingSet, settings: ModelSettings) -> int:
    """Return the moment at which the last test ends with the newest event."""
    return int(training_set.times_ms.max()) + settings.label_delay_ms


def _tests_too_late(training_set: TrainingSet, settings: ModelSettings) -> list[str]:
    """Return a remark if more than half of the last test is after the newest event, as when labels came much later."""
    last = windows_of(settings.split, settings.label_delay_ms, training_set.as_of_ms)[-1]
    newest_ms = int(training_set.times_ms.max())
    if last.test_end_ms - newest_ms <= (last.test_end_ms - last.test_start_ms) / 2:
        return []
    better = time_text(_best_as_of_ms(training_set, settings))
    remark = (
        f"The newest {settings.event} is of {time_text(newest_ms)}, the last test ends {time_text(last.test_end_ms)}: "
        f"tests end after the events. --as-of {better} puts the end of the last test at the newest {settings.event}."
    )
    return [remark]


def _searched(training_set: TrainingSet, settings: ModelSettings, run: TrainingRun) -> TextMapping:
    at_stage(run.steps, "searching for parameters, trials")
    trials = settings.search.get("trials")
    limit = settings.search.get("time")
    bounds = SearchRange(int(Decimal(trials)) if trials else None, parse_duration(limit) / 1_000 if limit else None)
    first = windows_of(settings.split, settings.label_delay_ms, training_set.as_of_ms)[0]
    train_rows = rows_of(training_set, first, settings.label_delay_ms).train
    return search(training_set, train_rows, settings, bounds, run.threads, run.steps.trials, run.growing)


def _champion(
    definitions: Definitions, settings: ModelSettings, source: HistorySource, training_set: TrainingSet, way: Way
) -> baselines.Baseline | None:
    """Return the active model as a baseline, scored on the rows of the set; None if there is none.

    Raises: StateError if it cannot be loaded.
    """
    scorer = definitions.scoring_of(settings.event).champion
    if scorer is None:
        return None
    if scorer.model is None:  # a model that cannot be loaded cannot be beaten
        raise unavailable(scorer)
    model = scorer.model
    inputs = tuple(ModelInput(input_.name, node) for input_, node in zip(model.inputs, scorer.inputs, strict=True))
    champion_settings = plain_settings(definitions, settings.event, inputs)
    champion_set = (
        training_set
        if inputs == settings.inputs
        else build_set(definitions, champion_settings, source, training_set.as_of_ms, replace(way, reading=None))
    )
    scores = model.scores(columns_for(model.inputs, champion_set.inputs))
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


def _latency_ms(trained: Trained, training_set: TrainingSet) -> float:
    """Measure the 99th percentile of a score's time over rows of the set, in ms.

    Processor time, and the best of three for each row, so that other load does not matter.
    """
    model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
    rows = np.unique(np.linspace(0, len(training_set) - 1, SINGLE_SCORES).astype(np.int64))
    columns = columns_for(model.inputs, [replace(input_, values=input_.values[rows]) for input_ in training_set.inputs])
    model.scores([column[:1] for column in columns])
    spent_ns = np.empty(len(rows))
    for row in range(len(rows)):
        single = [np.ascontiguousarray(column[row : row + 1]) for column in columns]
        spent_ns[row] = min(_spent_ns(partial(model.scores, single)) for _ in range(3))
    return float(np.percentile(spent_ns, 99) / 1e6)


def _spent_ns(call: Callable[[], object]) -> int:
    started = time.thread_time_ns()
    call()
    return time.thread_time_ns() - started


def plain_settings(definitions: Definitions, event: str, inputs: tuple[ModelInput, ...]) -> ModelSettings:
    """Return the settings of an event type with other inputs and without slices, to read a set, not to train.

    A type that model.yaml does not name gets the defaults.
    """
    declared = definitions.models.get(event)
    if declared is not None:
        return replace(declared, inputs=inputs, give_away=(), slices=())
    split = Split(TRAIN_MS, LABEL_DELAY_MS, TEST_MS, FOLDS)
    return ModelSettings(event, inputs, LABEL_DELAY_MS, LEARNERS[0], split, None, DEFAULT_GATES)
