"""Check of `doctor`: remarks on values that are too large, have no rate, or are personal and came again changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shroff.events.event import time_text
from shroff.features.batch.remarks import LEFT_OUT, SUM_OUTSIDE, UNRATED
from shroff.log.batch_classifier import PERSONAL_CHANGED
from shroff.runtime.texts import many
from shroff.streams.log import Remark

_REMARKED = {
    LEFT_OUT: "{} had a value that is too large and was ignored,",
    SUM_OUTSIDE: "at {} its sum exceeded 64 bits and was missing,",
    PERSONAL_CHANGED: "{} came again with another value, which was dropped,",
}
_CURES = {
    LEFT_OUT: (
        "'sum', 'mean' and 'std' take values up to 10^15 of their smallest unit, other aggregates up to 64 bits. "
        "Declare the fields with fewer places, such as number(2), or use larger units."
    ),
    SUM_OUTSIDE: (
        "Use a shorter window, or declare the fields with fewer places, such as number(2), or bring them in larger "
        "units."
    ),
    PERSONAL_CHANGED: "The first value of a personal field stays. Send a correction as an event of its own.",
    UNRATED: "Those are missing. Add rates to the table that money in shroff.yaml names: shroff rates import FILE",
}


def remark_words(remarks: Sequence[Remark]) -> Iterator[tuple[str, str]]:
    for remark in remarks:
        since = f"since sequence number {remark.first_seq:,} ({time_text(remark.first_ms)})"
        if remark.count > 1:
            since += f", last at sequence number {remark.last_seq:,} ({time_text(remark.last_ms)})"
        remarked = _REMARKED.get(remark.what, f"{remark.what} at {{}}").format(many(remark.count, "event"))
        yield f"{remark.asker}: {remarked} {since}", _CURES.get(remark.what, "")
