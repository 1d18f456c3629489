"""Gates: what model.yaml asks of a model before it may be promoted, held against what was measured.

A gate whose number is not known does not pass: what was not measured was not shown. Only the
comparison with a champion passes where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shroff.models.baselines import CHAMPION
from shroff.models.definitions import Gate
from shroff.models.evaluation import Evaluation
from shroff.models.keys import METRICS_BY_NAME, NOISE
from shroff.models.registry import GateResult

LATENCY: Final = "latency_p99"
LEAK_TEST: Final = "leak_test"
SLICE_COLLAPSE: Final = "slice_collapse"


def judge_gates(
    gates: Sequence[Gate],
    evaluation: Evaluation,
    *,
    leak_test_passed: bool | None = None,
    latency_p99_ms: float | None = None,
) -> list[GateResult]:
    """Each limit of each gate with its number and whether it is held, in the order of model.yaml.

    Args:
        leak_test_passed: None where it was not run.
        latency_p99_ms: Of one score; None where it was not measured.
    """
    results: list[GateResult] = []
    for gate in gates:
        if gate.metric == LEAK_TEST:
            results.append(_leak_test(has_passed=leak_test_passed))
        elif gate.metric == SLICE_COLLAPSE:
            results.append(_slice_collapse(gate, evaluation))
        elif gate.metric == LATENCY:
            results += _limits(gate, latency_p99_ms, "it was not measured", " ms")
        else:
            found = evaluation.metrics.get(gate.metric)
            mean, why = (None, "it is not measured") if found is None else (found.mean, found.why)
            results += _limits(gate, mean, why, "")
            if gate.above_champion_by is not None:
                results.append(_above_champion(gate.metric, gate.above_champion_by, evaluation))
    return results


def _limits(gate: Gate, value: float | None, why: str, unit: str) -> list[GateResult]:
    found, note = [], why if value is None else ""
    if gate.at_least is not None:
        passed = value is not None and value >= gate.at_least
        found.append(GateResult(gate.metric, _short(value), f"at least {gate.at_least:g}{unit}", passed, note))
    if gate.at_most is not None:
        passed = value is not None and value <= gate.at_most
        found.append(GateResult(gate.metric, _short(value), f"at most {gate.at_most:g}{unit}", passed, note))
    return found


def _above_champion(metric: str, by: str | float, evaluation: Evaluation) -> GateResult:
    """Whether it beats the champion on identical rows: by a number, or with the whole interval on the good side."""
    words = "more than noise" if by == NOISE else f"{float(by):g}"
    limit = f"above the champion by {words}"
    champion = evaluation.compared.get(CHAMPION)
    if champion is None:
        return GateResult(metric, None, limit, passed=True, note="there is no champion yet")
    if champion.rows == 0:
        note = "the champion has learnt from every test row, so there is none on which the two can be compared"
        return GateResult(metric, None, limit, passed=False, note=note)
    found = champion.differences.get(metric)
    if found is None or found.mean is None:
        return GateResult(metric, None, limit, passed=False, note="the two cannot be compared by it")
    about = METRICS_BY_NAME.get(metric)
    sign = -1.0 if about is not None and about.is_less_better else 1.0
    gain = sign * found.mean
    interval = "no interval"
    if found.low is not None and found.high is not None:
        interval = f"95 % interval {found.low:+.4f} to {found.high:+.4f}"
    note = f"{interval}; {champion.rows:,} rows, {champion.frauds:,} frauds"
    if by != NOISE:
        return GateResult(metric, _short(found.mean), limit, passed=gain >= float(by), note=note)
    worst = found.low if sign > 0 else found.high
    passed = worst is not None and sign * worst > 0
    return GateResult(metric, _short(found.mean), limit, passed=passed, note=note)


def _slice_collapse(gate: Gate, evaluation: Evaluation) -> GateResult:
    """The largest fall of average precision behind the champion in any slice."""
    compared = [one for one in evaluation.slices if one.fall is not None]
    limit = "no slice falls by more than noise" if gate.at_most is None else f"at most {gate.at_most:g}"
    if not compared:
        is_alone = CHAMPION not in evaluation.compared
        note = "there is no champion yet" if is_alone else "no slice has frauds enough to compare the two"
        return GateResult(SLICE_COLLAPSE, None, limit, passed=True, note=note)
    worst = max(compared, key=lambda one: one.fall if one.fall is not None else 0.0)
    fallen = [one for one in compared if one.falls_by_more_than_noise]
    note = f"furthest behind: {worst.name} {worst.value}"
    if gate.at_most is not None:
        passed = worst.fall is not None and worst.fall <= gate.at_most
    else:
        passed = not fallen
        note += "".join(f"; {one.name} {one.value} falls by more than noise" for one in fallen)
    return GateResult(SLICE_COLLAPSE, _short(worst.fall), limit, passed=passed, note=note)


def _leak_test(*, has_passed: bool | None) -> GateResult:
    note = "it was not run" if has_passed is None else ""
    return GateResult(LEAK_TEST, None if has_passed is None else float(has_passed), "required", bool(has_passed), note)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
