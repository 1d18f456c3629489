"""Operations on rules that close cases: effect on past cases, approval, and end."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.cases.alert_rules import AlertRules
from shroff.cases.case import FRAUD, Alert
from shroff.cases.case_service import CaseService, CaseTransaction
from shroff.cases.timers import APPROVED, OF_RULES, STOPPED, by, put_state
from shroff.errors import UsageError, nearest
from shroff.events.event import TimeText, time_text
from shroff.language.values import DAY_MS, parse_duration, parse_share, show_decimal
from shroff.operations.declaration import OperationAnswer, OperationRequest, operation
from shroff.people.access import Who
from shroff.runtime.texts import headed, many
from shroff.services.results.outcome_rates import OutcomeRate
from shroff.streams.log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shroff.project.settings.casework import CloseRule

DAYS = 90
NEVER_MS = 2**62
HEADS = "rule|state|by|would close|known|fraud|fraud money|fraud share|closed|sample|fraud".split("|")


class KnownCases(msgspec.Struct):
    """Cases of a rule: how many, how many of them people or labels call fraud or genuine, and how many fraud.

    `share` is that of fraud among the known ones.
    """

    cases: int = 0
    known: int = 0
    frauds: int = 0
    share: OutcomeRate | None = None


class CloseRuleFigures(msgspec.Struct):
    """A rule that closes cases: those of the past that it would have closed, and since its approval its sample.

    `state` says whether it is approved, stopped or new. `missed` are closed cases that labels call fraud.
    """

    name: str
    state: str
    since: TimeText | None
    by: str | None
    past: KnownCases
    fraud_money: str
    may_act: bool
    sample: KnownCases
    closed: int
    missed: int


class CloseRules(OperationAnswer):
    """Rules that close cases, in their order; their past cases are those that opened in the last `days` days."""

    rules: list[CloseRuleFigures]
    days: int

    def text(self) -> str:
        rows = [
            (
                *(rule.name, rule.state, f"{rule.by}, {rule.since[:10]}" if rule.by and rule.since else "-"),
                *(rule.past.cases, rule.past.known, rule.past.frauds, rule.fraud_money),
                *(rule.past.share or "-", rule.closed, rule.sample.cases, rule.sample.frauds),
            )
            for rule in self.rules
        ]
        says = f"{many(len(rows), 'rule')} to close cases, on the cases of the last {many(self.days, 'day')}."
        return headed(says, rows, HEADS)


class ShowCloseRules(OperationRequest["CloseRules"]):
    """
    Args:
        days (N): Past cases are those that opened in the last N days.
    """

    days: Annotated[int, msgspec.Meta(ge=0, le=365)] = DAYS


@operation("cases auto-close", right="read:cases", http="GET /auto-close", is_shared=True)
def show_close_rules(desk: CaseService, log: Log, request: ShowCloseRules) -> CloseRules:
    """Show the rules that close cases: on past cases, with the fraud among them, and since their approval.

    Examples:
        shroff cases auto-close
        shroff cases auto-close --days 30
    """
    now_ms, rules = desk.now_ms(), desk.settings.close_rules
    with desk.store.look() as look:
        alerts, touched = look.since(now_ms - request.days * DAY_MS)
        last = {row.words: row for row in look.history(OF_RULES)}
        closings = {
            mark: look.closings(mark, by(rule).name, last[mark].at_ms) for mark, rule in rules.items() if mark in last
        }
    alert_rules = AlertRules(log, desk.settings, desk.money_places)
    raised = alert_rules.alerts(alerts[0].seq - 1, log.last_seq()) if alerts else []
    marks = {alert.place: alert.auto_close for alert in raised}
    cases = defaultdict[int, list[Alert]](list)
    for alert in alerts:
        cases[alert.case].append(alert)
    shown = []
    for mark, rule in rules.items():
        closed = [
            case for number, case in cases.items() if closing_ms(rule, case, marks) <= touched.get(number, now_ms)
        ]
        verdicts = [_verdict_of(case) for case in closed]
        frauds = [alert for case, verdict in zip(closed, verdicts, strict=True) if verdict == FRAUD for alert in case]
        past = _known(len(closed), sum(map(bool, verdicts)), verdicts.count(FRAUD))
        own = closings.get(mark, {})
        row = last.get(mark)
        state = "new"
        if row is not None:
            state = "stopped" if row.what == STOPPED else "approved"
        shown.append(
            CloseRuleFigures(
                rule.name,
                state,
                None if row is None else time_text(row.at_ms),
                None if row is None else row.name,
                past,
                show_decimal(sum(alert.stake or 0 for alert in frauds), desk.money_places),
                past.share is not None and past.share.high < parse_share(rule.at_most),
                _known(*own.get(True, (0, 0, 0))[:3]),
                *own.get(False, (0, 0, 0))[0:3:2],
            )
        )
    return CloseRules(rules=shown, days=request.days)


def closing_ms(rule: CloseRule, alerts: Sequence[Alert], marks: Mapping[tuple[int, str], str]) -> int:
    """Return when a rule closes an untouched case with these alerts, by their marks; NEVER_MS if never."""
    end_ms = NEVER_MS
    for alert in alerts:
        if alert.time_ms > end_ms:
            break
        if marks.get(alert.place) != rule.mark:
            return NEVER_MS
        end_ms = max(alert.time_ms + parse_duration(rule.after), 0 if end_ms == NEVER_MS else end_ms)
    return end_ms


def _known(cases: int, labeled: int, frauds: int) -> KnownCases:
    return KnownCases(cases, labeled, frauds, OutcomeRate.of(frauds, labeled))


def _verdict_of(alerts: Sequence[Alert]) -> str:
    """Return the verdict of people or labels on a case; empty if there is none yet."""
    verdicts = {alert.label or (alert.verdict if alert.decided_by else "") for alert in alerts}
    if FRAUD in verdicts:
        return FRAUD
    return "genuine" if verdicts == {"genuine"} else ""


class CloseRuleChange(OperationRequest["CloseRules"]):
    """A rule that closes cases.

    Args:
        rule: Its name under `auto_close` in shroff.yaml.
    """

    rule: str


class ApproveCloseRule(CloseRuleChange):
    pass


class StopCloseRule(CloseRuleChange):
    pass


@operation("cases approve-auto-close", right="approve:rules", http="POST /auto-close/{rule}/approve", of_two="rules")
def approve_close_rule(desk: CaseService, log: Log, who: Who, request: ApproveCloseRule) -> CloseRules:
    """Let a rule close cases from now on, as it is now: a changed rule needs another approval.

    It is refused unless the 95 % confidence interval of fraud among the cases of the last 90 days that the rule would
    have closed is below its `at_most`.

    Examples:
        shroff cases approve-auto-close small
    """
    rule = _rule(desk, request.rule)
    figures = next(row for row in show_close_rules(desk, log, ShowCloseRules()).rules if row.name == rule.name)
    past = figures.past
    if not figures.may_act:
        raise UsageError(
            f"{rule.name} would have closed {many(past.cases, 'case')}, {past.known} of them with an answer. Fraud "
            f"among those is {past.share or 'unknown'}; a rule acts where the interval ends below {rule.at_most}."
        )
    return _put(desk, log, who, rule, APPROVED, msgspec.to_builtins(past))


@operation("cases stop-auto-close", right="approve:rules", http="POST /auto-close/{rule}/stop")
def stop_close_rule(desk: CaseService, log: Log, who: Who, request: StopCloseRule) -> CloseRules:
    """Let a rule close no more cases until it is approved again.

    Examples:
        shroff cases stop-auto-close small
    """
    return _put(desk, log, who, _rule(desk, request.rule), STOPPED, {})


def _rule(desk: CaseService, name: str) -> CloseRule:
    rules = {rule.name: rule for rule in desk.settings.close_rules.values()}
    if name not in rules:
        raise UsageError(f"there is no rule {name[:100]!r} under auto_close. {nearest(name, rules)}".rstrip())
    return rules[name]


def _put(
    desk: CaseService, log: Log, who: Who, rule: CloseRule, what: str, details: Mapping[str, object]
) -> CloseRules:
    with desk.store.change() as change:
        put_state(CaseTransaction(change, who, desk.now_ms()), rule, what, details)
    return show_close_rules(desk, log, ShowCloseRules())
