"""A service on a project with a live source: posts and messages are decided by one writer, each once."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.engine.step import Engine, SequencedBatch
from shroff.errors import UsageError
from shroff.log.batch_classifier import BatchClassifier
from shroff.log.columns.lines import LIVE_MIN, EventRun
from shroff.log.columns.read_lines import kernels
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory
from shroff.worker.request_queue import RequestQueue
from shroff.worker.serving import multi_source, source_reader
from tests.support.log_memory_parts import quarantined
from tests.support.source_memory import MemorySource, MemoryTopic
from tests.support.webs import Asker, Browser, asker
from tests.support.webs import run as run_signed_in

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PARTS = ("payments/0", "payments/1")
WAITS_S = 120.0
Steps = Callable[[Asker], Awaitable[None]]


def payment(number: int) -> dict[str, object]:
    return {
        "payment_id": f"p-{number}",
        "paid_at": f"2026-01-05T{number // 60 % 24:02d}:{number % 60:02d}:00Z",
        "card": f"c-{number % 7}",
        "merchant": "m-00007",
        "terminal": "t-00019",
        "amount": "24.90",
        "country": "DE",
        "channel": "pos",
    }


def messages(first: int, count: int) -> list[bytes]:
    return [msgspec.json.encode(payment(number)) for number in range(first, first + count)]


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> MemoryTopic:
    found = MemoryTopic({part: [] for part in PARTS}, "payment")
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(found, name="kafka"))
    monkeypatch.setattr(source_reader, "PAUSES_S", (0.01, 0.1))
    return found


@pytest.fixture
def bank(tmp_path: Path, topic: MemoryTopic) -> Path:
    folder = shutil.copytree(TEMPLATE, tmp_path / "bank")
    text = re.sub(r"(?m)^(lateness|source):.*$", "", (folder / "shroff.yaml").read_text())
    (folder / "shroff.yaml").write_text(f"{text}\nlateness: 60d\nsource: kafka://127.0.0.1:9/payments\n")
    return folder


def run(folder: Path, steps: Steps) -> None:
    async def whole() -> None:
        async with asker(folder) as asks:
            await steps(asks)

    asyncio.run(whole())


async def until(asks: Asker, is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAITS_S
    while not is_so():
        assert time.monotonic() < end_s, (asks.told, asks.service.work.waits_for)
        await asyncio.sleep(0.01)


async def reached(asks: Asker, count: int) -> None:
    """Wait until so many were decided."""
    await until(asks, lambda: asks.service.work.counts.decisions >= count)


def stored(folder: Path) -> tuple[list[str], dict[str, str], list[bytes]]:
    """What the log has: the ids that were decided, how far the source was read, and what was refused."""
    with app.open_exactly(folder).log.reading() as log:
        ids = sorted(row.id for rows in log.decisions.after() for row in rows)
        return (ids, log.offsets.of("kafka"), [entry.raw for _, entry in quarantined(log)])


def test_messages_are_decided_beside_posts_and_each_of_them_once(bank, topic):
    topic.send(PARTS[0], *messages(0, 900))
    topic.send(PARTS[1], *messages(900, 400))

    async def steps(asks: Asker) -> None:
        posted = [
            asyncio.create_task(asks.ask("POST", "/api/v1/events/payment", payment(number)))
            for number in range(1_300, 1_340)
        ]
        assert {(await item).status for item in posted} == {200}
        again = await asks.ask("POST", "/api/v1/events/payment", payment(1_300))
        await reached(asks, 1_340)
        topic.send(PARTS[0], *messages(1_340, 5), *messages(1_300, 1))  # the last one was posted before
        await reached(asks, 1_345)
        assert again.json()["id"] == "p-1300"

    run(bank, steps)
    ids, offsets, refused = stored(bank)

    assert ids == sorted(f"p-{number}" for number in range(1_345))
    assert (offsets, refused) == ({PARTS[0]: "906", PARTS[1]: "400"}, [])
    assert app.open_exactly(bank).verify(["online"]).mismatches == 0


def test_the_next_service_goes_on_where_this_one_was(bank, topic):
    topic.send(PARTS[0], *messages(0, 30))
    run(bank, lambda asks: reached(asks, 30))
    topic.send(PARTS[0], *messages(30, 12))
    run(bank, lambda asks: reached(asks, 12))

    assert stored(bank)[:2] == (sorted(f"p-{number}" for number in range(42)), {PARTS[0]: "42"})


def test_a_message_that_cannot_be_read_is_kept_sent_on_and_the_next_ones_decided(bank, topic):
    topic.send(PARTS[0], b"{ no JSON", *messages(0, 3))

    async def steps(asks: Asker) -> None:
        await reached(asks, 3)
        await until(asks, lambda: bool(topic.letters))

    run(bank, steps)

    assert stored(bank)[2] == [b"{ no JSON"]
    assert [letter.raw for letter in topic.letters] == [b"{ no JSON"]


def test_a_source_that_is_away_holds_up_no_post_and_is_read_when_it_is_back(bank, topic):
    topic.away_for = 10**9
    topic.send(PARTS[0], *messages(0, 3))

    async def steps(asks: Asker) -> None:
        assert (await asks.ask("POST", "/api/v1/events/payment", payment(10))).status == 200
        await until(asks, lambda: any("waiting for the source" in notice for notice in asks.told))
        assert "waiting for the source" in asks.service.work.waits_for
        topic.away_for = 0
        await reached(asks, 4)
        assert asks.service.work.waits_for == ""

    run(bank, steps)


def test_a_message_that_the_program_fails_at_is_found_and_all_others_are_decided(bank, topic, monkeypatch):
    take = BatchClassifier._event

    def fails(draft: BatchClassifier, submission, event):
        if event.id == "p-17":
            raise ZeroDivisionError
        return take(draft, submission, event)

    monkeypatch.setattr(BatchClassifier, "_event", fails)
    topic.send(PARTS[0], *messages(0, 40))
    run(bank, lambda asks: reached(asks, 39))
    ids, offsets, refused = stored(bank)

    assert "p-17" not in ids
    assert (len(ids), offsets[PARTS[0]], len(refused)) == (39, "40", 1)


def test_an_event_of_a_long_list_that_the_engine_fails_at_is_found_and_all_others_are_decided(bank, topic, monkeypatch):
    for kernel in kernels():
        kernel.keep()
    step, failed, cut = Engine.step, list[tuple[bool, int]](), list[int]()
    part = EventRun.__getitem__

    def fails(engine: Engine, batch):
        is_run = isinstance(batch, SequencedBatch)
        if "p-17" in (batch.ids if is_run else [record.event.id for record in batch]):
            failed.append((is_run, len(batch)))
            raise ZeroDivisionError
        return step(engine, batch)

    def noted(run: EventRun, at):
        found = part(run, at)
        cut.extend([len(found)] if isinstance(found, EventRun) and len(found) < len(run) else [])
        return found

    monkeypatch.setattr(Engine, "step", fails)
    monkeypatch.setattr(EventRun, "__getitem__", noted)
    answers = list[object]()

    async def steps(asks: Asker) -> None:
        found = await asks.ask("POST", "/api/v1/events/payment", [payment(number) for number in range(LIVE_MIN)])
        answers.extend(found.json())

    run(bank, steps)

    assert [at for at, answer in enumerate(answers) if "outcome" not in answer] == [17]
    assert stored(bank)[0] == sorted(f"p-{number}" for number in range(LIVE_MIN) if number != 17)
    assert (failed[0], failed[-1][1], set(cut) >= {LIVE_MIN // 16, 1}) == ((True, LIVE_MIN), 1, True), (failed, cut)


def test_a_source_that_cannot_be_read_on_is_told_and_posts_go_on(bank, topic):
    topic.send(PARTS[0], *messages(0, 9))
    run(bank, lambda asks: reached(asks, 9))
    topic.send(PARTS[0], *messages(9, 9))
    topic.gone[PARTS[0]] = 12

    async def steps(asks: Asker) -> None:
        assert (await asks.ask("POST", "/api/v1/events/payment", payment(30))).status == 200
        await until(asks, lambda: "3 messages of payments/0 behind offset 9" in asks.service.work.waits_for)
        assert b"shroff_source_waiting" in (await asks.ask("GET", "/metrics")).body

    run(bank, steps)


def test_a_source_is_left_where_that_was_asked_for(bank, topic, monkeypatch):
    def opened(*_: object) -> MemorySource:
        raise UsageError("it was opened")

    monkeypatch.setattr(AdapterFactory, "open_source", opened)
    project, asked = app.open_exactly(bank), (RequestQueue(lambda _: None), lambda _: None, lambda *_: None)
    with project.live.answerer(*asked, reads_source=False) as answerer:
        assert answerer.work.offsets == {}
    with pytest.raises(UsageError, match="it was opened"), project.live.answerer(*asked):
        pass


def test_a_service_reads_several_sources_and_its_screen_and_metrics_show_one_that_fails(bank, topic, monkeypatch):
    monkeypatch.setattr(source_reader, "PATIENCE_S", 0.05)
    monkeypatch.setattr(multi_source, "NOTED_S", 0.0)
    away = MemoryTopic({"logins": []}, "payment", away_for=1_000_000)
    found = {"kafka": MemorySource(topic, name="kafka"), "redis": MemorySource(away, name="redis")}
    monkeypatch.setattr(AdapterFactory, "open_source", lambda _, system: found[system.kind])
    text = (bank / "shroff.yaml").read_text().replace("source: kafka://127.0.0.1:9/payments\n", "")
    read = "sources:\n  cards: { kafka: { brokers: 'b:9', topics: { payment: payments } } }\n"
    read += "  app: { redis: { url: 'redis://r:9/0', streams: { payment: logins } } }\n"
    (bank / "shroff.yaml").write_text(text + read)
    topic.send(PARTS[0], *messages(0, 30))

    async def steps(asks: Asker, browser: Browser) -> None:
        await reached(asks, 30)
        views = asks.service.project.source.named
        await until(asks, lambda: [bool(view.counts.failing) for view in views()] == [False, True])
        page = (await browser.get("/sources")).body.decode()
        assert "2 sources are read continuously; <b>1</b> source is failing" in page
        assert re.search(r"Failing since .*: The topic in memory cannot be reached\. Check that it runs", page)
        measured = (await browser.get("/metrics")).body.decode()
        assert 'shroff_source_failing{source="app"} 1.0' in measured
        assert 'shroff_source_failing{source="cards"} 0.0' in measured
        away.away_for = 0
        await until(asks, lambda: not any(view.counts.failing for view in views()))
        assert "Failing" not in (await browser.get("/sources")).body.decode()

    run_signed_in(bank, steps)

    with app.open_exactly(bank).log.reading() as log:
        assert log.offsets.of("read") == {f"read/cards/{PARTS[0]}": "30"}
