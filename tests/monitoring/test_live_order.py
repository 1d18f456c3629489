"""What is said of live messages that may come out of order: by how much, and for which windows that matters."""

from __future__ import annotations

import re

import pytest

from shroff.log.writer import Writer
from shroff.monitoring.doctor import NOTE, OK
from shroff.monitoring.live_order import look_at_order, remarks, warnings_of
from shroff.project.definitions import load_definitions
from shroff.project.settings.system import System
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, payment

KAFKA = System("kafka", {"topics": {"payment": "p"}})
EVENTS = FILES["events.yaml"] + "  amount: { payment: amount }\n"
FEATURES = "card:\n  n_1s: count(payment) over 1s\namount:\n  n_{0}: count(payment) over {0}\n"


def made(window: str):
    files = FILES | {"events.yaml": EVENTS.replace("amount: money", "amount: text"), "rules/large.yaml": "[]\n"}
    return load_definitions(files | {"features.yaml": FEATURES.format(window)}).or_raise()


@pytest.mark.parametrize(
    "window, source, said",
    [
        ("1s", KAFKA, ["amount.n_1s"]),  # and card.n_1s is of the key of partitions
        ("2s", KAFKA, []),
        ("1s", System("redis", {}), []),
        ("1s", None, []),
    ],
)
def test_a_window_over_another_key_that_is_no_longer_than_live_messages_may_overtake_is_told(window, source, said):
    words = remarks(made(window), source)

    assert [word.split()[0] for word in words] == said
    assert [item.message for item in warnings_of(made(window), source)] == [f"{word}." for word in words]


@pytest.mark.parametrize(
    "minutes, state, words",
    [
        ([1, 2, 3], OK, "the last 3 events are in order of time"),
        ([1, 2, 1, 3], OK, "of the last 4 events 1 came behind a newer one, by 1m at most, and 99 % by 0ms at most"),
        ([9, 1, 2, 9], NOTE, "by 8m at most, and 99 % by 7m at most; windows .* are as short: amount.n_5m"),
    ],
)
def test_doctor_says_how_far_the_log_is_out_of_order_and_which_windows_are_as_short(minutes, state, words):
    log, definitions = MemoryLog(), made("5m")
    writer = Writer(log, definitions, lambda: NOW_MS)
    writer.write([payment(number, minute) for number, minute in enumerate(minutes)])
    (found,) = look_at_order(log, definitions, KAFKA)

    assert (found.subject, found.state) == ("order", state)
    assert re.search(words, found.words)
    assert list(look_at_order(log, definitions, None)) == []
