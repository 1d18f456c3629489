"""Result of an event, for programs: a decision, undecided, or a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from html import escape

from shroff.json_types import JsonMapping, TextMapping
from shroff.runtime.values import frozen

_IS_CONVERTED = b',"amount":'  # like the marker below, cannot occur inside a text
_IS_DRAWN = b',"exploration":{'  # occurs in no text of a document, since quotes are escaped there
_IS_IN_EXPERIMENTS = b',"experiments":['  # likewise


@frozen
class Reason:
    """Why a decision came out as it did. `code` is a rule's id; `text` its reason with the values it saw."""

    code: str
    kind: str
    text: str
    effect: str


@frozen
class Exploration:
    """Result of an exploration draw for a decline (`explore` in policy.yaml), or mark of an approval in the `sample`.

    Args:
        explored: Whether the event was approved by the draw; true for an approval.
        propensity: Probability of that; 0 beyond the cap of its day.
        would_be: The outcome without the draw.
    """

    explored: bool
    propensity: float
    would_be: str


@frozen
class ExperimentLine:
    """An experiment of policy.yaml and the arm of this event's key: A, or B, which the experiment changes."""

    name: str
    arm: str


@frozen
class Decision:
    """A recorded decision, with the fields of the JSON document.

    Money and numbers in `features` are decimal texts, which lose nothing; `dataclasses.asdict` returns the document.
    `seq` is None if the event was only scored. `exploration` is None without a draw, and then missing in the document.
    `experiments` are those that decided about the event; likewise.
    """

    event: str
    id: str
    seq: int | None
    as_of_seq: int
    outcome: str
    score: float | None
    reasons: tuple[Reason, ...]
    rules: tuple[str, ...]
    shadow_rules: tuple[str, ...]
    features: JsonMapping
    versions: TextMapping
    receipt: str

    @property
    def exploration(self) -> Exploration | None:
        return None

    @property
    def experiments(self) -> tuple[ExperimentLine, ...]:
        return ()

    def _repr_html_(self) -> str:
        title = f"<b>{escape(self.outcome)}</b> {escape(self.event)} {escape(self.id)}, sequence number {self.seq}"
        reasons = html_table(
            ("reason", "effect", "text"), ((reason.code, reason.effect, reason.text) for reason in self.reasons)
        )
        return title + reasons + html_table(("feature", "value"), self.features.items())


@frozen
class DrawnDecision(Decision):
    """A decision with an exploration draw."""

    exploration: Exploration = field()


@frozen
class ConvertedDecision(Decision):
    """A decision on an amount that may be in another currency: as converted and as sent, and the rate.

    `remark` says that no rate was valid.
    """

    amount: str | None = field()
    original: str | None = field()
    currency: str | None = field()
    rate: str | None = field()
    remark: str | None = field()


@frozen
class DrawnConvertedDecision(ConvertedDecision):
    """A decision on a converted amount with an exploration draw."""

    exploration: Exploration = field()


def _with_experiments(kind: type[Decision]) -> type[Decision]:
    body = {"__annotations__": {"experiments": tuple[ExperimentLine, ...]}, "experiments": field()}
    return frozen(type(f"{kind.__name__}InExperiments", (kind,), {**body, "__module__": __name__}))


_IN_EXPERIMENTS = {
    kind: _with_experiments(kind) for kind in (Decision, DrawnDecision, ConvertedDecision, DrawnConvertedDecision)
}


@frozen
class Undecided:
    """An event that was appended without a decision, since its type is not decided."""

    event: str
    id: str
    seq: int | None
    decided: bool = False


@frozen
class Refusal:
    """An event that was refused: the problem document, and its number in the input, counted from 1.

    The event is in quarantine under this number, unless no event type accepted it.
    """

    type: str
    title: str
    status: int
    detail: str
    line: int


def kind_of(document: bytes) -> type[Decision]:
    """Return the type of a decision document: with or without a draw, a converted amount, and experiments."""
    kind: type[Decision] = DrawnDecision if is_drawn(document) else Decision
    if _IS_CONVERTED in document:
        kind = DrawnConvertedDecision if is_drawn(document) else ConvertedDecision
    return _IN_EXPERIMENTS[kind] if _IS_IN_EXPERIMENTS in document else kind


def is_drawn(document: bytes) -> bool:
    return _IS_DRAWN in document


def html_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table for a notebook, with texts escaped; empty without rows.

    >>> html_table(["a"], [["<b>"]])
    '<table><tr><th>a</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><tr>{heads}</tr>{body}</table>" if body else ""


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "missing" if value is None else escape(str(value))
