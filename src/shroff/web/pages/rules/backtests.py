"""Backtests: begun from a draft or an earlier version, watched while they run, and shown as a sum, charts and rows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from starlette.responses import Response

from shroff.people.access import Right
from shroff.project.policy import OUTCOMES
from shroff.web.api.decisions import summaries_of
from shroff.web.api.rules.backtests import DONE, Draft, Kept, new_id
from shroff.web.api.rules.drafts import may_edit
from shroff.web.api.rules.rule_looks import one_rule
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.bars import Bars, day_text, signed_bars
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import MINUS

if TYPE_CHECKING:
    from shroff.web.service import Service

LABELS: Final = ("fraud", "genuine", "unclear", "none")
AS_IT_IS: Final = "now"
ALL_DRAFTS: Final = "drafts"
ROWS_SHOWN: Final = 25
_NOTHING: Final = Decimal(0)  # times an amount it has that amount's places
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """Events of one old and one new outcome; `kind` is same, stricter or milder."""

    old: str
    new: str
    kind: str
    count: int
    money: Decimal


@dataclass(frozen=True, slots=True)
class Changed:
    """Events that change in one way; `shares` are parts of 100 for the chart, in order."""

    old: str
    new: str
    counts: Mapping[str, int]
    fraud_money: Decimal
    shares: Sequence[tuple[str, float, float]]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the sum: what it is worth, what it counts, and from what to what."""

    money: Decimal | None
    says: str
    note: str


@dataclass(frozen=True, slots=True)
class Worth:
    """Value of activating a draft by its backtest; `advice` is empty where no money is known."""

    says: str
    kind: str = "good"
    advice: str = ""


def worth(kept: Kept) -> Worth | None:
    """Summary shown where the draft can be activated; None while the backtest runs."""
    if kept.result is None:
        return None
    says, balance = kept.result["sentence"], kept.result["report"]["balance"]
    if not kept.result["report"]["changed"]:
        return Worth(says, "warn", "The draft changes nothing.")
    if balance["net"] is None:
        return Worth(says)
    net, low, high = (None if balance[one] is None else Decimal(balance[one]) for one in ("net", "low", "high"))
    assert net is not None
    if net < 0:
        chance = " The difference is within chance." if high is not None and high >= 0 else ""
        return Worth(says, "bad", f"Not worth it: the draft costs money.{chance}")
    if net == 0:
        return Worth(says, "warn", "No gain and no loss: the decisions that change come to 0.")
    if low is None or low <= 0:
        return Worth(says, "warn", "Not proven: the gain is within chance.")
    return Worth(says, "good", "Worth it: the gain is beyond chance.")


async def listed(service: Service, request: Request) -> Response:
    """All backtests, and a form to begin one."""
    found = await service.in_thread(service.backtests.listed)
    drafts = await service.in_thread(service.project.drafts.all)
    return await page(
        service,
        request,
        "backtests.html",
        backtests=found,
        drafts=drafts,
        chosen=request.query_params.get("of", f"draft {drafts[0].id}" if drafts else AS_IT_IS),
        may_judge=request.who.may(Right.RUN_BACKTESTS),
        is_going=any(one.state != DONE for one in service.backtests.going.values()),
    )


async def begin(service: Service, request: Request) -> Response:
    """Begin one, and go on to where it is watched."""
    form = await request.form()
    now_ms = service.project.opened.now_ms()
    kept = Kept(new_id(now_ms), "", request.who.name, now_ms)
    rules = await _rules(service, form.get("of", AS_IT_IS), kept, form.get("again", ""))
    kept.start, kept.end, kept.as_of = (_day(form, name) for name in ("from", "to", "as_of"))
    draft = Draft(rules, None, None, kept.start, kept.end, kept.as_of)
    begun = await service.backtests.begin(service, request.who, draft, kept)
    return see_other(f"/backtests/{begun.id}")


async def show(service: Service, request: Request) -> Response:
    """How far one is; and what came of it, once it is done."""
    found = await service.in_thread(service.backtests.one, request.path_params["id"])
    if found.result is None:
        share = found.done / found.total if found.total else 0.0
        return await page(service, request, "backtest_wait.html", one=found, share=share)
    report = found.result["report"]
    which = (request.query_params.get("old", ""), request.query_params.get("new", ""))
    rows = [one for one in report["changed_rows"] if which in {("", ""), (one["old"], one["new"])}]
    drawn = examples(rows)
    draft = await service.in_thread(service.project.drafts.one, found.rule) if found.rule else None
    cells = _matrix(report)
    return await page(
        service,
        request,
        "backtest.html",
        one=found,
        report=report,
        worth=worth(found),
        may_edit=may_edit(request),
        is_draft=draft is not None and draft.tag == found.tag,
        may_run_again=request.who.may(Right.RUN_BACKTESTS) and bool(found.rules),
        learnt=found.result["learnt_sentence"],
        other_reasons=found.result.get("other_reasons", ""),
        parts_of_sum=_sum(report, found.result["costs"]),
        outcomes=OUTCOMES,
        cells=cells,
        totals=_totals(cells),
        changed=_changed(report),
        weeks=found.result["weeks"],
        chart=_weeks(found.result["weeks"]),
        day_text=day_text,
        rules=_rules_first_changed(report, found.rule),
        rows=drawn,
        summaries=await service.in_thread(summaries_of, service.project, [(row["event"], row["id"]) for row in drawn]),
        rows_there=len(rows),
        which=which,
        currency=report["money"],
    )


async def _rules(service: Service, of: str, kept: Kept, again: str) -> dict[str, str]:
    """The files of rules of what was chosen, and its name. Raises: ProblemError.

    Args:
        again: The backtest to run again; it has the text of a draft that is there no more.
    """
    kind, _, name = of.partition(" ")
    project = service.project
    if of == AS_IT_IS:
        kept.name = "the project as it is"
        return {}
    if of == ALL_DRAFTS:
        kept.name = "all drafts"
        return {f"{one.id}.yaml": one.text for one in await service.in_thread(project.drafts.all)}
    if kind == "draft":
        draft = await service.in_thread(project.drafts.one, name)
        if draft is not None:
            kept.name, kept.rule, kept.tag = f"draft of {name}", name, draft.tag
            return {f"{name}.yaml": draft.text}
    if kind == "version":
        id_, _, place = name.partition("@")
        look = await service.in_thread(one_rule, service, id_)
        for version in look.versions:
            if str(version.seq) == place and version.text:
                kept.name, kept.rule = f"{id_} as of sequence number {version.seq:,}", id_
                return {f"{id_}.yaml": version.text}
    if again:
        earlier = await service.in_thread(service.backtests.one, again)
        kept.name, kept.rule = earlier.name, earlier.rule
        return earlier.rules
    raise ProblemError(422, "bad-form", "This draft does not exist", f"nobody has {of!r} any more")


def _day(form: Mapping[str, str], name: str) -> str | None:
    """A day of a form; None where it was left empty. Raises: ProblemError where it is none."""
    text = form.get(name, "").strip()
    if not text:
        return None
    wrong = ProblemError(422, "bad-form", "The form cannot be read", f"{name}: a day is 2026-01-31")
    if not _DAY.fullmatch(text):
        raise wrong
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise wrong from None


def examples(rows: Sequence[Any]) -> list[Any]:
    """Some of the rows, drawn at random and always the same ones, in their order: not only the oldest."""
    drawn = np.random.default_rng(1).permutation(len(rows))[:ROWS_SHOWN]
    return [rows[at] for at in sorted(drawn.tolist())]


def _matrix(report: Mapping[str, Any]) -> dict[tuple[str, str], MatrixCell]:
    counts: defaultdict[tuple[str, str], list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for one in report["outcomes"]:
        sums = counts[one["old"], one["new"]]
        sums[0] += one["count"]
        sums[1] += Decimal(one["money"])
    found = {}
    for at, old in enumerate(OUTCOMES):
        for to, new in enumerate(OUTCOMES):
            count, money = counts[old, new]
            kind = "same" if at == to else "stricter" if to > at else "milder"
            found[old, new] = MatrixCell(old, new, kind if count else "none", count, money)
    return found


def _totals(cells: Mapping[tuple[str, str], MatrixCell]) -> dict[str, dict[str, int]]:
    return {
        "old": {one: sum(cells[one, new].count for new in OUTCOMES) for one in OUTCOMES},
        "new": {one: sum(cells[old, one].count for old in OUTCOMES) for one in OUTCOMES},
    }


def _changed(report: Mapping[str, Any]) -> list[Changed]:
    groups: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in report["outcomes"]:
        if one["old"] != one["new"]:
            groups[one["old"], one["new"]].append(one)
    found = []
    for (old, new), cells in sorted(groups.items()):
        counts = {
            label: sum(cell["count"] for cell in cells if cell["label"] == label and not cell["immature"])
            for label in LABELS
        }
        counts["immature"] = sum(cell["count"] for cell in cells if cell["immature"])
        nothing = _NOTHING * Decimal(report["balance"]["old"]["fraud_money_stopped"])
        fraud = (Decimal(cell["money"]) for cell in cells if cell["label"] == "fraud" and not cell["immature"])
        found.append(
            Changed(
                old,
                new,
                counts,
                sum(fraud, nothing),
                _shares(counts),
            )
        )
    return found


def _shares(counts: Mapping[str, int]) -> list[tuple[str, float, float]]:
    """Where each part of a stacked bar begins, and how wide it is, in per cent."""
    total, at, found = sum(counts.values()), 0.0, []
    for name, count in counts.items():
        width = 100 * count / total if total else 0.0
        if count:
            found.append((name, round(at, 2), round(width, 2)))
        at += width
    return found


def _sum(report: Mapping[str, Any], costs: Mapping[str, str | None]) -> list[Part]:
    """The answer as a sum: fraud stopped, reviews, false declines, and what that comes to."""
    balance = report["balance"]
    old, new = balance["old"], balance["new"]
    if balance["net"] is None:
        return []
    stopped = Decimal(new["fraud_money_stopped"]) - Decimal(old["fraud_money_stopped"])
    reviews, declines = new["reviews"] - old["reviews"], new["false_declines"] - old["false_declines"]
    low, high = balance["low"], balance["high"]
    return [
        Part(stopped, "fraud stopped", f"{old['frauds_stopped']:,} to {new['frauds_stopped']:,} frauds"),
        Part(_worth(reviews, costs["review"]), "reviews", f"{old['reviews']:,} to {new['reviews']:,}"),
        Part(
            _worth(declines, costs["false_decline"]),
            "false declines",
            f"{old['false_declines']:,} to {new['false_declines']:,}",
        ),
        Part(
            Decimal(balance["net"]),
            "together",
            "" if low is None else f"95 % confidence interval {_money(low)} to {_money(high)}",
        ),
    ]


def _money(text: str) -> str:
    value = Decimal(text)
    return f"{value:+,}".replace("-", MINUS)


def _worth(more: int, cost: str | None) -> Decimal | None:
    return None if cost is None else -more * Decimal(cost)


def _weeks(weeks: Sequence[Mapping[str, Any]]) -> Bars | None:
    labels = [day_text(week["day"]) for week in weeks]
    return signed_bars(labels, [Decimal(week["net"]) for week in weeks], [not week["events"] for week in weeks])


def _rules_first_changed(report: Mapping[str, Any], rule: str) -> list[Mapping[str, Any]]:
    """The rules: the one that is judged first, then those whose hits differ."""

    def order(one: Mapping[str, Any]) -> tuple[bool, int, str]:
        return one["id"] != rule, -abs(one["hits"] - one["old"]["hits"]), one["id"]

    return sorted(report["rules"], key=order)


ROUTES: Final = (
    Route("GET", "/backtests", Right.READ_DEFINITIONS, listed, is_page=True, screen=Screen("Backtest", 50)),
    Route("POST", "/backtests", Right.RUN_BACKTESTS, begin, is_page=True),
    Route("GET", "/backtests/{id}", Right.READ_DEFINITIONS, show, is_page=True),
)
