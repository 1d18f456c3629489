"""What first visits pay for is done before them, where few events come; and first reasons are made ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import current_thread
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from shroff.errors import StorageError
from shroff.web.pages.renderer import environment
from shroff.web.work import warmup
from tests.support.webs import Asker, Browser
from tests.web.test_live import bank, payment, post, run

__all__ = ["bank"]


def done_with(
    monkeypatch: pytest.MonkeyPatch, *came: int, steps: list[Callable[[], object]], is_ending: bool = False
) -> list[str]:
    """Let these steps be done while so many events come before each look; gives what was told."""
    told, left = list[str](), list(came)

    async def coming(_service: Any, _within_s: float) -> int:
        if not left:
            raise asyncio.CancelledError
        return left.pop(0)

    monkeypatch.setattr(warmup, "BEGIN_S", 0.0)
    monkeypatch.setattr(warmup, "_came", coming)
    monkeypatch.setattr(warmup, "steps", lambda _service: iter(steps))
    monkeypatch.setattr(warmup, "ask_ahead", lambda _service, found: steps.append(found))
    with suppress(asyncio.CancelledError):
        asyncio.run(warmup.keep_warm(SimpleNamespace(is_ending=is_ending, tell=told.append)))
    return told


def test_each_step_waits_until_few_events_come_and_a_failure_stops_none(monkeypatch):
    done = list[str]()

    def fails(error: Exception) -> Callable[[], object]:
        def step() -> object:
            done.append(type(error).__name__)
            raise error

        return step

    steps = [fails(StorageError("no disk")), fails(ValueError("a bug")), lambda: done.append("last")]
    told = done_with(monkeypatch, 9, warmup.FEW + 1, warmup.FEW, 0, 7, 0, steps=steps)

    assert done == ["StorageError", "ValueError", "last"]
    assert len(steps) == 3  # nothing was asked ahead before all of them
    assert ["pages are not made ready" in str(notice) for notice in told] == [True]


def test_reasons_are_made_ahead_unless_so_many_events_come_that_nobody_reads_them(monkeypatch):
    asked = list[Any]()
    done_with(monkeypatch, warmup.FEW_IN_A_LOOK + 1, warmup.FEW_IN_A_LOOK, 0, steps=asked)

    assert asked == [warmup._newest] * 2


def test_a_step_keeps_no_process_from_ending_and_none_begins_then(monkeypatch):
    is_daemon = list[bool]()
    for is_ending in (False, True):
        steps = [lambda: is_daemon.append(current_thread().daemon)]
        done_with(monkeypatch, 0, steps=steps, is_ending=is_ending)

    assert is_daemon == [True]


@pytest.mark.parametrize(
    ("is_ready", "seq", "is_done"),
    [(True, warmup.HEAVY_MAX, True), (True, warmup.HEAVY_MAX + 1, False), (False, 0, False)],
)
def test_what_takes_long_is_left_out_on_standby_and_for_a_long_log(is_ready: bool, seq: int, is_done: bool):
    service = MagicMock(is_ready=is_ready, work=SimpleNamespace(seq=seq))
    service.board.is_behind = False
    looks = [step.func if isinstance(step, partial) else step for step in warmup.steps(service)]

    assert service.health.look in looks
    assert looks.count(service.project.run) == 2 * is_done


@pytest.mark.slow
def test_pages_are_made_ready_and_live_has_all_reasons_when_it_opens(bank: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(warmup, "BEGIN_S", 0.0)
    monkeypatch.setattr(warmup, "EVERY_S", 0.01)
    environment.cache_clear()

    async def steps(asks: Asker, browser: Browser) -> None:
        async def until(is_so: Callable[[], bool]) -> None:
            async with asyncio.timeout(120):
                while True:
                    if is_so():
                        return
                    await asyncio.sleep(0.01)

        reasons, asked = asks.service.reasons, set[tuple[str, str]]()
        tell = reasons.of

        def of(events: Iterable[tuple[str, str]], within_s: float | None) -> object:
            names = list(events)
            asked.update(names)
            return tell(names, within_s)

        monkeypatch.setattr(reasons, "of", of)
        await post(browser, payment(1, "2026-01-05T08:30:00Z", "1500.00"))
        chore = asyncio.create_task(warmup.keep_warm(asks.service))
        await until(lambda: ("payment", "p-1") in asked)
        made, templates = environment().cache, environment().list_templates(["html"])
        assert made is not None
        await until(lambda: len(made) >= len(templates) and not asks.service.board.is_behind)
        await post(browser, payment(2, "2026-01-05T08:31:00Z", "1600.00"))
        await until(lambda: ("payment", "p-2") in asked)
        chore.cancel()
        monkeypatch.setattr(reasons, "of", tell)
        await asyncio.to_thread(tell, sorted(asked), None)
        page = (await browser.get("/live")).body.decode()
        assert page.count("Paid at m-1") == len(asked) == 2
        assert "data-why" not in page
        assert asks.told == []

    run(bank, steps)
