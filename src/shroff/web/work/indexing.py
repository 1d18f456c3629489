"""The index by key is kept up beside the service, by another process: what is decided here waits for none of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Final

from shroff.errors import ShroffError
from shroff.explain.key_index import PLACES

if TYPE_CHECKING:
    from shroff.web.service import Service

EVERY_S: Final = 15.0
DUE: Final = 2 * PLACES  # so many have to lack: a process that indexes takes half a second to start
PAUSE: Final = 40  # times as long where a try led to nothing: a disk is full, say


async def keep_indexed(service: Service, every_s: float = EVERY_S) -> None:
    """Have the index follow the log, until it is cancelled."""
    wait_s = every_s
    while True:
        await asyncio.sleep(wait_s)
        wait_s = every_s
        if service.is_ready and (before := await service.in_thread(_lacks, service)) >= DUE:
            await _index(service)
            wait_s = every_s if await service.in_thread(_lacks, service) < before else PAUSE * every_s


def _lacks(service: Service) -> int:
    project = service.project
    try:
        with project.opened.reading() as log:
            return project.history.key_index(project.definitions).lacks(log)
    except ShroffError:  # whoever asks for a page is told
        return 0


async def _index(service: Service) -> None:
    words = (sys.executable, "-m", "shroff", "-C", str(service.project.opened.places.folder), "index")
    # Not by the loop: uvloop copies this process to begin another one, for which every event would wait 30 ms.
    process = await asyncio.to_thread(_begun, words)
    try:
        await asyncio.to_thread(process.wait)
    finally:
        process.terminate()  # which its thread then sees; nothing, where it has ended


def _begun(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Begin a program, alone in its session (see `runtime.process_wide`)."""
    return subprocess.Popen(  # noqa: S603 - this program
        words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    )
