"""A backtest as one self-contained HTML page: result, matrix, weeks, rules, and sample rows."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.backtest.outcomes import LABELS
from shroff.backtest.tally import Balance, Hits, TallyCell
from shroff.events.event import time_text
from shroff.models.reports import pages
from shroff.models.reports.charts import ChartColumn, columns
from shroff.project.policy import OUTCOMES
from shroff.runtime.texts import many, one_line, table

if TYPE_CHECKING:
    from shroff.backtest.report_builder import Report

MINUS: Final = "\u2212"
SPACE: Final = "\u00a0"
ROWS: Final = 50
ROWS_PRINTED: Final = 20
UNKNOWABLE: Final = (
    "We cannot know how customers would have reacted: a customer whom the draft declines keeps "
    "the later payments of the log here, and a customer who was declined then has none of the payments that would have "
    "followed an approval. Declined events mostly get no label."
)
EPOCH: Final = date(1970, 1, 1).toordinal()


def page(report: Report) -> str:
    """The whole page. All event texts are escaped, and nothing is loaded."""
    settings = report.definitions.settings
    title = f"Backtest of {', '.join(report.draft) or 'the project as it is'}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="ink2">{escape(_span(report))}</p>',
        pages.section("In one sentence", _answer(report)),
        *(pages.section(f"From old outcome to new: {name}", _matrix(report, name)) for name in report.verdicts.types),
        pages.section("What the changed events turned out to be", _changes(report)),
        pages.section(f"Net money a week, {settings.currency}", _weeks(report)),
        pages.section("Rules", _rules(report)),
        pages.section("Events that change", _rows(report)),
        *(pages.section("Exploration", _explorations(report)) for _ in report.explored[:1]),
        pages.section("What cannot be known", f"<p>{escape(UNKNOWABLE)}</p>"),
    ]
    return pages.page(title, settings.name, parts)


def text(report: Report, rows: int = ROWS_PRINTED) -> str:
    """The answer of the command: the sentence, the matrix, the rules, some changed events."""
    lines = [f"{many(report.events, 'event')} backtested in {report.seconds:.1f} s. {sentence(report)}"]
    lines += [other_reasons(report)] if report.differing else []
    lines += [learnt_sentence(report)] if report.learnt is not None and report.learnt.events else []
    lines += [f"NOTE: {one_line(text)}" for text in report.remarks]
    counts = dict.fromkeys(((old, new) for old in OUTCOMES for new in OUTCOMES), 0)
    for cell in report.matrix:
        counts[cell.old, cell.new] += cell.count
    matrix = [(old, *(counts[old, new] for new in OUTCOMES)) for old in OUTCOMES]
    lines += ["", "Outcome without the draft, and with it:", table(matrix, ("", *OUTCOMES))]
    tallies = [
        (
            rule.rule.id,
            rule.old.count,
            rule.new.count,
            rule.new.by_label["fraud"],
            _precision(rule.new, ""),
            shown_money(report, rule.new.fraud_minor),
            rule.only.by_label["fraud"],
        )
        for rule in report.rules
    ]
    heads = (
        "rule",
        "hits before",
        "hits",
        "fraud",
        "precision, %",
        f"fraud, {report.definitions.settings.currency}",
        "only it finds",
    )
    lines += ["", "Rules:", table(tallies, heads)] if tallies else []
    changed = [
        (f"{one['event']}/{one['id']}", one["old"], one["new"], one["label"], one["money"])
        for one in report.changed(rows)
    ]
    if changed:
        lines += ["", "Changed events:", table(changed, ("event", "before", "draft", "label", "money"))]
    lines += ["", *report.explorations()] if report.explored else []
    immature = f"{many(report.immature, 'event')} newer than the label delay are left out of this comparison."
    return "\n".join([*lines, "", immature, UNKNOWABLE])


def sentence(report: Report) -> str:
    """The result in words: frauds, reviews, declined customers, and their value.

    Of events of which a model of the draft knows the answer it says nothing: `learnt_sentence` does.
    """
    if not report.changes:
        same = "outcome is" if report.events == 1 else "outcomes are"
        return f"The draft changes nothing: {report.events:,} {same} the same without it."
    if not report.balance.mature:
        return "There is no event to judge the draft by."
    return f"The draft would have {_what_it_comes_to(report, report.balance)}"


def outcome(report: Report) -> str:
    """The result in a few words: how many decisions change, and what that is worth."""
    if not report.changes:
        return "changes nothing"
    currency = report.definitions.settings.currency
    worth = f"{_signed(report, report.balance.net_minor)} {currency}, " if report.balance.is_known else ""
    return f"{worth}{many(report.changes, 'decision')} {'changes' if report.changes == 1 else 'change'}"


def other_reasons(report: Report) -> str:
    """How many recorded decisions differ from the project without the draft, and what changed since; else empty."""
    if not report.differing:
        return ""
    differ = "decision differs" if report.differing == 1 else "decisions differ"
    because = ", ".join(report.because)
    return f"{report.differing:,} recorded {differ} for other reasons: {because} changed since."


def learnt_sentence(report: Report) -> str:
    """Result of the draft on events that its models were trained on; empty where there are none."""
    if report.learnt is None or not report.learnt.events or not report.changes:
        return ""
    begun = f"On {report.learnt.events:,} events of the training data (no forecast), the draft would have "
    return begun + _what_it_comes_to(report, report.learnt.balance)


def _what_it_comes_to(report: Report, balance: Balance) -> str:
    old, new = balance.old, balance.new
    currency = report.definitions.settings.currency
    stopped, reviews = new.frauds_stopped - old.frauds_stopped, new.reviews - old.reviews
    declines = new.false_declines - old.false_declines
    alarms = f"{_more(reviews, 'review', 'reviews')} and {_more(declines, 'false decline', 'false declines')}."
    if not balance.is_known:  # a decline is false where it is known to be no fraud
        return f"made {_more(reviews, 'review', 'reviews')} and {_more(declines, 'decline', 'declines')}."
    text = f"stopped {_more(stopped, 'fraud', 'frauds')} with {alarms}"
    policies = [report.definitions.policy(event) for event in report.verdicts.types]
    if not any(policy.review_minor or policy.false_decline_minor for policy in policies):
        text += " policy.yaml names no costs, so reviews and false declines count nothing here."
    days = len(balance.by_day)
    over = f"{days:,} day{'' if days == 1 else 's'}"
    text += f" Together that is worth {_signed(report, balance.net_minor)} {currency} over {over}"
    if balance.interval_minor is None:
        return text + "."
    low, high = (_signed(report, end) for end in balance.interval_minor)
    return f"{text} (95 % confidence interval {low} to {high})."


def _more(count: int, one: str, many: str) -> str:
    return f"{abs(count):,} {'fewer' if count < 0 else 'more'} {one if abs(count) == 1 else many}"


def _span(report: Report) -> str:
    start = "the beginning" if report.start_ms is None else time_text(report.start_ms)
    end = "the end" if report.end_ms is None else time_text(report.end_ms)
    text = f"{report.events:,} events decided again in {report.seconds:.1f} s, from {start} to {end} of the log. "
    text += f"Labels as of {time_text(report.span.as_of_ms)}."
    if report.verdicts.undecided:
        text += f" {report.verdicts.undecided:,} events that were not decided are not judged."
    return text


def _answer(report: Report) -> str:
    warned = "".join(f'<p class="warn">{escape(text)}</p>' for text in report.remarks)
    note = f"{report.immature:,} events are newer than the label delay and left out here. {other_reasons(report)}"
    shown = f'{warned}<p class="lead">{escape(sentence(report))}</p>'
    shown += _sides(report, report.balance) if report.balance.mature else ""
    learnt = learnt_sentence(report)
    if report.learnt is not None and learnt:
        shown += f"<h3>Training data</h3><p>{escape(learnt)}</p>{_sides(report, report.learnt.balance)}"
    return f'{shown}<p class="ink3">{note}</p>'


def _sides(report: Report, parts: Balance) -> str:
    currency = report.definitions.settings.currency
    rows = [
        ("Frauds reviewed or declined", f"{parts.old.frauds_stopped:,}", f"{parts.new.frauds_stopped:,}"),
        (
            f"Fraud stopped, {currency}",
            shown_money(report, parts.old.fraud_minor),
            shown_money(report, parts.new.fraud_minor),
        ),
        ("Reviews", f"{parts.old.reviews:,}", f"{parts.new.reviews:,}"),
        ("Declined and no known fraud", f"{parts.old.false_declines:,}", f"{parts.new.false_declines:,}"),
    ]
    return pages.table(("", "Without the draft", "Draft"), rows, numbers={1, 2})


def _matrix(report: Report, event: str) -> str:
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for cell in report.matrix:
        if cell.event == event:
            sums[cell.old, cell.new][0] += cell.count
            sums[cell.old, cell.new][1] += cell.amount_minor
    rows = []
    for old_number, old in enumerate(OUTCOMES):
        cells = []
        for new_number, new in enumerate(OUTCOMES):
            count, amount = sums.get((old, new), (0, 0))
            kind = "same" if old == new else "up" if new_number > old_number else "down"
            arrow = "" if old == new else "▲ " if new_number > old_number else "▼ "
            money = f'<br><span class="ink3">{shown_money(report, amount)}</span>' if count else ""
            cells.append(f'<td class="num {kind if count else ""}">{arrow if count else ""}{count:,}{money}</td>')
        rows.append(f'<tr><th scope="row">{old}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col" class="num">{new}</th>' for new in OUTCOMES)
    currency = report.definitions.settings.currency
    caption = f"Rows: without the draft. Columns: with it. Events, and {currency} below; ▲ is stricter, ▼ milder."
    head = f"<caption>{caption}</caption><thead><tr><th></th>{heads}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _changes(report: Report) -> str:
    changed: defaultdict[tuple[str, str, str], list[TallyCell]] = defaultdict(list)
    for cell in report.matrix:
        if cell.old != cell.new:
            changed[cell.event, cell.old, cell.new].append(cell)
    rows = []
    for (event, old, new), cells in sorted(changed.items()):
        counts = [sum(one.count for one in cells if one.label == label and not one.is_immature) for label in LABELS]
        immature = sum(one.count for one in cells if one.is_immature)
        fraud = sum(one.amount_minor for one in cells if one.label == "fraud" and not one.is_immature)
        rows.append(
            (event, f"{old} to {new}", *(f"{count:,}" for count in (*counts, immature)), shown_money(report, fraud))
        )
    if not rows:
        return "<p>No outcome changes.</p>"
    heads = (
        "Event",
        "Change",
        *(label.capitalize() for label in LABELS),
        "Immature",
        f"Fraud, {report.definitions.settings.currency}",
    )
    return pages.table(heads, rows, numbers=set(range(2, len(heads))))


def _weeks(report: Report) -> str:
    balance, currency = report.balance, report.definitions.settings.currency
    if not balance.is_known:
        return "<p>Not known, see above.</p>"
    sums, counts = (_by_week(column) for column in (balance.by_day, balance.mature_by_day))
    days = [date.fromordinal(EPOCH + balance.first_day + 7 * at).isoformat() for at in range(len(sums))]
    shown = [_signed(report, value) if count else "no events" for value, count in zip(sums, counts, strict=True)]
    units = [value / 10**report.definitions.settings.money_places for value in sums]
    drawn = [ChartColumn(*one) for one in zip(days, units, (count == 0 for count in counts), strict=True)]
    under = "By the first day of each week. A gray week has no mature event."
    table = pages.table(("Week from", f"Net, {currency}", "Events"), _week_rows(days, shown, counts), numbers={1, 2})
    chart = columns("With the draft minus without it", currency, drawn, under=under)
    return f"{chart}<details><summary>As a table</summary>{table}</details>"


def _by_week(by_day: NDArray[Any]) -> list[Any]:
    found: list[Any] = np.concatenate([by_day, np.zeros(-len(by_day) % 7, by_day.dtype)]).reshape(-1, 7).sum(1).tolist()
    return found


def _week_rows(days: list[str], shown: list[str], counts: list[int]) -> list[tuple[str, str, str]]:
    return [(day, money, f"{count:,}") for day, money, count in zip(days, shown, counts, strict=True)]


def _rules(report: Report) -> str:
    rows = []
    for one in report.rules:
        new, only = one.new, one.only
        mode = "shadow" if one.rule.is_shadow else one.rule.effect
        shared = ", ".join(f"{other} {count:,}" for other, count in one.overlap.items())
        counts = (one.old.count, new.count, new.by_label["fraud"], new.by_label["genuine"], new.immature)
        found = (f"{only.count:,}, {only.by_label['fraud']:,} fraud", shown_money(report, only.fraud_minor), shared)
        rows.append(
            (
                one.rule.id,
                mode,
                *(f"{count:,}" for count in counts),
                _precision(new, "missing"),
                shown_money(report, new.amount_minor),
                *found,
            )
        )
    rows += [(rule, "gone", f"{count:,}", *([""] * 9)) for rule, count in report.gone.items()]
    currency = report.definitions.settings.currency
    heads = (
        "Rule",
        "Effect",
        "Hits before",
        "Hits",
        "Fraud",
        "Genuine",
        "Immature",
        "Precision, %",
        f"Money, {currency}",
    )
    note = (
        "Precision: the share of mature hits that were fraud, with its 95 % confidence interval. Unlabeled hits count "
        "as genuine, unclear ones not."
    )
    more = ("Only this rule", f"Fraud only it finds, {currency}", "Also hit by")
    shown = pages.table((*heads, *more), rows, numbers=set(range(2, 11)), wide={0, 11})
    return f'{shown}<p class="ink3">{note}</p>'


def _precision(hits: Hits, missing: str) -> str:
    """Percentages: precision, and in brackets its 95 % confidence interval."""
    found = hits.precision
    shares = [f"{100 * share:.0f}" for share in found.values() if isinstance(share, float)]
    return "{} ({} to {})".format(*shares) if shares else missing


def _rows(report: Report) -> str:
    shown = report.changed(ROWS)
    if not shown:
        return "<p>No outcome changes.</p>"
    money = f"Money, {report.definitions.settings.currency}"
    heads = ("Event", "Time", "Change", "Label", money, "Rules before", "Rules of the draft")
    rows = [
        (
            f"{one['event']}/{one['id']}",
            one["time"],
            f"{one['old']} to {one['new']}",
            one["label"] + (", immature" if one["immature"] else ""),
            one["money"],
            " ".join(one["old_rules"]),
            " ".join(one["rules"]),
        )
        for one in shown
    ]
    total = sum(cell.count for cell in report.matrix if cell.old != cell.new)
    return f"<p>The first {len(rows):,} of {total:,}.</p>" + pages.table(heads, rows, numbers={4}, wide={0, 5, 6})


def _explorations(report: Report) -> str:
    note = (
        "Each event represents 1 / propensity declines, with Wilson's interval. Events beyond a day's cap are not "
        "explored."
    )
    texts = "".join(f"<p>{escape(text)}</p>" for text in report.explorations())
    return f'{texts}<p class="ink3">{note}</p>'


def shown_money(report: Report, minor: int) -> str:
    """An amount with its thousands, as pages show it."""
    whole, point, rest = report.money(abs(minor)).partition(".")
    return f"{MINUS if minor < 0 else ''}{int(whole):,}{point}{rest}"


def _signed(report: Report, minor: float) -> str:
    shown = shown_money(report, round(minor))
    return shown if round(minor) <= 0 else f"+{shown}"
