"""Output of `shroff models compare`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shroff.cli.progress import bars
from shroff.cli.session import Session, argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.training.comparison import Comparison, Paired


def answer(session: Session, ids: Sequence[str], as_of: str | None) -> None:
    """Compare, and tell of it."""
    with bars("reading, events") as (reading,):
        found = session.project.models.compare(*ids, as_of=as_of, reading=reading)
    session.answer(document_of(found), repr(found))
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
