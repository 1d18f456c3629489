"""The content of the notebook that `shroff notebook` writes about a project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shroff.errors import UsageError, nearest
from shroff.json_types import JsonObject
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shroff.project.definitions import Definitions

CODE = "code"
TEXT = "markdown"

_OPEN = """\
import shroff

project = shroff.open({folder})
project.check().is_ok"""
_SHOW = '''\
from html import escape


class show:
    """The last rows of a table, or of a list of dictionaries, as a notebook shows them."""

    def __init__(self, rows, last=8):
        table = rows if isinstance(rows, list) else rows.slice(max(0, rows.num_rows - last)).to_pylist()
        self.heads = list(table[0]) if table else []
        self.rows = [[self.cell(row.get(name)) for name in self.heads] for row in table]

    @staticmethod
    def cell(value):
        if value is None:
            return ""
        return f"{value:,.4g}" if isinstance(value, float) else str(value)

    def __repr__(self):
        return "\\n".join("  ".join(row) for row in [self.heads, *self.rows])

    def _repr_html_(self):
        def line(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        return "<table>" + line(self.heads, "th") + "".join(line(row, "td") for row in self.rows) + "</table>"'''
_EVENTS = """\
events = project.events("{event}")
print(f"{{events.num_rows:,}} events of the type {event}; the last ones:")
show(events)"""
_FEATURES = """\
features = project.features("{event}")
show(features)"""
_OUTCOMES = """\
decisions = project.decisions()
show(decisions.group_by("outcome").aggregate([([], "count_all")]))"""
_LABELS = """\
as_of = None  # such as "2026-06-30": what was known at the start of that day
labels = project.labels(as_of=as_of)
show(labels.group_by(["verdict", "source"]).aggregate([([], "count_all")]))"""
_TRAIN = """\
report = project.train("{event}", as_of=as_of)
print(f"{{report.stored.id}} was trained on {{report.rows:,}} events with {{report.fraud:,}} frauds.")
print(*report.remarks, sep="\\n")
show([{{"gate": one.name, "value": one.value, "limit": one.limit, "passed": one.passed}} for one in report.gates])"""
_METRICS = """\
show(
    [
        {
            "metric": name,
            "model": ours.mean,
            "95 % from": ours.low,
            "to": ours.high,
            **{other: found.metrics[name].mean if name in found.metrics else None
               for other, found in report.evaluation.compared.items()},
        }
        for name, ours in report.evaluation.metrics.items()
        if ours.mean is not None
    ]
)"""
_THRESHOLDS = """\
cutoffs, _ = project.cutoffs.thresholds(model=report.stored.id)
curve, best = cutoffs.found.curve, cutoffs.found.best
shown = [*curve[:: max(1, len(curve) // 24)], best]
most = max(point.cost for point in shown)
show(
    [
        {
            "review at": point.review_at,
            "decline at": point.decline_at,
            "cost a day": round(float(point.cost), 2),
            "reviews a day": round(float(point.reviews), 1),
            "frauds reviewed or declined": f"{100 * point.frauds_stopped:.0f} %",
            "": "▆" * round(30 * point.cost / most) + (" cheapest" if point is best else ""),
        }
        for point in shown
    ]
)"""
_EXPLAIN = """\
stopped = [row for row in decisions.select(["event", "id", "outcome"]).to_pylist() if row["outcome"] != "approve"]
chosen = (stopped or decisions.select(["event", "id"]).to_pylist())[-1]
explained = project.explain(f"{chosen['event']}/{chosen['id']}")
explained"""
_REASONS = """\
show([{"of the model": one.code, "adds": one.contribution, "in words": one.text} for one in explained.reasons])"""


class Cell(FrozenStruct):
    """A cell; `kind` is CODE or TEXT."""

    kind: str
    text: str


def notebook_of(definitions: Definitions, folder: str, event: str | None = None) -> str:
    """Return a notebook of a project as JSON (nbformat 4.5). It tells how to add a missing model or costs.

    Args:
        folder: The project's folder, relative to the notebook's.
        event: The event type; by default one with a model, else the first that is decided.

    Raises: UsageError if there is no such type.
    """
    cells = list(cells_of(definitions, folder, _event(definitions, event)))
    document = {
        "cells": [_document(number, cell) for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def cells_of(definitions: Definitions, folder: str, event: str) -> Iterator[Cell]:
    yield Cell(
        TEXT, f"# {definitions.settings.name}\n\nYou can run each cell again. No cell changes how events are decided."
    )
    yield Cell(CODE, _OPEN.format(folder=json.dumps(folder, ensure_ascii=False)))
    yield Cell(CODE, _SHOW)
    yield Cell(TEXT, "## Events and features\n\nEach feature has its value as of the event, the same as in the stream.")
    yield Cell(CODE, _EVENTS.format(event=event))
    yield Cell(CODE, _FEATURES.format(event=event))
    yield Cell(TEXT, "## Labels\n\n`as_of` leaves out labels that were not known by then.")
    yield Cell(CODE, _LABELS)
    if definitions.events.types[event].is_decided:
        yield Cell(TEXT, "## Decisions, and the reasons of one")
        yield Cell(CODE, _OUTCOMES)
        yield Cell(CODE, _EXPLAIN)
        yield Cell(CODE, _REASONS)
    if event in definitions.models:
        yield from _model(definitions, event)
    else:
        yield Cell(TEXT, f"## A model\n\nAdd a model of `{event}` to `model.yaml`, then train it with `project.train`.")


def _model(definitions: Definitions, event: str) -> Iterator[Cell]:
    yield Cell(TEXT, "## A model\n\nTraining adds it to the registry. `shroff models promote` makes it the champion.")
    yield Cell(CODE, _TRAIN.format(event=event))
    yield Cell(TEXT, "Metrics of the model on its test folds, beside the rules and simple baselines:")
    yield Cell(CODE, _METRICS)
    policy = definitions.policy(event)
    if policy.missed_fraud is None or policy.false_decline_minor is None:
        yield Cell(
            TEXT,
            f"Add `costs` of `{event}` to `policy.yaml`; `project.cutoffs.thresholds` finds the cheapest cut-offs.",
        )
        return
    yield Cell(TEXT, "Cost of each threshold of the score. `shroff thresholds --apply` activates the cheapest:")
    yield Cell(CODE, _THRESHOLDS)


def _event(definitions: Definitions, event: str | None) -> str:
    types = definitions.events.types
    if event is None:
        return next(iter([*definitions.models, *definitions.events.decided, *types]))
    if event not in types:
        raise UsageError(f"there is no event type {event!r}. {nearest(event, types)}".rstrip())
    return event


def _document(number: int, cell: Cell) -> JsonObject:
    lines = cell.text.splitlines(keepends=True)
    document: JsonObject = {"cell_type": cell.kind, "id": f"cell-{number:02}", "metadata": {}, "source": lines}
    return document | ({"execution_count": None, "outputs": []} if cell.kind == CODE else {})
