"""A model to read: report.html, one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Final

from shroff.models.evaluation.estimates import Difference, Estimate
from shroff.models.evaluation.folds import Compared, Evaluation, FoldReport
from shroff.models.evaluation.gates import value_text
from shroff.models.evaluation.slices import Slice
from shroff.models.evaluation.thresholds import Thresholds
from shroff.models.keys import metric_of, metric_words
from shroff.models.model_contributions import Dependence
from shroff.models.registry import GateResult
from shroff.models.reports.pages import note, page, section, table
from shroff.models.reports.plots import cost_chart, curves, dependence_plots, importance_bars

MINUS: Final = "\N{MINUS SIGN}"
_MISSING: Final = "missing"
_HEADLINE: Final = ("average_precision", "auc_roc")


@dataclass(frozen=True, slots=True)
class LeakLine:
    """One part of the leak test: what it compared, and the first difference, None where there was none."""

    name: str
    compared: int
    difference: str | None


@dataclass(frozen=True, slots=True)
class Extras:
    """Optional parts of a report.

    Args:
        project, currency: Of the project.
        facts: Names and texts about the model: its data, its learner.
        dependences: What its inputs do on drawn test rows.
        leak: Parts of the leak test.
        cutoffs: What thresholds of the score cost.
        slice_words: Slices as people say them, by name and value.
    """

    project: str = ""
    currency: str = ""
    facts: Sequence[tuple[str, str]] = ()
    dependences: Sequence[Dependence] = ()
    leak: Sequence[LeakLine] = ()
    cutoffs: Thresholds | None = None
    slice_words: Mapping[tuple[str, str], str] = field(default_factory=dict)


def report_page(
    title: str,
    evaluation: Evaluation,
    gates: Sequence[GateResult],
    importance: Mapping[str, float],
    remarks: Sequence[str] = (),
    extras: Extras | None = None,
) -> str:
    """report.html: the result first, then gates, metrics with baselines, curves, inputs, slices and folds.

    Args:
        importance: Each input's share of the gain (`Fitted.importance`).
        remarks: Of the training, shown with those of the evaluation.
    """
    more = extras or Extras()
    dependence = dependence_plots(more.dependences)
    parts = [
        f"<h1>{escape(title)}</h1>",
        section("In one sentence", _answer(evaluation, gates)),
        section("Remarks", "".join(f"<p>{escape(text)}</p>" for text in (*evaluation.remarks, *remarks))),
        section("Gates", _gates_table(gates)),
        section("Metrics beside baselines", _metrics_table(evaluation)),
        section("Curves", f'<div class="charts">{curves(evaluation)}{cost_chart(more.cutoffs, more.currency)}</div>'),
        section("What the score looks at", importance_bars(importance, more.dependences)),
        section("How values move the score", dependence and f'<div class="charts">{dependence}</div>'),
        section("Slices", _slices_table(evaluation.slices, more.slice_words)),
        section("Folds", _folds_table(evaluation.folds)),
        section("Leak test", _leak_table(more.leak)),
        section("Where it comes from", table(("", ""), more.facts, wide=[1]) if more.facts else ""),
        note(f"Intervals: 95 %, {evaluation.drawn}"),
    ]
    return page(title, more.project, parts)


def _answer(evaluation: Evaluation, gates: Sequence[GateResult]) -> str:
    frauds = sum(fold.test_frauds for fold in evaluation.folds)
    rows = sum(fold.test_rows for fold in evaluation.folds)
    name = next((metric for metric in _HEADLINE if metric in evaluation.metrics), "")
    words = ""
    if name:
        mine = evaluation.metrics[name]
        words = f"{metric_words(name)} is {_number(mine.mean)} ({_interval(mine)})"
        beside = [
            f"{_named(other)} {_number(part.metrics[name].mean)}"
            for other, part in evaluation.compared.items()
            if name in part.metrics and part.metrics[name].mean is not None
        ]
        words += f"; beside it {', '.join(beside)}" if beside else ""
        words = _upper(words) + ". "
    failed = [metric_words(gate.name) for gate in gates if not gate.passed]
    told = "All gates passed." if not failed else f"It failed {', '.join(failed)}."
    words += told if gates else "It has no gates."
    seen = (
        f"Tested on {rows:,} events with {frauds:,} frauds in {len(evaluation.folds)} folds, each behind its training."
    )
    return f'<p class="lead">{escape(words)}</p>{note(seen)}'


def _named(name: str) -> str:
    return name.replace("_", " ")


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")


def _gates_table(gates: Sequence[GateResult]) -> str:
    rows = [
        [metric_words(gate.name), gate.limit, value_text(gate), "✓ passed" if gate.passed else "✗ failed", gate.note]
        for gate in gates
    ]
    return table(["Gate", "Limit", "Value", "", "Note"], rows, numbers=[2], wide=[4]) if rows else ""


def _metrics_table(evaluation: Evaluation) -> str:
    head = ["Metric", "Model", "Best possible"]
    head += [_named(name).capitalize() for name in evaluation.compared]
    if evaluation.without_give_away:
        head.append("Without give-away inputs")
    rows = []
    lost = [name for name, metric in evaluation.metrics.items() if metric.mean is None]
    for name, estimate in evaluation.metrics.items():
        if name in lost:
            continue
        row = [
            _upper(metric_words(name)),
            _mean(estimate),
            "" if estimate.best is None else _number(estimate.best),
        ]
        row += [_beside(other, name) for other in evaluation.compared.values()]
        if evaluation.without_give_away:
            row.append(_number(evaluation.without_give_away[name].mean))
        row[0] += f" ({estimate.why})" if estimate.why else ""
        rows.append(row)
    about = "".join(
        note(f"{_named(name)}: {comparison.about}")
        for name, comparison in evaluation.compared.items()
        if comparison.about
    )
    behind = note(
        "Model: mean and spread over folds, below them the 95 % interval. Others: below, by how much the model is "
        "above, on identical rows."
    )
    meanings = "".join(
        f"<p><b>{_upper(metric_words(name))}</b> ({name}): {escape(told.meaning)}</p>"
        for name in evaluation.metrics
        if (told := metric_of(name)) is not None
    )
    shown = table(head, rows, numbers=range(1, len(head)), wide=[0])
    legend = f"<details><summary>What they mean</summary>{meanings}</details>"
    return f"{shown}{behind if evaluation.compared else ''}{_not_there(evaluation, lost)}{about}{legend}"


def _not_there(evaluation: Evaluation, lost: Sequence[str]) -> str:
    """One line with the undefined metrics, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name in lost:
        by_reason.setdefault(evaluation.metrics[name].why or "it has no value", []).append(metric_words(name))
    said = "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())
    return note(f"Not there: {said}.") if said else ""


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _beside(other: Compared, name: str) -> str:
    """A baseline's value, and by how much the model is above it where that has an interval."""
    found = other.metrics.get(name)
    if found is None or found.mean is None:
        return _MISSING
    difference = other.differences.get(name, Difference(None, None, None))
    if difference.mean is None or difference.low is None or difference.high is None:
        return _number(found.mean)
    low, mean, high = (_signed(bound) for bound in (difference.low, difference.mean, difference.high))
    return f"{_number(found.mean)}\n{mean} ({low} to {high})"


def _slices_table(slices: Sequence[Slice], words: Mapping[tuple[str, str], str]) -> str:
    if not slices:
        return ""
    names = [name for name in slices[0].metrics if any(slice_.metrics[name] is not None for slice_ in slices)]
    has_fall = any(slice_.fall is not None for slice_ in slices)
    rows = [
        [
            words.get((slice_.name, slice_.value), f"{slice_.name}: {slice_.value}"),
            f"{slice_.rows:,}",
            f"{slice_.frauds:,}",
            _number(slice_.score),
            *(_number(slice_.metrics[name]) for name in names),
            *(
                [_number(slice_.fall) + (" more than noise" if slice_.falls_by_more_than_noise else "")]
                if has_fall
                else []
            ),
        ]
        for slice_ in slices
    ]
    head = [
        "Slice",
        "Rows",
        "Frauds",
        "Mean score",
        *(_upper(metric_words(name)) for name in names),
        *(["Behind the champion by"] if has_fall else []),
    ]
    return table(head, rows, numbers=range(1, len(head)), wide=[0])


def _folds_table(folds: Sequence[FoldReport]) -> str:
    head = ["Test", "Train rows", "Frauds", "Test rows", "Frauds", "Immature", "Unclear", "Compromised", "Declined", ""]
    rows = [
        [
            f"{_day(fold.fold.test_start_ms)} to {_day(fold.fold.test_end_ms)}",
            *(
                f"{count:,}"
                for count in (
                    fold.train_rows,
                    fold.train_frauds,
                    fold.test_rows,
                    fold.test_frauds,
                    fold.immature,
                    fold.unclear,
                    fold.compromised,
                    fold.declined,
                )
            ),
            fold.why,
        ]
        for fold in folds
    ]
    return table(head, rows, numbers=range(1, 9), wide=[9])


def _leak_table(parts: Sequence[LeakLine]) -> str:
    rows = [
        (_named(part.name), f"{part.compared:,}", "✗ failed" if part.difference else "✓ passed", part.difference or "")
        for part in parts
    ]
    return table(("Part", "Compared", "", "First difference"), rows, numbers=[1], wide=[3]) if rows else ""


def _mean(estimate: Estimate) -> str:
    """The mean over folds with its spread, and the interval below."""
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
    shown = f"{size:,.2f}" if size >= 10 else f"{size:.4f}" if size >= 0.001 else f"{size:.3g}"
    return f"{MINUS if value < 0 else ''}{shown}"


def _signed(value: float) -> str:
    """A difference, shorter than what differs."""
    size = abs(value)
    return f"{MINUS if value < 0 else '+'}{f'{size:,.0f}' if size >= 100 else f'{size:.3f}'}"
