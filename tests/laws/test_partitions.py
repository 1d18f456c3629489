"""The law of several partitions: what waits in them is decided as if it had come in one, in order of event time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings

from shroff.errors import StorageError
from shroff.events.event import time_text
from shroff.events.formats.encodings import read_stream
from shroff.events.intake import Intake
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions
from shroff.streams.merge import merge_of
from shroff.worker.ingest import ingest
from shroff.worker.serving import multi_source, source_reader
from shroff.worker.serving import source_loop as working_lead
from shroff.worker.serving import worker as working
from shroff.worker.serving.counts import WorkerOptions
from shroff.worker.serving.multi_source import SeveralSources
from shroff.worker.serving.worker import Worker
from tests.laws.projects import SEEDS
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog
from tests.support.projects import definitions
from tests.support.source_memory import MemorySource, MemoryTopic, MergingMemorySource
from tests.worker.test_working import Place, decisions

NOON_MS = 1_772_366_400_000
PROJECT: Mapping[str, str] = {
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, payee: text, amount: money }
entities:
  card: { payment: card }
  payee: { payment: payee }
""",
    "features.yaml": """
card:
  spent_1m: sum(payment.amount) over 1m
payee:
  payers_5s: distinct(payment.card) over 5s including this
  payers_10m: distinct(payment.card) over 10m including this
  last_1h: last(payment.amount) over 1h
  mean_1d: mean(payment.amount) over 1d
  frauds_7d: count(label where label.verdict == 'fraud') over 7d
""",
    "rules/large.yaml": """
- id: mule
  on: payment
  by: payee
  when: payee.payers_10m >= 3
  reason: "{payee.payers_10m} payers"
  effect: decline
- id: after_mule
  on: payment
  by: payee
  when: count(payment) since flag >= 2
  reason: again
  effect: review
""",
}
Decisions = list[tuple[str, str]]  # ids with their receipts
SPANS_MS = (1_000, 30_000, 3_600_000, 5 * 86_400_000)


@pytest.fixture(autouse=True, scope="module")
def _no_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(working, "PAUSES_S", (0.0, 0.0))
        patch.setattr(working_lead, "IDLE_S", 0.0)
        patch.setattr(source_reader, "PAUSES_S", (0.0, 0.0))
        yield


def backlog(drawn: Random) -> dict[str, list[tuple[int, bytes]]]:
    """Payments and labels with their times in partitions by card, each partition in order of time."""
    parts: dict[str, list[tuple[int, bytes]]] = {"t/0": [], "t/2": [], "t/10": []}
    span_ms = drawn.choice(SPANS_MS)
    times_ms = sorted(NOON_MS + drawn.randrange(span_ms + 1) for _ in range(drawn.randrange(60)))
    for number, at_ms in enumerate(times_ms):
        at_ms -= at_ms % drawn.choice((1, 1, 1_000))
        card = drawn.randrange(6)
        part = sorted(parts)[card % 3]
        at_ms = max(at_ms, parts[part][-1][0] if parts[part] else 0)
        told: dict[str, Any] = {"id": f"p{number}", "at": time_text(at_ms), "card": f"c{card}", "amount": "5.00"}
        told = {"payment": told | {"payee": drawn.choice("mn")}}
        if number and drawn.random() < 0.1:
            known = {"event": f"payment/p{drawn.randrange(number)}", "verdict": "fraud", "source": "chargeback"}
            told = {"label": known | {"known_at": time_text(at_ms)}}
        parts[part].append((at_ms, msgspec.json.encode(told)))
    return parts


@cache
def made() -> Definitions:
    return definitions(PROJECT)


class Bank(Place):
    """A place for this project; a commit fails where `fails` says so."""

    def __init__(self, folder: str, fails: Callable[[], bool] = lambda: False) -> None:
        super().__init__(Path(folder))
        self.on_append = lambda batch: self._refuse() if batch.decisions and fails() else None

    def _refuse(self) -> None:
        raise StorageError("the disk is gone")

    def definitions(self) -> Definitions:
        return made()

    def intake(self) -> Intake:
        return Intake(made().events, made().settings, None)


def ingested(messages: Sequence[bytes]) -> Decisions:
    """The decisions of one file."""
    with TemporaryDirectory() as folder:
        place = Bank(folder)
        lines = read_stream(BytesIO(b"".join(message + b"\n" for message in messages)), "jsonl")
        ingest(Writer(MemoryLog(place.store), made(), place.now_ms), place.intake().submissions(lines, "file", None))
        return decisions(place.log)


def late_or_again(parts: Mapping[str, list[tuple[int, bytes]]], drawn: Random) -> dict[str, list[bytes]]:
    """The messages of partitions, some of which come later than others behind them, or a second time."""
    found = {}
    for name, lines in parts.items():
        sent = [message for _, message in lines]
        for begin in range(drawn.randrange(8), len(sent), 8):
            some = slice(begin, begin + drawn.randrange(8))
            moved, left = sent[some], sent[: some.start] + sent[some.stop :] if drawn.random() < 0.5 else sent
            sent = left[: begin + 8] + moved + left[begin + 8 :]
        found[name] = sent
    return found


def taken(topic: MemoryTopic, drawn: Random, fails: float = 0.05, sizes: Sequence[int] = (1, 3, 64)) -> Decisions:
    """The decisions of two workers, one after the other, that fetch as it is drawn, and whose commits fail at times."""
    failing = Random(drawn.random())  # of its own: commits are on a thread of theirs
    with TemporaryDirectory() as folder:
        place = Bank(folder, lambda: failing.random() < fails)
        for limit in (drawn.randrange(1, 20), None):
            merge = merge_of(made().events, made().settings, "jsonl")
            options = WorkerOptions(drawn.choice(sizes), until_idle_s=0.0, limit=limit)
            Worker(place, MemorySource(topic, random=drawn, merge=merge), options).run()
        return decisions(place.log)


def taken_at_once(topics: Mapping[str, MemoryTopic], drawn: Random, fails: float = 0.05) -> Decisions:
    """The same of workers that read several sources, some of which cannot be reached at times."""
    failing = Random(drawn.random())
    with TemporaryDirectory() as folder:
        place = Bank(folder, lambda: failing.random() < fails)
        for limit in (drawn.randrange(1, 20), None):
            sources = {}
            for name, topic in topics.items():
                topic.away_for = drawn.choice((0, 0, 2))
                merge = merge_of(made().events, made().settings, "jsonl")
                sources[name] = MergingMemorySource(topic, "memory", merge, Random(drawn.random()))
            options = WorkerOptions(drawn.choice((1, 3, 64)), until_idle_s=0.0, limit=limit)
            with closing(SeveralSources(sources)) as source, pytest.MonkeyPatch.context() as patch:
                patch.setattr(multi_source, "ROUND_S", drawn.choice((0.0, 0.1)))  # at 0 each answer is late
                Worker(place, source, options).run()
        return decisions(place.log)


@given(SEEDS)
@settings(max_examples=examples(25, usual=8), phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_what_waits_in_several_partitions_is_decided_as_one_file_in_order_of_time(seed):
    drawn = Random(seed)
    parts = backlog(drawn)
    in_order = sorted(
        (at_ms, int(name[2:]), place, message)  # at equal times by the number of the partition, and as they lie in it
        for name, lines in parts.items()
        for place, (at_ms, message) in enumerate(lines)
    )
    topic = MemoryTopic({name: [message for _, message in lines] for name, lines in parts.items()})

    assert taken(topic, drawn) == ingested([message for *_, message in in_order])


@given(SEEDS)
@settings(max_examples=examples(15, usual=6), phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_what_is_late_or_sent_again_is_decided_in_one_order_however_often_it_is_begun_again(seed):
    drawn = Random(seed)
    topic = MemoryTopic(late_or_again(backlog(drawn), drawn))

    assert taken(topic, drawn, 0.2, (1, 3)) == taken(topic, drawn, 0.0, (64,))


@given(SEEDS)
@settings(max_examples=examples(15, usual=6), phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_what_waits_in_several_sources_is_decided_as_one_file_in_order_of_time(seed):
    drawn = Random(seed)
    parts = backlog(drawn)
    in_order = sorted(
        (at_ms, int(name[2:]), place, message)
        for name, lines in parts.items()
        for place, (at_ms, message) in enumerate(lines)
    )
    topics: dict[str, MemoryTopic] = {}
    for name, lines in parts.items():
        topic = topics.setdefault(drawn.choice(("cards", "app", "branch")), MemoryTopic({}))
        topic.parts[name] = [message for _, message in lines]

    assert taken_at_once(topics, drawn) == ingested([message for *_, message in in_order])


@given(SEEDS)
@settings(max_examples=examples(10, usual=5), phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_what_is_late_in_several_sources_is_decided_in_one_order_however_often_they_are_begun_again(seed):
    drawn = Random(seed)
    sent = late_or_again(backlog(drawn), drawn)
    topics = {name[2:]: MemoryTopic({name: lines}) for name, lines in sent.items()}

    assert taken_at_once(topics, drawn, 0.2) == taken(MemoryTopic(sent), drawn, 0.0, (64,))
