"""Numbers of texts in a service that runs for months: a batch costs what its events do, and memory has a bound."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from shroff.events.formats.wire import JsonDecoder
from shroff.events.intake import Intake
from shroff.features.frames import Coded, Codes, ColumnFrame, Dictionary
from shroff.log.columns import lines
from shroff.log.columns.lines import EventRun
from shroff.log.columns.read_lines import kernels
from shroff.log.columns.text_codes import BESIDE
from shroff.streams.source import PolledMessages
from shroff.worker.request_bodies import RequestReader
from shroff.worker.serving.message_decoder import MessageDecoder
from tests.support.projects import NOW_MS, definitions

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, shop: text?, amount: money }
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text?, device: text? }
entities:
  card: { payment: card, login: card }
  pair: { payment: [card, shop] }
"""
PROJECT = definitions({"events.yaml": EVENTS})
INTAKE = Intake(PROJECT.events, PROJECT.settings, None)
LINES = {
    "payment": '{"id":"p%d","at":"2026-03-01T12:00:00Z","card":"card-%d","shop":"shop-%d","amount":"5.00"}',
    "login": '{"id":"l%d","at":"2026-03-01T12:00:00Z","card":"card-%d","device":"device-%d"}',
}
KNOWN = 10_000
BATCHES = 50


@pytest.mark.parametrize("entity", ["card", "pair"])
def test_new_keys_cost_a_batch_what_they_are_and_not_what_is_known(entity: str):
    cards, shops = (Dictionary([f"{name}-{at}" for at in range(KNOWN)]) for name in ("card", "shop"))
    codes, made = Codes(), list[int]()

    def decided(rows: range) -> None:
        texts = np.array(rows, np.int32)
        columns = {"card": Coded(texts, cards), "shop": Coded(texts, shops)}
        times, places = np.zeros(len(rows), np.int64), np.arange(len(rows))
        frame = ColumnFrame(PROJECT.events.types["payment"], columns, times, places, PROJECT.events, PROJECT.reference)
        assert frame.key_codes(entity, codes).tolist() == list(rows)

    decided(range(KNOWN))
    tracemalloc.start()
    try:
        for known in range(KNOWN, KNOWN + BATCHES):
            cards.values.append(f"card-{known}")
            shops.values.append(f"shop-{known}")
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            decided(range(known, known + 1))
            made.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()

    assert sorted(made)[-5] < KNOWN  # bytes; a few batches make room for many


@pytest.mark.parametrize("door", ["lists", "messages"])
def test_numbered_texts_of_all_types_together_have_a_bound(monkeypatch: pytest.MonkeyPatch, door: str):
    for kernel in kernels():
        kernel.keep()
    most, size = 200_000, lines.LIVE_MIN
    monkeypatch.setattr(lines, "LIVE_TEXTS_BYTES_MAX", most)
    reader, decoder = RequestReader(PROJECT, INTAKE, lambda: NOW_MS), JsonDecoder()
    inflow = MessageDecoder(INTAKE, PROJECT, lambda: NOW_MS, is_live=True)
    numbered, sizes = dict[tuple[str, str], Dictionary](), list[int]()
    for first in range(0, 15 * size, size):
        for type_, line in LINES.items():
            raws = [(line % (at, at, at)).encode() for at in range(first, first + size)]
            if door == "lists":
                run, _ = reader.many(type_, b"\n".join(raws), "me", are_lines=True)
            else:
                messages = [decoder.line(at, raw) for at, raw in enumerate(raws)]
                run = inflow.submissions([PolledMessages(f"read/a/{type_}/0", type_, "jsonl", messages, "")])
            assert isinstance(run, EventRun)
            assert [item.sent and item.sent.id for item in run] == run.ids
            coded = {name: column for name, column in run.columns[type_].items() if isinstance(column, Coded)}
            assert len(coded) == 2
            numbered |= {(type_, name): column.dictionary for name, column in coded.items()}
            sizes.append(sum(len(text) + BESIDE for item in numbered.values() for text in item.values))

    assert most / 2 < max(sizes) < most + 4 * size * (BESIDE + 12)  # each field may be over its share by a batch
