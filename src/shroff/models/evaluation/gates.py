"""Gates: the conditions of model.yaml for a promotion, checked against measurements.

A gate without a measured value fails: it is unproven. Without a champion, a model is compared with what is active
instead: rules alone, which approve every event if there are none.

Gates are checked when a model is trained, and again when it is promoted: by then there may be another champion, and
model.yaml may require more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import ge, le

import msgspec

from shroff.json_types import JsonMapping
from shroff.models.definitions import ModelGate
from shroff.models.evaluation.baselines import APPROVE_ALL, CHAMPION, RULES_ONLY
from shroff.models.evaluation.estimates import Difference, Estimate
from shroff.models.evaluation.folds import Compared, Evaluation
from shroff.models.evaluation.slices import GENUINE_MIN, Slice
from shroff.models.in_force import Promotion
from shroff.models.keys import NOISE
from shroff.models.metrics import FAIRNESS, RATIO, at_cut_off, figure_text, metric_of
from shroff.models.registry import GATES, GateResult, Stored
from shroff.runtime.texts import many, one_line, table
from shroff.runtime.values import FrozenStruct, replace

LATENCY = "latency_p99"
LEAK_TEST = "leak_test"
SLICE_COLLAPSE = "slice_collapse"
JUDGED = "gates"  # name of the failure if no gates were checked
COMPARED_WITH = "compared_with"  # in a manifest: the champion, null if there was none
CURE = "train again, or waive it"
_ALONE = {RULES_ONLY: "rules alone", APPROVE_ALL: "approving all"}  # what is active without a model
_ABOVE = "above the champion by "
_ABOVE_ALONE = {words: f"above {words} by " for words in _ALONE.values()}  # without a champion
_SINCE = "model.yaml has it only since the model was trained"


class GateFigures(FrozenStruct):
    """Measurements that gates are checked against.

    Args:
        champion: Comparison with the active model; None if there was none.
        without: What is active without a model, in words and measured: rules alone, or approving every event if no rule
            decided anything; None if not measured.
        slices: None if not measured.
        leak_test_passed: None if not run.
        latency_p99_ms: Of one score; None if not measured.
    """

    metrics: Mapping[str, Estimate]
    champion: Compared | None
    slices: Sequence[Slice] | None
    leak_test_passed: bool | None = None
    latency_p99_ms: float | None = None
    without: tuple[str, Compared] | None = None


def judge_gates(
    gates: Sequence[ModelGate],
    evaluation: Evaluation,
    *,
    leak_test_passed: bool | None = None,
    latency_p99_ms: float | None = None,
) -> list[GateResult]:
    """Return each limit of each gate with its value and result, in the order of model.yaml.

    Args:
        leak_test_passed: None if not run.
        latency_p99_ms: Of one score; None if not measured.
    """
    champion = evaluation.compared.get(CHAMPION)
    without = _without(evaluation.compared)
    measured = GateFigures(evaluation.metrics, champion, evaluation.slices, leak_test_passed, latency_p99_ms, without)
    return [result for gate in gates for result in _judged(gate, measured)]


def value_text(gate: GateResult) -> str:
    """Format the value of a gate for people, with its unit or in words.

    >>> value_text(GateResult("latency_p99", 0.0066312, "at most 1 ms", passed=True))
    '0.00663 ms'
    """
    if gate.value is None:
        return "-"
    if gate.name == LEAK_TEST:
        return "nothing leaks" if gate.value else "it leaks"
    return f"{gate.value:.3g} ms" if gate.name == LATENCY else figure_text(gate.value)


def asked_again(stored: Stored, gates: Sequence[ModelGate]) -> list[GateResult]:
    """Return the state of a model's gates at its promotion: the recorded results, then new gates.

    A model without recorded gates fails. Gates added to model.yaml later are checked against the recorded measurements.
    A failed gate stays failed even if model.yaml has relaxed it: passing it would be a waiver without a name.

    Args:
        gates: Gates of model.yaml today.
    """
    recorded = stored.gates
    recorded_limits = {(gate_result.name, gate_result.limit) for gate_result in recorded}
    results = [*recorded]
    missing = (
        ""
        if GATES in stored.files
        else stored.damaged.get(GATES, f"its folder has no {GATES}, so its gates were not checked").rstrip(".")
    )
    if gates and not (recorded or missing):
        missing = "none was checked at training, and model.yaml has some now"
    if missing:
        results.insert(0, GateResult(JUDGED, None, "judged", passed=False, note=f"{missing}: {CURE}"))
    measured = _measured_of(stored)
    for gate in gates:
        # The gates that did not exist when the model was trained
        results += [
            replace(result, note=f"{_SINCE}; {result.note}" if result.note else _SINCE)
            for result in _judged(gate, measured)
            if (result.name, result.limit) not in recorded_limits
        ]
    return results


def beside_champion(results: Sequence[GateResult], stored: Stored, champion: Promotion | None) -> list[GateResult]:
    """Fail the results that were compared with another champion than the given one, or with none."""
    reason = _other_champion(stored.manifest, champion)
    if not reason:
        return [*results]
    note = f"{reason}: {CURE}"
    return [
        replace(result, passed=False, note=note)
        if result.name == SLICE_COLLAPSE or result.limit.startswith((_ABOVE, *_ABOVE_ALONE.values()))
        else result
        for result in results
    ]


def _judged(gate: ModelGate, measured: GateFigures) -> list[GateResult]:
    if gate.metric == LEAK_TEST:
        passed = measured.leak_test_passed
        value, note = (None, "it was not run") if passed is None else (float(passed), "")
        return [GateResult(LEAK_TEST, value, "required", bool(passed), note)]
    if gate.metric == SLICE_COLLAPSE:
        return [_slice_collapse(gate.at_most, measured)]
    if gate.metric == FAIRNESS:
        return [_fairness(name, gate.at_most or 1.0, measured.slices or ()) for name in gate.by]
    if gate.metric == LATENCY:
        return _limits(gate, measured.latency_p99_ms, "it was not measured", " ms")
    if gate.at is not None:
        gate = replace(gate, metric=at_cut_off(gate.metric, gate.at))
    estimate = measured.metrics.get(gate.metric)
    mean, reason = (None, "it is not measured") if estimate is None else (estimate.mean, estimate.why)
    results = _limits(gate, mean, reason, "")
    if gate.above_champion_by is not None:
        results.append(_above_champion(gate.metric, gate.above_champion_by, measured))
    return results


def _limits(gate: ModelGate, value: float | None, reason: str, unit: str) -> list[GateResult]:
    results = []
    note = reason if value is None else ""
    for comparison, limit, holds in (("at least", gate.at_least, ge), ("at most", gate.at_most, le)):
        if limit is not None:
            passed = value is not None and holds(value, limit)
            results.append(GateResult(gate.metric, _short(value), f"{comparison} {limit:g}{unit}", passed, note))
    return results


def _above_champion(metric: str, lead: str | float, measured: GateFigures) -> GateResult:
    """Check that a model beats the active one on the same rows, by a number or with its whole interval."""
    required = "more than noise" if lead == NOISE else f"{float(lead):g}"
    failed = GateResult(metric, None, f"{_ABOVE}{required}", passed=False)
    against = ""
    champion = measured.champion
    if champion is None:
        if measured.without is None:
            return replace(failed, note=f"there is no champion, and it was not compared with rules alone: {CURE}")
        alone, champion = measured.without
        failed = replace(failed, limit=f"{_ABOVE_ALONE.get(alone, f'above {alone} by ')}{required}")
        against = f"there is no champion, so against {alone}: "
    if champion.rows == 0:
        note = "every test row lies before the end of the champion's training data, so none is left to compare the two"
        return replace(failed, note=note)
    difference = champion.differences.get(metric)
    if difference is None or difference.mean is None:
        return replace(failed, note=f"{against}the two cannot be compared by it")
    about = metric_of(metric)
    sign = -1.0 if about is not None and about.is_less_better else 1.0
    interval = "no interval"
    if difference.low is not None and difference.high is not None:
        interval = f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"
    note = f"{against}{interval}; {many(champion.rows, 'row')}, {many(champion.frauds, 'fraud')}"
    worst = difference.low if sign > 0 else difference.high
    passed = worst is not None and sign * worst > 0 if lead == NOISE else sign * difference.mean >= float(lead)
    return replace(failed, value=_short(difference.mean), passed=passed, note=note)


def _without(compared: Mapping[str, Compared]) -> tuple[str, Compared] | None:
    """Return the baseline without a model, in words and measured; None if none was measured."""
    baselines = ((description, compared.get(name)) for name, description in _ALONE.items())
    return next(((description, baseline) for description, baseline in baselines if baseline is not None), None)


def _slice_collapse(at_most: float | None, measured: GateFigures) -> GateResult:
    compared = [slice_ for slice_ in measured.slices or () if slice_.fall is not None]
    limit = "no slice falls by more than noise" if at_most is None else f"at most {at_most:g}"
    if not compared:
        is_alone = measured.champion is None
        note = "there is no champion yet" if is_alone else "no slice has enough frauds to compare the two"
        is_known = is_alone or measured.slices is not None
        return GateResult(SLICE_COLLAPSE, None, limit, passed=is_known, note=note if is_known else "it is not measured")
    worst = max(compared, key=lambda other: other.fall if other.fall is not None else 0.0)
    collapsed = [other for other in compared if other.falls_by_more_than_noise]
    note = f"furthest behind: {worst.name} {worst.value}"
    if at_most is not None:
        passed = worst.fall is not None and worst.fall <= at_most
    else:
        passed = not collapsed
        note += "".join(f"; {other.name} {other.value} falls by more than noise" for other in collapsed)
    return GateResult(SLICE_COLLAPSE, _short(worst.fall), limit, passed=passed, note=note)


def gates_text(gates: Sequence[GateResult]) -> str:
    if not gates:
        return "  no gates"
    rows = []
    for gate in gates:
        note = f" ({one_line(gate.note)})" if gate.note else ""
        rows.append((gate.name, value_text(gate), gate.limit, ("passed" if gate.passed else "failed") + note))
    return table(rows, ("gate", "value", "limit", ""))


def _fairness(name: str, at_most: float, slices: Sequence[Slice]) -> GateResult:
    """Check the ratio of the highest to the lowest false-positive rate of a column's segments, by the ends of their
    intervals.

    All intervals of a column hold together with 95 % confidence, so with equal rates the check fails at most once in
    twenty times.
    """
    limit = f"{RATIO.name} at most {at_most:g} by {name}"
    rates_by_segment = [
        (slice_.value, slice_.false_positive_rate) for slice_ in slices if slice_.name == name and slice_.is_compared
    ]
    rates = sorted((rate.mean, rate.low, rate.high, value) for value, rate in rates_by_segment if rate is not None)
    if len(rates) < 2:
        note = f"fewer than two segments have {GENUINE_MIN} genuine events"
        return GateResult(FAIRNESS, None, limit, passed=False, note=note)
    ratio = max(1.0, max(rate[1] for rate in rates) / min(rate[2] for rate in rates))
    extremes = (
        f"{value} {100 * mean:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %)"
        for mean, low, high, value in (rates[-1], rates[0])
    )
    return GateResult(
        FAIRNESS, _short(ratio), limit, passed=ratio <= at_most, note="highest {}; lowest {}".format(*extremes)
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# ---- reading stored measurements


class _Beside(FrozenStruct):
    rows: int
    frauds: int
    above: dict[str, Difference]


class _LeakPart(FrozenStruct):
    passed: bool


class _Metrics(msgspec.Struct, frozen=True):
    metrics: dict[str, Estimate] = {}
    baselines: dict[str, _Beside] = {}
    slices: list[Slice] = []
    leak_test: list[_LeakPart] = []


def _measured_of(stored: Stored) -> GateFigures:
    """Read the measurements in a model's folder; those in another form count as missing."""
    try:
        measurements = msgspec.convert(stored.metrics, _Metrics)
    except msgspec.ValidationError:
        measurements = _Metrics()
    compared = {name: _compared(baseline) for name, baseline in measurements.baselines.items()}
    champion = compared.get(CHAMPION)
    if champion is None and stored.manifest.get(COMPARED_WITH) is not None:
        champion = _compared(_Beside(-1, 0, {}))  # there was a champion, but no comparison is known
    latency = next((gate.value for gate in stored.gates if gate.name == LATENCY), None)
    return GateFigures(
        measurements.metrics,
        champion,
        measurements.slices or None,
        all(result.passed for result in measurements.leak_test) if measurements.leak_test else None,
        latency,
        _without(compared),
    )


def _compared(beside: _Beside) -> Compared:
    return Compared("", {}, {}, beside.above, beside.rows, beside.frauds)


# ---- the compared champion


def _other_champion(manifest: JsonMapping, champion: Promotion | None) -> str:
    """Explain why a comparison with the champion is outdated; empty if it is not."""
    if COMPARED_WITH not in manifest:
        return "it is not recorded which champion it was compared with"
    compared_with = manifest[COMPARED_WITH]
    current = None if champion is None else {"id": champion.id, "digest": champion.digest}
    if compared_with == current:
        return ""
    history = (
        "it was trained when no model was active"
        if compared_with is None
        else f"it was compared with {compared_with.get('id')}"
    )
    if champion is None:
        return f"{history}, and no model is active now"
    other = "another " if compared_with is not None and compared_with.get("id") == champion.id else ""
    return f"{history}, and {other}{champion.id} is the champion now"
