"""Training: from a project's log to a model in its registry, judged on folds of time and held against its gates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

import shroff
from shroff.decisions.definitions import Definitions
from shroff.decisions.leak_test import LeakReport, leak_test
from shroff.decisions.policy import OUTCOMES, Policy, outcome
from shroff.decisions.scoring import unavailable
from shroff.decisions.tables import Way
from shroff.decisions.training_report import Told
from shroff.decisions.training_set import build_set
from shroff.decisions.training_sources import Source
from shroff.errors import UsageError, nearest
from shroff.events.event import time_text
from shroff.language.values import DAY_MS, parse_duration, parse_time
from shroff.models import baselines
from shroff.models.definitions import ModelInput, ModelSettings, Split
from shroff.models.evaluation import Evaluation, evaluate
from shroff.models.folds import final_window, known_rows, rows_of, windows_of
from shroff.models.gates import LATENCY, LEAK_TEST, judge_gates
from shroff.models.learners import columns_for
from shroff.models.metrics import Terms
from shroff.models.registry import GateResult, Registry, Stored
from shroff.models.report import REPORT
from shroff.models.search import Bounds, Trial, search
from shroff.models.sets import Flags, Recorded, TrainingSet, Words
from shroff.models.training import Trained, learn_by, loaded, train
from shroff.rules.keys import EFFECTS

if TYPE_CHECKING:
    import pyarrow as pa

TESTED: Final = (
    "tested.parquet"  # beside a model: the rows that it was judged on, with scores of models that had not seen them
)
NOT_DECIDED: Final = "Files are not decided, so no rule stands beside: 'shroff ingest' them and train on the log."
SINGLE_SCORES: Final = 2_000  # that are timed, for the latency


@dataclass(frozen=True, slots=True)
class Steps:
    """Whom to tell how training goes on: events read, folds done, trials of a search."""

    reading: Callable[[int], None] | None = None
    folds: Callable[[int, int], None] | None = None
    trials: Callable[[Trial], None] | None = None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A model that was trained, and all that is known of it.

    Args:
        rows, fraud: What the model itself learnt from.
        immature: Rows of its window that were neither, being younger than the label delay.
        leak: None where no gate asked for the test.
        promoted: Whether it is in force now; `why_not` says why it is not.
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

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


def train_model(
    definitions: Definitions,
    settings: ModelSettings,
    source: Source,
    registry: Registry,
    *,
    as_of_ms: int,
    now_ms: int,
    threads: int,
    steps: Steps | None = None,
    brought_by: Mapping[str, str] | None = None,
) -> TrainReport:
    """Train a model of what was known at a moment, judge it on folds before, and put it into the registry.

    It is not put in force. `brought_by` stands in its manifest: what it was trained for, where nobody asked.

    Raises: UsageError where there is nothing to learn from, with what is missing.
    """
    started, steps = time.monotonic(), steps or Steps()
    way = Way(reading=steps.reading)
    given = build_set(definitions, settings, source, as_of_ms, way)
    policy, terms = definitions.policy(settings.event), terms_of(definitions, settings.event)
    ruled = rule_outcomes(definitions, settings.event, given.recorded)
    parameters, said = _searched(given, settings, threads, steps), _windows_too_late(given, settings)
    try:
        evaluation = evaluate(
            given,
            settings,
            terms,
            learn_by(settings, parameters, threads),
            champion=_champion(definitions, settings, source, given, way),
            rules=baselines.rules_only(ruled, "the rules' hits alone"),
            progress=steps.folds,
        )
    except UsageError as error:
        raise UsageError(" ".join([str(error), *said])) from None
    if source.log is None:
        beside = {name: one for name, one in evaluation.compared.items() if name != baselines.RULES_ONLY}
        evaluation = replace(evaluation, compared=beside)
        said += [NOT_DECIDED] if any(rule.on == settings.event for rule in definitions.rules) else []
    window = final_window(settings.split, as_of_ms)
    known = known_rows(given, window.train_start_ms, window.train_end_ms, as_of_ms, settings.label_delay_ms)
    trained = train(given, known, settings, parameters, threads)
    leak = _leaks(definitions, settings, source, as_of_ms)
    latency_ms = _latency_ms(trained, given) if _asks(settings, LATENCY) else None
    gates = judge_gates(
        settings.gates,
        evaluation,
        leak_test_passed=None if leak is None else leak.passed,
        latency_p99_ms=latency_ms,
    )
    manifest = {
        "event": settings.event,
        "made_at": time_text(now_ms),
        "shroff": shroff.__version__,
        "definitions": definitions.versions.definitions,
        "as_of": time_text(as_of_ms),
        "data": {
            "from": time_text(window.train_start_ms),
            "to": time_text(window.train_end_ms),
            "seqs": [int(given.seqs[known.rows[0]]), int(given.seqs[known.rows[-1]])],
            "immature": known.immature,
            "unclear": known.unclear,
        },
        "policy": {"review_at": policy.review_at, "decline_at": policy.decline_at},
        **({} if brought_by is None else {"brought_by": dict(brought_by)}),
        **trained.as_manifest(),
    }
    id_ = registry.new_id(
        as_of_ms, msgspec.json.encode(manifest, order="sorted") + b"".join(trained.fitted.files.values())
    )
    allowed, days = _allowed(definitions, given), tested_days(given, evaluation)
    told = Told(definitions, given, evaluation, trained, gates, leak, terms, days, ruled, allowed, settings.seed)
    files = {
        **trained.fitted.files,
        TESTED: _tested_file(given, evaluation, days, ruled, allowed),
        REPORT: told.page({"id": id_, **manifest}),
    }
    stored = registry.write({"id": id_, **manifest}, files, metrics=metrics_document(evaluation, leak), gates=gates)
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


def terms_of(definitions: Definitions, event: str) -> Terms:
    """The policy's cut-offs and costs, as metrics weigh by them."""
    policy, places = definitions.policy(event), definitions.settings.money_places

    def units(minor: int | None) -> float | None:
        return None if minor is None else minor / 10**places

    return Terms(
        policy.review_at,
        policy.decline_at,
        units(policy.false_decline_minor),
        units(policy.review_minor),
        policy.reviews_a_day,
        places,
    )


def rule_outcomes(definitions: Definitions, event: str, recorded: Recorded) -> NDArray[np.int8]:
    """What the hits alone come to for each row by today's effects, those in shadow aside: codes of OUTCOMES.

    By a recorded hit it cannot be told whether the rule's rollout took in its key, so it counts as if.
    """
    by_effect = {effect: np.zeros(len(recorded.outcomes), np.bool_) for effect in EFFECTS}
    for rule in definitions.rules:
        if rule.on == event and not rule.is_shadow and rule.id in recorded.hits:
            by_effect[rule.effect] |= recorded.hits[rule.id]
    found = np.zeros(len(recorded.outcomes), np.int8)
    for kinds in product((False, True), repeat=len(EFFECTS)):
        rows = np.logical_and.reduce([by_effect[name] == kind for name, kind in zip(EFFECTS, kinds, strict=True)])
        named = [name for name, kind in zip(EFFECTS, kinds, strict=True) if kind]
        found[rows] = OUTCOMES.index(outcome(named, Policy()))
    return found


def _windows_too_late(given: TrainingSet, settings: ModelSettings) -> list[str]:
    """What to say where more than half of the last test lies behind the newest event.

    So it is where labels came in long after the events: by the language a set is of the log's last time.
    """
    last = windows_of(settings.split, settings.label_delay_ms, given.as_of_ms)[-1]
    newest_ms = int(given.times_ms.max(initial=0))
    if not len(given) or last.test_end_ms - newest_ms <= (last.test_end_ms - last.test_start_ms) / 2:
        return []
    better = time_text(newest_ms + settings.label_delay_ms)
    words = (
        f"The newest {settings.event} is of {time_text(newest_ms)}, the last test ends {time_text(last.test_end_ms)}: "
        f"tests lie behind the events. --as-of {better} puts the end of the last test at the newest {settings.event}."
    )
    return [words]


def _searched(given: TrainingSet, settings: ModelSettings, threads: int, steps: Steps) -> Mapping[str, str]:
    """The learner's parameters; searched for, where model.yaml says so, on rows that no fold tests."""
    if not settings.search:
        return settings.parameters
    trials, limit = settings.search.get("trials"), settings.search.get("time")
    bounds = Bounds(int(Decimal(trials)) if trials else None, parse_duration(limit) / 1_000 if limit else None)
    first = windows_of(settings.split, settings.label_delay_ms, given.as_of_ms)[0]
    train_rows = rows_of(given, first, settings.label_delay_ms).train
    return search(given, train_rows, settings, bounds, threads, steps.trials).parameters


def _champion(
    definitions: Definitions, settings: ModelSettings, source: Source, given: TrainingSet, way: Way
) -> baselines.Baseline | None:
    """The model in force on the rows of the set; None where there is none that can be loaded."""
    scorer = definitions.scoring_of(settings.event).champion
    if scorer is None:
        return None
    if scorer.model is None:  # a model that nobody can look at is not beaten
        raise unavailable(scorer)
    model = scorer.model
    inputs = tuple(ModelInput(one.name, node) for one, node in zip(model.inputs, scorer.inputs, strict=True))
    own = plain_settings(definitions, settings.event, inputs)
    read = (
        given
        if inputs == settings.inputs
        else build_set(definitions, own, source, given.as_of_ms, replace(way, reading=None))
    )
    scores = model.scores(columns_for(model.inputs, read.inputs))
    data = model.manifest.get("data", {})
    until = data.get("to") if isinstance(data, dict) else None
    until_ms = None if until is None else parse_time(str(until))
    return baselines.champion(scores, until_ms, f"{model.id}, the model in force")


def _asks(settings: ModelSettings, metric: str) -> bool:
    return any(gate.metric == metric for gate in settings.gates)


def _leaks(definitions: Definitions, settings: ModelSettings, source: Source, as_of_ms: int) -> LeakReport | None:
    if not _asks(settings, LEAK_TEST):
        return None
    return leak_test(definitions, settings, source, as_of_ms, seed=settings.seed)


def _latency_ms(trained: Trained, given: TrainingSet) -> float:
    """The 99th percentile of what one score takes, in milliseconds, over rows of the set."""
    model = loaded(trained.fitted, trained.calibration, trained.negatives_kept)
    rows = np.unique(np.linspace(0, len(given) - 1, SINGLE_SCORES).astype(np.int64))
    columns = columns_for(model.inputs, [replace(one, values=one.values[rows]) for one in given.inputs])
    model.scores([column[:1] for column in columns])
    taken = np.empty(len(rows))
    for row in range(len(rows)):
        one = [np.ascontiguousarray(column[row : row + 1]) for column in columns]
        started = time.perf_counter_ns()
        model.scores(one)
        taken[row] = time.perf_counter_ns() - started
    return float(np.percentile(taken, 99) / 1e6)


def _tested_file(
    given: TrainingSet, evaluation: Evaluation, days: Words, ruled: NDArray[np.int8], allowed: Flags
) -> bytes:
    """The rows of all tests with the scores of models that had not seen them: what cut-offs are weighed on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tested = evaluation.tested
    rows = tested.rows
    table: pa.Table = pa.table(
        {
            "id": pa.array(given.ids[rows].tolist(), pa.string()),
            "seq": given.seqs[rows],
            "time": pa.array(given.times_ms[rows], pa.timestamp("ms", tz="UTC")),
            "fold": pa.array(tested.folds, pa.int32()),
            "day": days,
            "score": tested.scores,
            "fraud": tested.frauds,
            "amount_minor": given.amounts_minor[rows],
            "rules": pa.array([OUTCOMES[code] for code in ruled[rows].tolist()], pa.string()),
            "allowed": allowed[rows],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def tested_days(given: TrainingSet, evaluation: Evaluation) -> Words:
    """The day of each tested row, from the start of the first fold on: days of 24 hours from the start of each test.

    Days of folds that have no model are not counted: nobody was tested on them.
    """
    tested, start = evaluation.tested, 0
    days = np.zeros(len(tested.rows), np.int64)
    for number, report in enumerate(evaluation.folds):
        mine = tested.folds == number
        if mine.any():
            days[mine] = start + (given.times_ms[tested.rows[mine]] - report.fold.test_start_ms) // DAY_MS
            start += -(-(report.fold.test_end_ms - report.fold.test_start_ms) // DAY_MS)
    return days


def _allowed(definitions: Definitions, given: TrainingSet) -> Flags:
    """Which rows a rule allows, so that their score changes nothing."""
    found = np.zeros(len(given), np.bool_)
    for rule in definitions.rules:
        if rule.on == given.event and rule.effect == "allow" and not rule.is_shadow and rule.id in given.recorded.hits:
            found |= given.recorded.hits[rule.id]
    return found


# ---- as documents


def metrics_document(evaluation: Evaluation, leak: LeakReport | None) -> dict[str, Any]:
    """Everything that was measured, as JSON shows it; what has no value is null, with the reason beside."""
    found: dict[str, Any] = {
        "metrics": {name: asdict(one) for name, one in evaluation.metrics.items()},
        "baselines": {
            name: {
                "about": one.about,
                "rows": one.rows,
                "frauds": one.frauds,
                "metrics": {metric: asdict(value) for metric, value in one.metrics.items()},
                "above": {metric: asdict(value) for metric, value in one.differences.items()},
            }
            for name, one in evaluation.compared.items()
        },
        "folds": [asdict(one) for one in evaluation.folds],
        "slices": [asdict(one) for one in evaluation.slices],
        "curve": [asdict(one) for one in evaluation.curve],
        "without_give_away": {name: asdict(one) for name, one in evaluation.without_give_away.items()},
        "give_away": list(evaluation.give_away),
        "drawn": evaluation.drawn,
        "remarks": list(evaluation.remarks),
    }
    if leak is not None:
        found["leak_test"] = [asdict(one) | {"passed": one.passed} for one in leak.parts]
    document: dict[str, Any] = plain(found)
    return document


def plain(value: Any) -> Any:
    """The same for JSON: NaN and infinities as null, numbers of numpy as Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def plain_settings(definitions: Definitions, event: str, inputs: tuple[ModelInput, ...]) -> ModelSettings:
    """What model.yaml says of an event type, with other inputs and without slices, to read a set and not to learn.

    Of one that it does not name what it says where nothing stands.
    """
    declared = definitions.models.get(event)
    if declared is not None:
        return replace(declared, inputs=inputs, give_away=(), slices=())
    return ModelSettings(event, inputs, 7 * DAY_MS, "xgboost", Split(28 * DAY_MS, 7 * DAY_MS, 7 * DAY_MS, 4), None, ())


def settings_of(definitions: Definitions, event: str | None) -> ModelSettings:
    """The model that is meant: of an event type, or the only one of model.yaml.

    Raises: UsageError where none or several could be.
    """
    models = definitions.models
    if event is not None:
        if event not in models:
            hint = nearest(event, models) or "model.yaml names the event types that have a model."
            raise UsageError(f"model.yaml has no model of {event!r}. {hint}")
        return models[event]
    if len(models) != 1:
        words = "no model: write model.yaml" if not models else f"models of {', '.join(models)}: name one with --as"
        raise UsageError(f"the project declares {words}.")
    return next(iter(models.values()))
