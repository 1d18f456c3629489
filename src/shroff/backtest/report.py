"""A backtest for people: as text, and as a self-contained HTML page with matrix, weeks, rules and sample rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from shroff.models.reports import pages
from shroff.models.reports.pages import ChartAxis, ChartColumn
from shroff.operations.numbers import name_of
from shroff.project.policy import OUTCOMES
from shroff.runtime.texts import many, one_line, table
from shroff.training.sets.labels import LABELS

if TYPE_CHECKING:
    from shroff.backtest.document import BacktestReport, ReportBalance, ReportCell, ReportHits, ReportRow

MINUS = "\u2212"
ROWS = 50
UNKNOWABLE = (
    "We cannot know how customers would have reacted: a customer whom the draft declines keeps "
    "the later payments of the log here, and a customer who was declined then has none of the payments that would have "
    "followed an approval. Declined events mostly get no label."
)


def page(report: BacktestReport, project: str = "", rows: list[ReportRow] | None = None) -> str:
    """Render the HTML page. All event texts are escaped, and nothing is loaded.

    Args:
        project: Display name of the project.
        rows: Changed events to show instead of the report's.
    """
    weeks = [ChartColumn(week.day, float(week.net), not week.events) for week in report.balance.weeks]
    low = min([0.0, *(week.value for week in weeks)])
    high = max([0.0, *(week.value for week in weeks)])
    events = sorted({cell.event for cell in report.outcomes})
    return pages.page(
        __package__,
        "backtest.html",
        {"money": shown_money, "precision": _precision, "signed": _signed},
        title=f"Backtest of {', '.join(report.draft) or 'the project as it is'}",
        project=project,
        report=report,
        rows=report.changed_rows if rows is None else rows,
        span=_span(report),
        answer=sentence(report),
        learnt=learnt_sentence(report),
        other_reasons=other_reasons(report),
        matrices=[(name, matrix(cell for cell in report.outcomes if cell.event == name)) for name in events],
        outcomes=OUTCOMES,
        changes=changes_of(report),
        labels=(*LABELS, "immature"),
        weeks=weeks,
        week_axis=ChartAxis(report.money, low, high if high > low else 1.0),
        explorations=list(explorations(report)),
        unknowable=UNKNOWABLE,
        name_of=name_of,
    )


def text(report: BacktestReport) -> str:
    """Format the report for the command line: the result, the matrix, the rules, some changed events."""
    lines = [f"{many(report.events, 'event')} backtested in {report.seconds:.1f} s. {sentence(report)}"]
    lines += filter(None, (undecided(report), other_reasons(report), learnt_sentence(report)))
    lines += [f"NOTE: {one_line(text)}" for text in report.remarks]
    sums = matrix(report.outcomes)
    counts = [(old, *(sums[old, new][0] for new in OUTCOMES)) for old in OUTCOMES]
    lines += ["", "Outcome without the draft, and with it:", table(counts, ("", *OUTCOMES))]
    tallies = [
        (
            rule.id,
            rule.old.hits,
            rule.hits,
            rule.older_fraud,
            _precision(rule, ""),
            shown_money(rule.older_fraud_money),
            rule.only.older_fraud,
        )
        for rule in report.rules
    ]
    fraud = name_of("older_fraud").lower()
    amount = name_of("older_fraud_amount").lower()
    heads = ("rule", "hits before", "hits", fraud, "precision, %", f"{amount}, {report.money}", "only it finds")
    lines += ["", "Rules:", table(tallies, heads)] if tallies else []
    changed = [(f"{row.event}/{row.id}", row.old, row.new, row.label, row.money) for row in report.changed_rows]
    if changed:
        lines += ["", "Changed events:", table(changed, ("event", "before", "draft", "label", "money"))]
    lines += ["", *explorations(report)] if report.exploration else []
    immature = (
        f"{many(report.immature, 'event is', 'events are')} newer than the label delay and left out of this comparison."
    )
    return "\n".join([*lines, "", immature, UNKNOWABLE])


def explorations(report: BacktestReport) -> list[str]:
    """Describe the results of exploration and their cost, one text for each event type."""
    texts = []
    for exploration in report.exploration:
        that = "that the score would have declined"
        were = f"event {that} was" if exploration.explored == 1 else f"events {that} were"
        text = f"{exploration.event}: {exploration.explored:,} {were} explored (approved); "
        text += f"{exploration.known:,} have labels by now, {exploration.frauds:,} are frauds."
        if exploration.precision is not None and exploration.low is not None and exploration.high is not None:
            text += f" So about {100 * exploration.precision:.1f} % of such declines are right "
            text += f"(95 % confidence interval {100 * exploration.low:.1f} to {100 * exploration.high:.1f} %): "
            text += f"{exploration.frauds_declined:,.0f} frauds of {exploration.declines:,.0f}."
        texts.append(f"{text} Approving them has cost {exploration.cost} {report.money} by the labels so far.")
    return texts


def matrix(cells: Iterable[ReportCell]) -> defaultdict[tuple[str, str], tuple[int, Decimal]]:
    sums: defaultdict[tuple[str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for cell in cells:
        count, money = sums[cell.old, cell.new]
        sums[cell.old, cell.new] = count + cell.count, money + Decimal(cell.money)
    return sums


def changes_of(report: BacktestReport) -> dict[tuple[str, str, str], tuple[dict[str, int], Decimal]]:
    """Summarize changed events by type, old and new outcome: counts by label and of immature ones, and money of mature
    frauds.
    """
    changes: dict[tuple[str, str, str], tuple[dict[str, int], Decimal]] = {}
    zero = 0 * Decimal(report.balance.old.fraud_money_stopped)  # has the currency's decimals
    for cell in report.outcomes:
        if cell.old != cell.new:
            key = cell.event, cell.old, cell.new
            counts, money = changes.get(key, (dict.fromkeys((*LABELS, "immature"), 0), zero))
            counts["immature" if cell.immature else cell.label] += cell.count
            is_fraud = cell.label == "fraud" and not cell.immature
            changes[key] = counts, money + Decimal(cell.money) if is_fraud else money
    return dict(sorted(changes.items()))


def sentence(report: BacktestReport) -> str:
    """Describe the result: frauds, reviews, declined customers, and their value.

    `learnt_sentence` describes the events before the end of a model's training data.
    """
    if not report.changed:
        same = "outcome is" if report.events == 1 else "outcomes are"
        return f"The draft changes nothing: {report.events:,} {same} the same without it."
    if not report.balance.mature:
        return "There is no event to judge the draft by."
    return f"The draft would have {_what_it_comes_to(report, report.balance)}"


def outcome(report: BacktestReport) -> str:
    if not report.changed:
        return "changes nothing"
    worth = f"{_signed(report.balance.net)} {report.money}, " if report.balance.net is not None else ""
    return f"{worth}{many(report.changed, 'decision')} {'changes' if report.changed == 1 else 'change'}"


def undecided(report: BacktestReport) -> str:
    """Describe the events taken without a decision; empty if there is none."""
    if not report.undecided:
        return ""
    were = many(report.undecided, "event was", "events were")
    return f"{were} taken without a decision. Without the draft such an event has the outcome of the current project."


def other_reasons(report: BacktestReport) -> str:
    """Describe how many recorded decisions differ from the project without the draft, and why; empty if none does."""
    count = report.recorded.differ
    if not count:
        return ""
    differ = "decision differs" if count == 1 else "decisions differ"
    because = ", ".join(report.recorded.because)
    because = f"{because} changed since" if because else "earlier events have no recorded decision"
    return f"{count:,} recorded {differ} for other reasons: {because}."


def learnt_sentence(report: BacktestReport) -> str:
    """Describe the result before the end of the models' training data; empty without events there."""
    learnt = report.learnt_from
    if learnt is None or not learnt.events or not report.changed:
        return ""
    start = (
        f"On {many(learnt.events, 'event')} before the end of the training data (no forecast), the draft would have "
    )
    return start + _what_it_comes_to(report, learnt.balance)


def _what_it_comes_to(report: BacktestReport, balance: ReportBalance) -> str:
    old = balance.old
    new = balance.new
    stopped = new.frauds_stopped - old.frauds_stopped
    reviews = new.reviews - old.reviews
    declines = new.presumed_false_declines - old.presumed_false_declines
    more_declines = _more(declines, "presumed false decline", "presumed false declines")
    alarms = f"{_more(reviews, 'review', 'reviews')} and {more_declines}."
    if balance.net is None:  # without labels no decline is known to be false
        return f"made {_more(reviews, 'review', 'reviews')} and {_more(declines, 'decline', 'declines')}."
    text = f"reviewed or declined {_more(stopped, 'fraud', 'frauds')} with {alarms}"
    if not report.costs.named:
        text += " policy.yaml names no costs, so reviews and false declines count nothing here."
    text += f" Together that is worth {_signed(balance.net)} {report.money} over {many(balance.days, 'day')}"
    if balance.low is None or balance.high is None:
        return text + "."
    return f"{text} (95 % confidence interval {_signed(balance.low)} to {_signed(balance.high)})."


def _more(count: int, singular: str, many: str) -> str:
    return f"{abs(count):,} {'fewer' if count < 0 else 'more'} {singular if abs(count) == 1 else many}"


def _span(report: BacktestReport) -> str:
    text = f"{many(report.events, 'event')} decided again in {report.seconds:.1f} s, from "
    text += f"{report.start or 'the beginning'} to {report.end or 'the end'} of the log. Labels as of {report.as_of}."
    return f"{text} {undecided(report)}".rstrip()


def _precision(hits: ReportHits, missing: str) -> str:
    """Format the precision as a percentage, with its 95 % confidence interval in brackets."""
    shares = [hits.precision, hits.precision_low, hits.precision_high]
    texts = [f"{100 * share:.0f}" for share in shares if share is not None]
    return "{} ({} to {})".format(*texts) if texts else missing


def shown_money(text: str) -> str:
    units, point, decimals = text.removeprefix("-").partition(".")
    return f"{MINUS if text.startswith('-') else ''}{int(units):,}{point}{decimals}"


def _signed(text: str) -> str:
    return f"{'+' if Decimal(text) > 0 else ''}{shown_money(text)}"
