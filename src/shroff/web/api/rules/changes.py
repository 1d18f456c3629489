"""Apply changed files of a project automatically, for a service that watches its folder."""

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

WATCH_S = 1.0  # between scans; files that did not change since the last scan are complete


async def keep_applied(service: Service, every_s: float = WATCH_S) -> None:
    """Apply complete changes of files until canceled. Each failure is reported once."""
    stamps = partial(file_stamps, service.project.context.paths.folder)
    stamp = stamps()
    done = stamp
    last_message = ""
    while True:
        await asyncio.sleep(every_s)
        previous = stamp
        stamp = await service.in_thread(stamps)
        if stamp != previous or stamp == done or not service.is_ready:
            continue
        done = stamp
        message, is_active = await _apply_now(service)
        if message and message != last_message:
            service.tell(message)
        last_message = "" if is_active else message


async def _apply_now(service: Service) -> tuple[str, bool]:
    try:
        differences = await service.in_thread(service.project.versions.unapplied)
        if not any(change.takes == "now" for change in differences):
            return (f"changed files wait for a restart: {_named(differences)}" if differences else ""), False
        result = await service.operations.run(service.project.context.who, ApplyFiles())
    except DefinitionError as error:
        return (
            f"changed files have {many(len(error.problems), 'mistake')} and are not active: {error.problems[0]}",
            False,
        )
    except ShroffError as error:
        return f"changed files are not active: {error}", False
    if result.why_not:
        return f"changed files are not active: {result.why_not}", False
    return f"active now: {_named(differences)}{f', from sequence number {result.seq:,} on' if result.seq else ''}", True


def _named(found: Sequence[FileDifference]) -> str:
    return ", ".join(change.file for change in found)
