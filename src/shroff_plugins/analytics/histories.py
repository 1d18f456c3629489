"""What analytics read of an opened project: its log with the lake beside it, and the days of a question."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from shroff.plugins.language import day_at, day_named

if TYPE_CHECKING:
    from shroff.plugins.lake import LakeReader
    from shroff.plugins.log import Log
    from shroff.plugins.project import ProjectContext

DAYS: Final = 7  # that are counted where nobody names any, up to the newest event


def history_of(context: ProjectContext, held: ExitStack) -> tuple[Log, LakeReader | None]:
    """The log, and its lake where one was written. Raises: StateError where the lake is another log's."""
    from shroff.plugins.lake import Lakes, LakeWriter, NoLakeError

    log = held.enter_context(context.log.reading())
    if context.systems.lake is None:
        return log, None
    try:
        lake = held.enter_context(Lakes(context).reader())
    except NoLakeError:
        return log, None
    LakeWriter(lake.objects, log, context.now_ms).check_log(lake.state)
    return log, lake


def days_asked(
    context: ProjectContext, first: date | None, last: date | None, zone: str, log: Log
) -> tuple[date, date]:
    """The days that are asked for; where they are not named, those up to the newest event. Raises: UsageError."""
    begin, end = day_named(first, "the first day"), day_named(last, "the last day")
    if end is None:
        newest_ms = log.watermark_ms()
        end = day_at(context.now_ms() if newest_ms is None else newest_ms, zone)
    return end - timedelta(DAYS - 1) if begin is None else begin, end


def is_served(context: ProjectContext) -> bool:
    """Whether a service asks, whose other callers wait meanwhile: then an answer reads only so many events."""
    return context.desk is not None
