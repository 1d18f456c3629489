"""The report of a model, report.html: one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from shroff.models.evaluation.estimates import Difference, Estimate
from shroff.models.evaluation.folds import Compared, Evaluation
from shroff.models.evaluation.gates import value_text
from shroff.models.evaluation.thresholds import Thresholds
from shroff.models.metrics import metric_of, metric_words
from shroff.models.model_contributions import Dependence
from shroff.models.registry import GateResult
from shroff.models.reports.pages import page
from shroff.models.reports.plots import cost_chart, curves, dependence_plots, importance_bars
from shroff.runtime.values import FrozenStruct

MINUS = "\N{MINUS SIGN}"
_MISSING = "missing"
_HEADLINE = ("average_precision", "auc_roc")


class Extras(FrozenStruct):
    """Optional parts of a report.

    Args:
        project, currency: Of the project.
        facts: Names and texts about the model: its data, its learner.
        dependences: Effects of its inputs on sampled test rows.
        leak: Parts of the leak test (`training.leak_test.LeakPart`).
        cutoffs: Costs of thresholds of the score.
        slice_words: Slices in words for people, in their order.
    """

    project: str = ""
    currency: str = ""
    facts: Sequence[tuple[str, str]] = ()
    dependences: Sequence[Dependence] = ()
    leak: Sequence[Any] = ()
    cutoffs: Thresholds | None = None
    slice_words: Sequence[str] = ()


def report_page(
    title: str,
    evaluation: Evaluation,
    gates: Sequence[GateResult],
    importance: Mapping[str, float],
    remarks: Sequence[str] = (),
    extras: Extras | None = None,
) -> str:
    """Render report.html: the result first, then gates, metrics with baselines, curves, inputs, slices and folds.

    Args:
        importance: Each input's share of the gain (`Fitted.importance`).
        remarks: Remarks of the training, shown with those of the evaluation.
    """
    more = extras or Extras()
    slices = evaluation.slices
    names = slices[0].metrics if slices else ()
    return page(
        __package__,
        "model.html",
        _FILTERS,
        title=title,
        project=more.project,
        evaluation=evaluation,
        gates=gates,
        answer=_answer(evaluation, gates),
        remarks=(*evaluation.remarks, *remarks),
        not_there=_not_there(evaluation),
        metrics=[known for name in evaluation.metrics if (known := metric_of(name)) is not None],
        curves=curves(evaluation) + cost_chart(more.cutoffs, more.currency),
        importance=importance_bars(importance, more.dependences),
        dependence=dependence_plots(more.dependences),
        slice_words=more.slice_words,
        slice_metrics=[name for name in names if any(part.metrics[name] is not None for part in slices)],
        has_fall=any(part.fall is not None for part in slices),
        leak=more.leak,
        facts=more.facts,
    )


def card_page(title: str, **shown: Any) -> str:
    return page(__package__, "card.html", _FILTERS, title=title, **shown)


def _answer(evaluation: Evaluation, gates: Sequence[GateResult]) -> str:
    name = next((metric for metric in _HEADLINE if metric in evaluation.metrics), "")
    text = ""
    if name:
        estimate = evaluation.metrics[name]
        text = f"{_upper(metric_words(name))} is {_number(estimate.mean)} ({_interval(estimate)})"
        baseline_texts = [
            f"{other.replace('_', ' ')} {_number(part.metrics[name].mean)}"
            for other, part in evaluation.compared.items()
            if name in part.metrics and part.metrics[name].mean is not None
        ]
        text += f"; beside it {', '.join(baseline_texts)}. " if baseline_texts else ". "
    failed = [metric_words(gate.name) for gate in gates if not gate.passed]
    gates_message = "All gates passed." if not failed else f"It failed {', '.join(failed)}."
    return text + (gates_message if gates else "It has no gates.")


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")


def _not_there(evaluation: Evaluation) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, estimate in evaluation.metrics.items():
        if estimate.mean is None:
            by_reason.setdefault(estimate.why or "it has no value", []).append(metric_words(name))
    message = "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())
    return f"Not there: {message}." if message else ""


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _beside(other: Compared, name: str) -> str:
    """Format a baseline's value, and the model's difference if it has an interval."""
    estimate = other.metrics.get(name)
    if estimate is None or estimate.mean is None:
        return _MISSING
    difference = other.differences.get(name, Difference(None, None, None))
    if difference.mean is None or difference.low is None or difference.high is None:
        return _number(estimate.mean)
    low, mean, high = (_signed(bound) for bound in (difference.low, difference.mean, difference.high))
    return f"{_number(estimate.mean)}\n{mean} ({low} to {high})"


def _mean(estimate: Estimate) -> str:
    spread = "" if estimate.spread is None else f" \N{PLUS-MINUS SIGN} {_number(estimate.spread)}"
    return f"{_number(estimate.mean)}{spread}" + ("" if estimate.low is None else f"\n{_interval(estimate)}")


def _interval(estimate: Estimate) -> str:
    return (
        _MISSING
        if estimate.low is None or estimate.high is None
        else f"{_number(estimate.low)} to {_number(estimate.high)}"
    )


def _number(value: float | None) -> str:
    if value is None:
        return _MISSING
    size = abs(value)
    if size >= 10:
        text = f"{size:,.2f}"
    else:
        text = f"{size:.4f}" if size >= 0.001 else f"{size:.3g}"
    return f"{MINUS if value < 0 else ''}{text}"


def _signed(value: float) -> str:
    size = abs(value)
    return f"{MINUS if value < 0 else '+'}{f'{size:,.0f}' if size >= 100 else f'{size:.3f}'}"


_FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "beside": _beside,
    "day": _day,
    "mean": _mean,
    "number": _number,
    "upper_first": _upper,
    "value": value_text,
    "words": metric_words,
}
