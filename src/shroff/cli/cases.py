"""`shroff cases`: the queue of analysts, for scripts and for a look without a browser."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import msgspec

from shroff.cli.session import ExampleGroup, Session, command, cut, json_option, many, table
from shroff.errors import LogBusyError, UsageError
from shroff.events.event import time_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from shroff.app.project import Project
    from shroff.cases.case import Case
    from shroff.cases.desk import CaseService

SHOWN = 50
WIDTH = 50


@click.group("cases", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def cases(context: click.Context) -> None:
    """Show and answer cases: alerts of the log, grouped by entity.

    The log's alerts are raised first, so these commands need no running service. Each answer is in the audit log.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


cases.examples = (
    "shroff cases",
    "shroff cases list",
    "shroff cases list --filter 'state=open&min_stake=1000' --json",
    "shroff cases show 12",
    "shroff cases decide 12 fraud",
)


@command("list", "shroff cases list", "shroff cases list --filter 'assignee=free&due_within=1h'", group=cases)
@click.option("--filter", "query", default="", help="A filter as in the queue's URL: state=open&min_stake=1000.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=SHOWN, show_default=True, help="Maximum number.")
def list_(session: Session, query: str, limit: int) -> None:
    """List cases that are not closed, those due first at the top."""
    from msgspec.structs import replace as narrowed

    from shroff.cases import case_queries, filters
    from shroff.project.dependency_hash import reasons_of
    from shroff.web.api.cases import case_documents as documents

    who, given = session.project.opened.who, filters.query_of(filters.query_text(query))
    with session.project.cases.open() as desk:
        wanted = filters.wanted_of(given, who, desk.now_ms(), desk.money_places)
        found = case_queries.listed(desk, who, wanted, filters.order_of(given), limit=limit)
        totals = case_queries.totals(desk, who, wanted)
        document = {
            "cases": [documents.case(desk, one) for one in found.cases],
            "totals": documents.totals(desk, totals),
        }
        text = f"{many(totals.count, 'case')}{_at_stake(desk, totals.stake)}."
        if found.cases and not given.get("state"):
            apart = (
                f"{case_queries.count(desk, who, narrowed(wanted, states=of)):,} {state}"
                for state, of in filters.APART.items()
            )
            text = f"{text[:-1]}: {', '.join(apart)}."
        if found.cases:
            told = reasons_of(session.project.definitions)
            heads = ("case", "due", "about", "at stake", "score", "state", "why")
            text += "\n" + table([_cells(desk, one, told) for one in found.cases], heads)
    session.answer(document, text)
    session.next("shroff cases show NUMBER", "shroff serve")


@command("show", "shroff cases show 12", "shroff cases show 12 --json", group=cases)
@click.argument("number", type=click.IntRange(min=1))
def show(session: Session, number: int) -> None:
    """Show one case with its alerts and its history."""
    from shroff.cases import case_queries
    from shroff.project.dependency_hash import reasons_of
    from shroff.web.api.cases import case_documents as documents

    with session.project.cases.open() as desk:
        found = case_queries.detail(desk, session.project.opened.who, number)
        one, told = found.case, reasons_of(session.project.definitions)
        lines = [
            _headline(desk, one),
            table(
                [
                    (
                        alert.named,
                        time_text(alert.time_ms),
                        alert.outcome,
                        cut(told(alert.rule, alert.reason), WIDTH),
                        alert.verdict,
                    )
                    for alert in found.alerts
                ],
                ("event", "time", "outcome", "why", "answer"),
            ),
        ]
        if found.history:
            done = [(time_text(row.at_ms), row.name, row.what, cut(row.words, WIDTH)) for row in found.history]
            lines.append(table(done, ("at", "by", "what", "words")))
        document = documents.detail(desk, found)
    session.answer(document, "\n".join(lines))
    session.next(f"shroff cases decide {number} fraud")


@command(
    "decide",
    "shroff cases decide 12 genuine",
    "shroff cases decide 12 fraud --event payment/p-1",
    "shroff cases decide 12 fraud --block blocked_cards=c-7 --refund 40.00 --reason 'stolen card'",
    group=cases,
)
@click.argument("number", type=click.IntRange(min=1))
@click.argument("verdict", type=click.Choice(["fraud", "genuine", "unclear"]))
@click.option("--event", default="", help="Answer only this event of the case, such as payment/p-1.")
@click.option("--reason", default="", help="The reason to record with the labels, and with --block.")
@click.option("--block", "blocks", metavar="LIST=VALUE", multiple=True, help="Add a value to a list. May be repeated.")
@click.option("--refund", metavar="AMOUNT", default="", help="Record an amount returned to the customer.")
def decide(
    session: Session, number: int, verdict: str, event: str, reason: str, blocks: tuple[str, ...], refund: str
) -> None:
    """Answer a case: fraud, genuine or unclear.

    The labels of its events are written at once. They cannot be undone, but the case can be reopened. Entries of
    lists are written first: where one cannot be, the case stays as it is.
    """
    from shroff.cases import case_queries, dispositions, timers
    from shroff.cases.pending_changes import SideEffects, refund_units
    from shroff.project.lists import Entry
    from shroff.web.api.cases import case_documents as documents

    with session.project.cases.open() as desk:
        at_once, who = replace(desk, undo_ms=0), session.project.opened.who
        also = SideEffects(reason, refund_units(refund, desk.money_places))
        pairs = [_pair(block, reason) for block in blocks]
        case_queries.detail(desk, who, number)  # there is such a case
        listed = [session.project.lists.add(name, Entry(value, reason, who.name)) for name, value in pairs]
        done = dispositions.decide(at_once, who, number, verdict, event=event, also=also)
        timers.carry_out(desk)
        one = done.cases[0]
        document = {"case": documents.case(desk, one), "lists": [msgspec.structs.asdict(change) for change in listed]}
    _write_now(session.project)
    text = f"Case {number} is {one.state}{f' as {one.verdict}' if one.verdict else ''}."
    text += "".join(f" {change.value} is in {change.list}." for change in listed)
    session.answer(
        document, f"{text} A refund of {refund.strip()} {desk.currency} is recorded." if also.refund else text
    )
    session.next("shroff cases list")


def _pair(block: str, reason: str) -> tuple[str, str]:
    """List and value of `--block`. Raises: UsageError."""
    name, _, value = block.partition("=")
    if not (name and value):
        raise UsageError(f"--block {block}: write LIST=VALUE, such as blocked_cards=c-7.")
    if not reason.strip():
        raise UsageError("--block needs --reason, which is kept with the entry of the list.")
    return name, value


def _write_now(project: Project) -> None:
    """Have the labels taken by this process, where no other one leads the log and does it anyhow."""
    with suppress(LogBusyError), project.opened.writing() as (writer, log):
        project.inboxes.brief(writer, log).serve()


def _headline(desk: CaseService, one: Case) -> str:
    about = f"{one.entity} {one.key}{_at_stake(desk, one.stake)}"
    return f"Case {one.number}, {one.state}: {about}, due {time_text(one.due_ms)}."


def _cells(desk: CaseService, one: Case, told: Callable[[str, str], str]) -> tuple[object, ...]:
    from shroff.cases.case import SCORE_PARTS

    score = "" if one.score is None else f"{one.score / SCORE_PARTS:.4f}"
    about = cut(f"{one.entity} {one.key}", WIDTH)
    stake = _money(desk, one.stake)
    return one.number, time_text(one.due_ms), about, stake, score, one.state, cut(told(one.rule, one.reason), WIDTH)


def _money(desk: CaseService, units: int | None) -> str:
    from shroff.language.values import show_decimal

    return "" if units is None else show_decimal(units, desk.money_places)


def _at_stake(desk: CaseService, units: int | None) -> str:
    return "" if units is None else f", {_money(desk, units)} {desk.currency} at stake"
