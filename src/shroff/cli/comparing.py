"""Output of `shroff models compare`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, many, one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.training.comparing import Comparison, Paired


def answer(session: Session, ids: Sequence[str], as_of: str | None) -> None:
    """Compare, and tell of it."""
    with bars("reading, events") as (reading,):
        found = session.project.models.compare(*ids, as_of=as_of, reading=reading)
    session.answer(document_of(found), _text(found))
    better = [one for one in found.found if one.verdict == "better"]
    challenger = argument(found.challenger)
    session.next(f"shroff models promote {challenger}" if better else f"shroff models show {challenger}")


def document_of(found: Comparison) -> dict[str, Any]:
    """The answer as JSON."""
    from shroff.training.measured import plain

    document = asdict(found)
    del document["money_places"]
    metrics = [{**_paired(one, found.money_places), "verdict": one.verdict} for one in found.found]
    del document["found"]
    plain_document: dict[str, Any] = plain({**document, "metrics": metrics})
    return plain_document


def _paired(one: Paired, places: int) -> dict[str, Any]:
    """A metric of both; the number of frauds is none of its values."""
    from shroff.training.measured import with_money

    found = asdict(one)
    count = {"frauds_wanted": found.pop("frauds_wanted")}
    document: dict[str, Any] = with_money({one.name: found}, places)[one.name]
    return document | count


def _text(found: Comparison) -> str:
    where = "both scored" if found.on == "scored" else "folds of both were tested on"
    behind = f" after sequence number {found.since_seq:,}" if found.since_seq else ""
    known = f"{found.rows:,} of them with a verdict, {many(found.frauds, 'fraud')}"
    lines = [
        f"{found.challenger} against {found.champion} on {found.event}:",
        f"  {many(found.events, 'event')} that {where}{behind}, {known};",
        f"  {found.immature:,} are too young, {found.unclear:,} unclear.",
    ]
    if found.needs:
        return "\n".join([*lines, "", f"  {one_line(found.needs)}."])
    heads = ("", found.champion, found.challenger, "difference", "95 %", "", "seen from", "frauds wanted")
    lines += ["", table([_row(one) for one in found.found], heads), ""]
    lines.append("  `seen from`: the smallest difference that these labels detect with 80 % power.")
    lines.append("  `frauds wanted`: known frauds needed to detect the measured difference.")
    return "\n".join(lines)


def _row(one: Paired) -> tuple[str, ...]:
    from shroff.models.keys import metric_words

    interval = "-" if one.low is None or one.high is None else f"{_number(one.low)} to {_number(one.high)}"
    wanted = "-" if one.frauds_wanted is None else f"{one.frauds_wanted:,}"
    values = (_number(value) for value in (one.champion, one.challenger, one.mean))
    return metric_words(one.name), *values, interval, one.why or one.verdict, _number(one.seen_from), wanted


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
