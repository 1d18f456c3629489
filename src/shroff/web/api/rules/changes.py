"""Changed files applied by a service by itself, where it watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from shroff.config import file_stamps
from shroff.errors import DefinitionError, ShroffError
from shroff.runtime.texts import many
from shroff.services.apply.deployment import ApplyFiles

if TYPE_CHECKING:
    from shroff.log.active_files import FileDifference
    from shroff.web.service import Service

WATCH_S = 1.0  # between looks at the files; a file unchanged since the last look is complete


async def keep_applied(service: Service, every_s: float = WATCH_S) -> None:
    """Apply changes of files by itself, once they are complete, until it is canceled. A failure is reported once."""
    stamps = partial(file_stamps, service.project.context.paths.folder)
    stamp = done = stamps()
    told = ""
    while True:
        await asyncio.sleep(every_s)
        before = stamp
        stamp = await service.in_thread(stamps)
        if stamp != before or stamp == done or not service.is_ready:
            continue
        done = stamp
        words, is_active = await _apply_now(service)
        if words and words != told:
            service.tell(words)
        told = "" if is_active else words


async def _apply_now(service: Service) -> tuple[str, bool]:
    try:
        found = await service.in_thread(service.project.versions.unapplied)
        if not any(change.takes == "now" for change in found):
            return (f"changed files wait for a restart: {_named(found)}" if found else ""), False
        done = await service.operations.run(service.project.context.who, ApplyFiles())
    except DefinitionError as error:
        return (
            f"changed files have {many(len(error.problems), 'mistake')} and are not active: {error.problems[0]}",
            False,
        )
    except ShroffError as error:
        return f"changed files are not active: {error}", False
    if done.why_not:
        return f"changed files are not active: {done.why_not}", False
    return f"active now: {_named(found)}{f', from sequence number {done.seq:,} on' if done.seq else ''}", True


def _named(found: Sequence[FileDifference]) -> str:
    return ", ".join(change.file for change in found)
