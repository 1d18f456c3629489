"""A backtest for people: as text, and as one self-contained HTML page with matrix, weeks, rules, and sample rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Final

from shroff.backtest.outcomes import LABELS
from shroff.models.reports import pages
from shroff.models.reports.charts import ChartColumn, columns
from shroff.project.policy import OUTCOMES
from shroff.runtime.texts import many, one_line, table

if TYPE_CHECKING:
    from shroff.backtest.document import BacktestReport, ReportBalance, ReportCell, ReportHits, ReportRow

MINUS: Final = "\u2212"
ROWS: Final = 50
UNKNOWABLE: Final = (
    "We cannot know how customers would have reacted: a customer whom the draft declines keeps "
    "the later payments of the log here, and a customer who was declined then has none of the payments that would have "
    "followed an approval. Declined events mostly get no label."
)


def page(report: BacktestReport, project: str = "", rows: list[ReportRow] | None = None) -> str:
    """The whole page. All event texts are escaped, and nothing is loaded.

    Args:
        project: The project's display name.
        rows: The changed events to show, where they are not those of the report.
    """
    title = f"Backtest of {', '.join(report.draft) or 'the project as it is'}"
    events = sorted({cell.event for cell in report.outcomes})
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="ink2">{escape(_span(report))}</p>',
        pages.section("In one sentence", _answer(report)),
        *(pages.section(f"From old outcome to new: {name}", _matrix(report, name)) for name in events),
        pages.section("What the changed events turned out to be", _changes(report)),
        pages.section(f"Net money a week, {report.money}", _weeks(report)),
        pages.section("Rules", _rules(report)),
        pages.section("Events that change", _rows(report, report.changed_rows if rows is None else rows)),
        pages.section("Exploration", _explorations(report) if report.exploration else ""),
        pages.section("What cannot be known", f"<p>{escape(UNKNOWABLE)}</p>"),
    ]
    return pages.page(title, project, parts)


def text(report: BacktestReport) -> str:
    """The answer of the command: the sentence, the matrix, the rules, some changed events."""
    lines = [f"{many(report.events, 'event')} backtested in {report.seconds:.1f} s. {sentence(report)}"]
    lines += filter(None, (other_reasons(report), learnt_sentence(report)))
    lines += [f"NOTE: {one_line(text)}" for text in report.remarks]
    sums = matrix(report.outcomes)
    counts = [(old, *(sums[old, new][0] for new in OUTCOMES)) for old in OUTCOMES]
    lines += ["", "Outcome without the draft, and with it:", table(counts, ("", *OUTCOMES))]
    tallies = [
        (
            rule.id,
            rule.old.hits,
            rule.hits,
            rule.fraud,
            _precision(rule, ""),
            shown_money(rule.fraud_money),
            rule.only.fraud,
        )
        for rule in report.rules
    ]
    heads = ("rule", "hits before", "hits", "fraud", "precision, %", f"fraud, {report.money}", "only it finds")
    lines += ["", "Rules:", table(tallies, heads)] if tallies else []
    changed = [(f"{row.event}/{row.id}", row.old, row.new, row.label, row.money) for row in report.changed_rows]
    if changed:
        lines += ["", "Changed events:", table(changed, ("event", "before", "draft", "label", "money"))]
    lines += ["", *explorations(report)] if report.exploration else []
    immature = f"{many(report.immature, 'event')} newer than the label delay are left out of this comparison."
    return "\n".join([*lines, "", immature, UNKNOWABLE])


def explorations(report: BacktestReport) -> list[str]:
    """Results of exploration and their cost, in sentences, a text for each event type."""
    texts = []
    for exploration in report.exploration:
        that = "that the score would have declined"
        were = f"event {that} was" if exploration.explored == 1 else f"events {that} were"
        text = f"{exploration.event}: {exploration.explored:,} {were} explored (approved); "
        text += f"{exploration.known:,} have labels by now, {exploration.frauds:,} are frauds."
        if exploration.precision is not None:
            text += f" So about {exploration.precision:.1%} of such declines are right (95 % confidence interval "
            text += f"{exploration.low:.1%} to {exploration.high:.1%}): "
            text += f"{exploration.frauds_declined:,.0f} frauds of {exploration.declines:,.0f}."
        texts.append(f"{text} Approving them has cost {exploration.cost} {report.money} by the labels so far.")
    return texts


def matrix(cells: Iterable[ReportCell]) -> defaultdict[tuple[str, str], tuple[int, Decimal]]:
    """Number and money of events by old and new outcome."""
    found: defaultdict[tuple[str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for cell in cells:
        count, money = found[cell.old, cell.new]
        found[cell.old, cell.new] = count + cell.count, money + Decimal(cell.money)
    return found


def changes_of(report: BacktestReport) -> dict[tuple[str, str, str], tuple[dict[str, int], Decimal]]:
    """Changed events by type, old and new outcome: counts by label, those of immature ones, and money of frauds."""
    found: dict[tuple[str, str, str], tuple[dict[str, int], Decimal]] = {}
    zero = 0 * Decimal(report.balance.old.fraud_money_stopped)  # with the places of the currency
    for cell in report.outcomes:
        if cell.old != cell.new:
            key = cell.event, cell.old, cell.new
            counts, money = found.get(key, (dict.fromkeys((*LABELS, "immature"), 0), zero))
            counts["immature" if cell.immature else cell.label] += cell.count
            is_fraud = cell.label == "fraud" and not cell.immature
            found[key] = counts, money + Decimal(cell.money) if is_fraud else money
    return dict(sorted(found.items()))


def sentence(report: BacktestReport) -> str:
    """The result in words: frauds, reviews, declined customers, and their value.

    Of events of which a model of the draft knows the answer it says nothing: `learnt_sentence` does.
    """
    if not report.changed:
        same = "outcome is" if report.events == 1 else "outcomes are"
        return f"The draft changes nothing: {report.events:,} {same} the same without it."
    if not report.balance.mature:
        return "There is no event to judge the draft by."
    return f"The draft would have {_what_it_comes_to(report, report.balance)}"


def outcome(report: BacktestReport) -> str:
    """The result in a few words: how many decisions change, and what that is worth."""
    if not report.changed:
        return "changes nothing"
    worth = f"{_signed(report.balance.net)} {report.money}, " if report.balance.net is not None else ""
    return f"{worth}{many(report.changed, 'decision')} {'changes' if report.changed == 1 else 'change'}"


def other_reasons(report: BacktestReport) -> str:
    """How many recorded decisions differ from the project without the draft, and what changed since; else empty."""
    if not (count := report.recorded.differ):
        return ""
    differ = "decision differs" if count == 1 else "decisions differ"
    return f"{count:,} recorded {differ} for other reasons: {', '.join(report.recorded.because)} changed since."


def learnt_sentence(report: BacktestReport) -> str:
    """Result of the draft on events that its models were trained on; empty where there are none."""
    learnt = report.learnt_from
    if learnt is None or not learnt.events or not report.changed:
        return ""
    begun = f"On {learnt.events:,} events of the training data (no forecast), the draft would have "
    return begun + _what_it_comes_to(report, learnt.balance)


def _what_it_comes_to(report: BacktestReport, balance: ReportBalance) -> str:
    old, new = balance.old, balance.new
    stopped, reviews = new.frauds_stopped - old.frauds_stopped, new.reviews - old.reviews
    declines = new.false_declines - old.false_declines
    alarms = f"{_more(reviews, 'review', 'reviews')} and {_more(declines, 'false decline', 'false declines')}."
    if balance.net is None:  # a decline is false where it is known to be no fraud
        return f"made {_more(reviews, 'review', 'reviews')} and {_more(declines, 'decline', 'declines')}."
    text = f"stopped {_more(stopped, 'fraud', 'frauds')} with {alarms}"
    if not report.costs.named:
        text += " policy.yaml names no costs, so reviews and false declines count nothing here."
    text += f" Together that is worth {_signed(balance.net)} {report.money} over {many(balance.days, 'day')}"
    if balance.low is None or balance.high is None:
        return text + "."
    return f"{text} (95 % confidence interval {_signed(balance.low)} to {_signed(balance.high)})."


def _more(count: int, singular: str, many: str) -> str:
    return f"{abs(count):,} {'fewer' if count < 0 else 'more'} {singular if abs(count) == 1 else many}"


def _span(report: BacktestReport) -> str:
    text = f"{report.events:,} events decided again in {report.seconds:.1f} s, from "
    text += f"{report.start or 'the beginning'} to {report.end or 'the end'} of the log. Labels as of {report.as_of}."
    if report.undecided:
        text += f" {report.undecided:,} events that were not decided are not judged."
    return text


def _answer(report: BacktestReport) -> str:
    warned = "".join(f'<p class="warn">{escape(text)}</p>' for text in report.remarks)
    note = f"{report.immature:,} events are newer than the label delay and left out here. {other_reasons(report)}"
    shown = f'{warned}<p class="lead">{escape(sentence(report))}</p>'
    shown += _sides(report, report.balance) if report.balance.mature else ""
    learnt = learnt_sentence(report)
    if report.learnt_from is not None and learnt:
        shown += f"<h3>Training data</h3><p>{escape(learnt)}</p>{_sides(report, report.learnt_from.balance)}"
    return f'{shown}<p class="ink3">{note}</p>'


def _sides(report: BacktestReport, parts: ReportBalance) -> str:
    rows = [
        ("Frauds reviewed or declined", *(f"{side.frauds_stopped:,}" for side in (parts.old, parts.new))),
        (
            f"Fraud stopped, {report.money}",
            *(shown_money(side.fraud_money_stopped) for side in (parts.old, parts.new)),
        ),
        ("Reviews", *(f"{side.reviews:,}" for side in (parts.old, parts.new))),
        ("Declined and no known fraud", *(f"{side.false_declines:,}" for side in (parts.old, parts.new))),
    ]
    return pages.table(("", "Without the draft", "Draft"), rows, numbers={1, 2})


def _matrix(report: BacktestReport, event: str) -> str:
    sums = matrix(cell for cell in report.outcomes if cell.event == event)
    rows = []
    for at, old in enumerate(OUTCOMES):
        cells = []
        for to, new in enumerate(OUTCOMES):
            count, amount = sums[old, new]
            kind, arrow = ("same", "") if at == to else ("up", "▲ ") if to > at else ("down", "▼ ")
            shown = f'{count:,}<br><span class="ink3">{shown_money(str(amount))}</span>'
            cells.append(f'<td class="num {kind}">{arrow}{shown}</td>' if count else '<td class="num ">0</td>')
        rows.append(f'<tr><th scope="row">{old}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col" class="num">{new}</th>' for new in OUTCOMES)
    caption = f"Rows: without the draft. Columns: with it. Events, and {report.money} below; ▲ is stricter, ▼ milder."
    head = f"<caption>{caption}</caption><thead><tr><th></th>{heads}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _changes(report: BacktestReport) -> str:
    rows = [
        (event, f"{old} to {new}", *(f"{count:,}" for count in counts.values()), shown_money(str(fraud)))
        for (event, old, new), (counts, fraud) in changes_of(report).items()
    ]
    if not rows:
        return "<p>No outcome changes.</p>"
    heads = ("Event", "Change", *map(str.capitalize, (*LABELS, "immature")), f"Fraud, {report.money}")
    return pages.table(heads, rows, numbers=set(range(2, len(heads))))


def _weeks(report: BacktestReport) -> str:
    weeks, currency = report.balance.weeks, report.money
    if not weeks:
        return "<p>Not known, see above.</p>"
    drawn = [ChartColumn(week.day, float(week.net), not week.events) for week in weeks]
    under = "By the first day of each week. A gray week has no mature event."
    rows = [(week.day, _signed(week.net) if week.events else "no events", f"{week.events:,}") for week in weeks]
    table = pages.table(("Week from", f"Net, {currency}", "Events"), rows, numbers={1, 2})
    chart = columns("With the draft minus without it", currency, drawn, under=under)
    return f"{chart}<details><summary>As a table</summary>{table}</details>"


def _rules(report: BacktestReport) -> str:
    rows = []
    for rule in report.rules:
        shared = ", ".join(f"{other} {count:,}" for other, count in rule.overlap.items())
        counts = (rule.old.hits, rule.hits, rule.fraud, rule.genuine, rule.immature)
        rows.append(
            (
                rule.id,
                "shadow" if rule.shadow else rule.effect,
                *(f"{count:,}" for count in counts),
                _precision(rule, "missing"),
                shown_money(rule.money),
                f"{rule.only.hits:,}, {rule.only.fraud:,} fraud",
                shown_money(rule.only.fraud_money),
                shared,
            )
        )
    rows += [(rule, "gone", f"{count:,}", *([""] * 9)) for rule, count in report.rules_gone.items()]
    first = "Rule", "Effect", "Hits before", "Hits", "Fraud", "Genuine", "Immature", "Precision, %"
    note = (
        "Precision: the share of mature hits that were fraud, with its 95 % confidence interval. Unlabeled hits count "
        "as genuine, unclear ones not."
    )
    more = f"Money, {report.money}", "Only this rule", f"Fraud only it finds, {report.money}", "Also hit by"
    shown = pages.table((*first, *more), rows, numbers=set(range(2, 11)), wide={0, 11})
    return f'{shown}<p class="ink3">{note}</p>'


def _precision(hits: ReportHits, missing: str) -> str:
    """Percentages: precision, and in brackets its 95 % confidence interval."""
    shares = [hits.precision, hits.precision_low, hits.precision_high]
    texts = [f"{100 * share:.0f}" for share in shares if share is not None]
    return "{} ({} to {})".format(*texts) if texts else missing


def _rows(report: BacktestReport, rows: list[ReportRow]) -> str:
    if not rows:
        return "<p>No outcome changes.</p>"
    heads = ("Event", "Time", "Change", "Label", f"Money, {report.money}", "Rules before", "Rules of the draft")
    shown = [
        (
            f"{row.event}/{row.id}",
            row.time,
            f"{row.old} to {row.new}",
            row.label + (", immature" if row.immature else ""),
            row.money,
            " ".join(row.old_rules),
            " ".join(row.rules),
        )
        for row in rows
    ]
    said = f"<p>The first {len(rows):,} of {report.changed:,}.</p>"
    return said + pages.table(heads, shown, numbers={4}, wide={0, 5, 6})


def _explorations(report: BacktestReport) -> str:
    note = (
        "Each event represents 1 / propensity declines, with Wilson's interval. Events beyond a day's cap are not "
        "explored."
    )
    texts = "".join(f"<p>{escape(text)}</p>" for text in explorations(report))
    return f'{texts}<p class="ink3">{note}</p>'


def shown_money(text: str) -> str:
    """An amount with its thousands, as pages show it."""
    whole, point, rest = text.removeprefix("-").partition(".")
    return f"{MINUS if text.startswith('-') else ''}{int(whole):,}{point}{rest}"


def _signed(text: str) -> str:
    return f"{'+' if Decimal(text) > 0 else ''}{shown_money(text)}"
