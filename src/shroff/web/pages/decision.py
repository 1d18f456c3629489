"""Data that pages about a decision share: score, reasons with typical ranges, entities, and page addresses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from shroff.events.summary import EventSummary, summary_of
from shroff.explain.entities import fields_of
from shroff.explain.explanation import Explained, FeatureLine, RuleLine
from shroff.json_types import JsonMapping
from shroff.runtime.texts import path_segment
from shroff.runtime.values import FrozenStruct
from shroff.web.pages.charts.amounts import AmountChart, amount_chart
from shroff.web.pages.charts.strips import Strip, strip_between
from shroff.web.pages.words import odds, reason_texts, signed

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.web.work.reasons import FirstReasons

REASONS_SHOWN = 8


class Why(FrozenStruct):
    """One reason: a sentence, its code, the normal range in words and as a strip, and its effect on the decision."""

    text: str
    code: str
    normal: str
    strip: Strip | None
    effect: str
    towards: str
    is_usual: bool = False  # the value is in its normal range


class ScoreBar(FrozenStruct):
    """The score on a line from 0 to 1, with thresholds. Positions are percent of the width, wider for small scores.

    `one_in` tells how many such events there are per fraud, such as `1 in 38`; empty if the model is not calibrated.
    """

    mark: float
    review: tuple[float, float] | None  # position and threshold
    decline: tuple[float, float] | None
    one_in: str


class Subject(FrozenStruct):
    """A key of an entity of the event, with its display name and the address of its page."""

    entity: str
    key: str
    name: str
    path: str


class Looked(FrozenStruct):
    """All that a page shows of a decision; `fields` are those of the log, without the event's id and time."""

    explained: Explained
    at_ms: int
    fields: JsonMapping
    summary: EventSummary
    subjects: Sequence[Subject]
    all_whys: Sequence[Why]
    bar: ScoreBar | None
    amounts: AmountChart | None

    @property
    def whys(self) -> list[Why]:
        """Reasons that are shown first: rules and unusual values, the strongest first."""
        return [why for why in self.all_whys if not why.is_usual][:REASONS_SHOWN]

    @property
    def usual(self) -> list[Why]:
        """All other reasons: values in their normal range, and the weakest unusual ones."""
        shown = self.whys
        return [why for why in self.all_whys if why not in shown]

    @property
    def rules(self) -> list[RuleLine]:
        return self.explained.explanation.rules

    @property
    def hits(self) -> list[RuleLine]:
        return [rule for rule in self.rules if rule.result != "no hit"]


def looked(project: Project, event: str, id_: str, reasons: FirstReasons | None = None) -> Looked:
    """Read all that a page shows of a decision. Raises: UsageError if there is none."""
    explained = project.explain(f"{event}/{id_}") if reasons is None else reasons.explained(event, id_)
    with project.log.reading() as log:
        record = log.find(event, [id_])[id_]
    type_ = project.definitions.events.types.get(event)
    fields = fields_of(record)
    summary = summary_of(type_, fields, project.definitions.settings.currency)
    hidden = {type_.id_field, type_.time_field} if type_ is not None else set[str]()
    shown = {name: value for name, value in fields.items() if name not in hidden}
    subjects = _subjects(explained.explanation.features, summary)
    amounts = amount_chart(explained.amounts, event, summary.currency)
    return Looked(explained, record.time_ms, shown, summary, subjects, _whys(explained), _bar(explained), amounts)


def _bar(explained: Explained) -> ScoreBar | None:
    score = explained.document["score"]
    part = explained.explanation.model
    if score is None or part is None:
        return None
    cuts = [None if at is None else (_along(at), at) for at in (part.policy.review_at, part.policy.decline_at)]
    one_in = odds(score) if explained.is_calibrated and score > 0 else ""
    return ScoreBar(_along(score), cuts[0], cuts[1], one_in)


def _along(score: float) -> float:
    """Return a score's position on the bar in percent: its square root, since most scores are small."""
    return round(100 * math.sqrt(min(1.0, max(0.0, score))), 1)


def _subjects(features: Sequence[FeatureLine], summary: EventSummary) -> list[Subject]:
    keys = {feature.entity: feature.key for feature in features if feature.key is not None}
    return [
        Subject(entity, key, summary.name_of(entity, key), entity_path(entity, key)) for entity, key in keys.items()
    ]


def entity_path(entity: str, key: str) -> str:
    """Return the URL path of the page of a key, or of a search for a key that no path can hold."""
    try:
        return f"/entities/{path_segment(entity)}/{path_segment(key)}"
    except ValueError:
        return f"/find?{urlencode({'q': key})}"


def decision_path(event: str, id_: str) -> str:
    """Return the URL path of the page of a decision, or of a search for an id that no path can hold."""
    try:
        return f"/decisions/{path_segment(event)}/{path_segment(id_)}"
    except ValueError:
        return f"/find?{urlencode({'q': id_})}"


def experiment_path(name: str) -> str:
    return f"/experiments?{urlencode({'rule': name})}"


def rule_path(id_: str) -> str:
    return f"/rules/{path_segment(id_)}"


def _whys(explained: Explained) -> list[Why]:
    whys = [Why(text, code, "", None, effect, "rule") for code, effect, text in explained.rule_reasons]
    for reason in explained.reasons:
        strip = None if reason.held is None else strip_between(*reason.held)
        fact, normal = reason_texts(reason)
        towards = "to fraud" if reason.contribution > 0 else "to genuine"
        effect = signed(reason.contribution)
        whys.append(Why(fact, reason.code, normal, strip, effect, towards, reason.is_usual))
    return whys
