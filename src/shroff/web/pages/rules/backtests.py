"""Pages of backtests: start one from a draft or an earlier version, watch its progress, and read its report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import Response

from shroff.backtest.document import BacktestReport
from shroff.backtest.report import changes_of, learnt_sentence, matrix, other_reasons, sentence
from shroff.json_types import TextDict
from shroff.operations.numbers import name_of
from shroff.people.access import Right
from shroff.project.policy import OUTCOMES
from shroff.runtime.values import replace
from shroff.services.jobs.kinds import DraftBacktestParams
from shroff.web.api.decisions import summaries_of
from shroff.web.http.messages import Form, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.bars import signed_bars
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import MINUS

if TYPE_CHECKING:
    from shroff.web.service import Service

AS_IT_IS = "now"
ALL_DRAFTS = "drafts"
ROWS_SHOWN = 25
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def worth(report: BacktestReport | None) -> TextDict | None:
    """Return summary and advice of a backtest's report; None while it runs."""
    if report is None:
        return None
    says = sentence(report)
    balance = report.balance
    if not report.changed:
        return _advised(says, "warn", "The draft changes nothing.")
    if balance.net is None:
        return _advised(says)
    net = Decimal(balance.net)
    if net < 0:
        is_chance = balance.high is not None and Decimal(balance.high) >= 0
        costs = "No gain shown; a loss is possible." if is_chance else "Not worth it: the draft costs money."
        return _advised(says, "bad", costs)
    if net == 0:
        return _advised(says, "warn", "No gain and no loss: the decisions that change come to 0.")
    if balance.low is None or Decimal(balance.low) <= 0:
        return _advised(says, "warn", "Not proven: the gain is within chance.")
    return _advised(says, "good", "Worth it: the gain is beyond chance.")


def _advised(says: str, kind: str = "good", advice: str = "") -> TextDict:
    return {"says": says, "kind": kind, "advice": advice}


async def listed(service: Service, request: Request) -> Response:
    runs = await service.in_thread(service.backtests.listed)
    drafts = await service.in_thread(service.project.drafts.all)
    return await page(
        service,
        request,
        "backtests.html",
        backtests=runs,
        drafts=drafts,
        chosen=request.query_params.get("of", f"draft {drafts[0].id}" if drafts else AS_IT_IS),
    )


async def begin(service: Service, request: Request) -> Response:
    form = await request.form()
    rules, params = await _rules(service, form.get("of", AS_IT_IS), form["again"])
    params = replace(params, start=_day(form, "from"), end=_day(form, "to"), as_of=_day(form, "as_of"))
    job = await service.in_thread(service.backtests.begin, request.who, params, rules)
    return see_other(f"/backtests/{job.id}")


async def show(service: Service, request: Request) -> Response:
    run = await service.in_thread(service.backtests.get, request.path_params["id"])
    report = run.report
    if report is None:
        share = run.done / run.total if run.total else 0.0
        return await page(service, request, "backtest_wait.html", run=run, share=share)
    which = (request.query_params.get("old", ""), request.query_params.get("new", ""))
    rows = [row for row in report.changed_rows if which in {("", ""), (row.old, row.new)}]
    sampled = examples(rows)
    draft = await service.in_thread(service.project.drafts.one, run.rule) if run.rule else None
    cells = matrix(report.outcomes)
    return await page(
        service,
        request,
        "backtest.html",
        run=run,
        report=report,
        worth=worth(report),
        is_draft=draft is not None and draft.tag == run.etag,
        has_rules=bool(await service.in_thread(service.backtests.rules, run.id)),
        learnt=learnt_sentence(report),
        other_reasons=other_reasons(report),
        parts_of_sum=_sum(report),
        outcomes=OUTCOMES,
        cells=cells,
        totals={
            "old": {old: sum(cells[old, new][0] for new in OUTCOMES) for old in OUTCOMES},
            "new": {new: sum(cells[old, new][0] for old in OUTCOMES) for new in OUTCOMES},
        },
        changed=[
            (old, new, counts, fraud, _shares(counts)) for (_, old, new), (counts, fraud) in changes_of(report).items()
        ],
        day_text=_day_text,
        chart=signed_bars(
            [_day_text(week.day) for week in report.balance.weeks],
            [Decimal(week.net) for week in report.balance.weeks],
            [not week.events for week in report.balance.weeks],
        ),
        rules=sorted(report.rules, key=lambda rule: (rule.id != run.rule, -abs(rule.hits - rule.old.hits), rule.id)),
        rows=sampled,
        summaries=await service.in_thread(summaries_of, service.project, [(row.event, row.id) for row in sampled]),
        which=which,
        currency=report.money,
    )


async def _rules(service: Service, of: str, again: str) -> tuple[TextDict, DraftBacktestParams]:
    """Return the rule files of the chosen draft or version, and its name.

    Args:
        of: `now`, `drafts`, `draft NAME` or `version RULE@SEQ`.
        again: Id of a backtest to run again, which has the text of a draft that was deleted since.

    Raises: ProblemError with 422 if there is no such draft or version.
    """
    kind, _, name = of.partition(" ")
    project = service.project
    if of == AS_IT_IS:
        return {}, DraftBacktestParams("the project as it is")
    if of == ALL_DRAFTS:
        drafts = await service.in_thread(project.drafts.all)
        return {f"{draft.id}.yaml": draft.text for draft in drafts}, DraftBacktestParams("all drafts")
    if kind == "draft":
        draft = await service.in_thread(project.drafts.one, name)
        if draft is not None:
            params = DraftBacktestParams(f"draft of {name}", rule=name, etag=draft.tag)
            return {f"{name}.yaml": draft.text}, params
    if kind == "version":
        id_, _, seq_text = name.partition("@")
        look = await service.in_thread(project.rule_looks.one, id_)
        for version in look.versions:
            if str(version.seq) == seq_text and version.text:
                params = DraftBacktestParams(f"{id_} as of sequence number {version.seq:,}", rule=id_)
                return {f"{id_}.yaml": version.text}, params
    if again:
        earlier = await service.in_thread(service.backtests.get, again)
        rules = await service.in_thread(service.backtests.rules, again)
        return rules, DraftBacktestParams(earlier.name, rule=earlier.rule)
    raise ProblemError(422, "bad-form", "This draft does not exist", f"nobody has {of!r} any more")


def _day(form: Form, name: str) -> str | None:
    """Return a day of the form, None if it is empty. Raises: ProblemError with 422 for any other text."""
    text = form[name].strip()
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
    """Return a random sample of the rows, in order; the same for equal numbers of rows."""
    sampled = np.random.default_rng(1).permutation(len(rows))[:ROWS_SHOWN]
    return [rows[index] for index in sorted(sampled.tolist())]


def _shares(counts: Mapping[str, int]) -> list[tuple[str, float, float]]:
    total = sum(counts.values())
    start = 0.0
    shares = []
    for name, count in counts.items():
        width = 100 * count / total if total else 0.0
        if count:
            shares.append((name, round(start, 2), round(width, 2)))
        start += width
    return shares


def _sum(report: BacktestReport) -> list[tuple[Decimal | None, str, str]]:
    balance = report.balance
    costs = report.costs
    old = balance.old
    new = balance.new
    if balance.net is None:
        return []
    stopped = Decimal(new.fraud_money_stopped) - Decimal(old.fraud_money_stopped)
    interval = "" if balance.low is None or balance.high is None else f"{_money(balance.low)} to {_money(balance.high)}"
    return [
        (stopped, name_of("frauds_stopped").lower(), f"{old.frauds_stopped:,} → {new.frauds_stopped:,} frauds"),
        (_worth(new.reviews - old.reviews, costs.review), "reviews", f"{old.reviews:,} → {new.reviews:,}"),
        (
            _worth(new.presumed_false_declines - old.presumed_false_declines, costs.false_decline),
            name_of("presumed_false_declines").lower(),
            f"{old.presumed_false_declines:,} → {new.presumed_false_declines:,}",
        ),
        (Decimal(balance.net), "together", interval and f"95 % confidence interval {interval}"),
    ]


def _money(text: str) -> str:
    return f"{Decimal(text):+,}".replace("-", MINUS)


def _worth(more: int, cost: str | None) -> Decimal | None:
    return None if cost is None else -more * Decimal(cost)


def _day_text(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{day.day} {day:%B} {day.year}"


ROUTES = (
    Route("GET", "/backtests", Right.READ_DEFINITIONS, listed, screen=Screen("Backtest", "Policy", 2)),
    Route("POST", "/backtests", Right.RUN_BACKTESTS, begin),
    Route("GET", "/backtests/{id}", Right.READ_DEFINITIONS, show),
)
