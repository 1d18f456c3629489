"""Tests of the contract of live sources: subclass `SourceContract`."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import ClassVar

import pytest

from shroff.errors import StateError
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.json_types import TextDict, TextMapping
from shroff.streams.log import Refused
from shroff.streams.merge import Merge
from shroff.streams.source import Source
from shroff.testing.contracts.promises import Contract, promise
from shroff.testing.contracts.source_messages import (
    HOUR_MS,
    UNREADABLE,
    AwayAtTimes,
    lines,
    message,
    messages,
    moment,
    numbers,
    offsets_of,
    places,
    read,
    read_from,
)

LONG_S = 120.0  # of a poll that is ended by a message long before


Opens = Callable[..., Source]


class Outside(ABC):
    """The system from which one test reads. It has at least two empty parts, and receives dead letters.

    `parts` are the parts' names as in `PolledMessages.part`.
    """

    parts: list[str]

    @abstractmethod
    def put(self, part: str, values: Sequence[bytes]) -> None:
        """Add messages to a part; a source can read them when this returns."""

    @abstractmethod
    def open(self, decoder: Decoder, merge: Merge) -> Source:
        """Return a new source of all parts, not started, as a new process would make it."""

    @abstractmethod
    def remove_first(self, part: str, count: int) -> None:
        """Remove the first messages of a part, as retention does."""

    @abstractmethod
    def dead_letters(self) -> list[Mapping[str, bytes]]:
        """Dead letters received: `source`, `place`, `type`, `reason`, and `raw` for the bytes."""

    def add_part(self) -> str:
        """Add a part; return its name."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Remove everything that the test made."""


class SourceContract(Contract):
    """The contract of sources. A subclass implements `make_outside`.

    `many` is the number of messages in tests of many messages. Set a smaller number for a slow system.
    """

    many: ClassVar[int] = 3_000

    @abstractmethod
    def make_outside(self) -> Outside:
        """Make the system that the sources of one test read."""

    @pytest.fixture
    def outside(self) -> Iterator[Outside]:
        made = self.make_outside()
        yield made
        made.close()

    @pytest.fixture
    def open(self, outside: Outside) -> Iterator[Opens]:
        opened: list[Source] = []

        def open_(decoder: Decoder | None = None) -> Source:
            opened.append(outside.open(decoder or JsonDecoder(), Merge(lambda _: moment)))
            return opened[-1]

        yield open_
        for source in opened:
            source.close()

    @pytest.fixture
    def start(self, open: Opens) -> Opens:
        return partial(started, open)

    # Reading

    @promise("keeps the order of a part")
    @pytest.mark.parametrize("limit", [1, 7, 4_096])
    def test_messages_of_a_part_come_once_and_in_their_order(self, outside: Outside, start: Opens, limit: int) -> None:
        count = 60 if limit == 1 else self.many
        for at, part in enumerate(outside.parts):
            outside.put(part, messages(count + at))
        source = start()
        found = read(source, sum(count + at for at in range(len(outside.parts))), limit)

        for at, part in enumerate(outside.parts):
            assert numbers(found, part) == list(range(count + at))

    def test_a_poll_gives_no_more_than_its_limit(self, outside: Outside, start: Opens) -> None:
        for part in outside.parts:
            outside.put(part, messages(20))
        source = start()
        read(source, 10, limit=3, is_all=False)
        for limit in (1, 2, 5, 1):
            assert len(lines(source.poll(limit, 5.0))) <= limit

    @promise("keeps the order of a part")
    def test_lines_have_the_bytes_that_were_sent_and_places_of_their_own(self, outside: Outside, start: Opens) -> None:
        part = outside.parts[0]
        sent = [message(n, text="é\n " * n) for n in range(50)]
        outside.put(part, sent)
        source = start()
        found = lines(read(source, 50))

        assert [line.raw for line in found] == sent
        assert len({line.place for line in found}) == 50

    def test_what_comes_later_is_read_too(self, outside: Outside, start: Opens) -> None:
        source = start()
        for n in range(4):
            for part in outside.parts:
                outside.put(part, [message(n)])
                assert numbers(read(source, 1), part) == [n]

    def test_a_part_with_few_messages_does_not_wait_for_one_with_many(self, outside: Outside, start: Opens) -> None:
        many, few = outside.parts[:2]
        count = self.many * 5 // 3
        outside.put(many, messages(count))
        outside.put(few, messages(3))
        source = start()
        found = read(source, count + 3, limit=count // 50)

        last = max(at for at, chunk in enumerate(found) if chunk.part == few)
        assert len(lines([chunk for chunk in found[:last] if chunk.part == many])) < count // 2

    # Looking

    @promise("counts what waits")
    def test_a_look_counts_what_waits_and_takes_nothing(self, outside: Outside, open: Opens) -> None:
        first, second = outside.parts[:2]
        outside.put(first, messages(9))
        outside.put(second, messages(3))
        source = open()
        before = {look.part: look.waiting for look in source.look({})}
        source.start({})
        offsets = offsets_of(read(source, 12))
        outside.put(first, messages(9, 11))
        behind = {look.part: (look.waiting, look.trouble) for look in source.look(offsets)}

        assert (before[first], before[second]) == (9, 3)
        assert (behind[first], behind[second], source.health().lag) == ((2, ""), (0, ""), 2)
        assert numbers(read(source, 2), first) == [9, 10]

    @promise("tells of messages that are gone")
    def test_a_look_tells_where_messages_are_gone(self, outside: Outside, open: Opens, start: Opens) -> None:
        part, other = outside.parts[:2]
        outside.put(part, messages(10))
        source = start()
        offset = read(source, 4, limit=4, is_all=False)[-1].offset
        outside.remove_first(part, 7)
        found = {look.part: look.trouble for look in open().look({part: offset})}

        assert ("3" in found[part], found[other]) == (True, "")

    # Offsets

    @promise("reads on from any offset")
    def test_reading_goes_on_exactly_behind_any_offset(self, outside: Outside, start: Opens) -> None:
        first, second = outside.parts[:2]
        for part in (first, second):
            outside.put(part, messages(30))
        source = start()
        seen: list[tuple[TextDict, dict[str, int]]] = []
        offsets: TextDict = {}
        counts = dict.fromkeys(outside.parts, 0)
        while sum(counts.values()) < 60:
            for taken in source.poll(1, 5.0):
                offsets[taken.part] = taken.offset
                counts[taken.part] += len(taken.lines)
                seen.append((dict(offsets), dict(counts)))
        source.close()
        for stored, passed in seen[:: len(seen) // 8]:
            other = start(stored)
            found = read(other, 60 - sum(passed.values()))
            other.close()

            for part in (first, second):
                assert numbers(found, part) == list(range(passed[part], 30))

    @promise("reads on from any offset")
    def test_to_start_again_gives_again_what_was_polled_since(self, outside: Outside, start: Opens) -> None:
        part = filled_part(outside, 400)
        source = start()
        some = read(source, 100, limit=100, is_all=False)
        source.poll(50, 5.0)
        stored = offsets_of(some)
        count = len(lines(some))
        for _ in range(3):
            source.start(stored)
            assert numbers(read(source, 400 - count), part) == list(range(count, 400))
        source.start({})
        assert numbers(read(source, 400), part) == list(range(400))

    @promise("reads on from any offset")
    def test_nothing_is_read_twice_where_a_part_was_read_to_its_end(self, outside: Outside, start: Opens) -> None:
        part = outside.parts[0]
        outside.put(part, [message(0)])
        source = start()
        stored = offsets_of(read(source, 1))
        source.close()
        other = start(stored)

        assert lines(other.poll(10, 1.0)) == []
        outside.put(part, [message(1)])
        assert numbers(read(other, 1), part) == [1]

    @promise("reads on from any offset")
    def test_what_is_passed_is_a_hint_that_loses_nothing(self, outside: Outside, start: Opens) -> None:
        part = filled_part(outside, 20)
        source = start()
        source.acknowledge({})
        found = read(source, 20)
        for chunk in found:
            source.acknowledge({chunk.part: chunk.offset})
        source.close()
        other = start()

        assert numbers(read(other, 20), part) == list(range(20))

    @promise("reads on from any offset")
    def test_two_sources_read_everything_both(self, outside: Outside, open: Opens, start: Opens) -> None:
        part = filled_part(outside, 40)
        first_source = start()
        first = read(first_source, 10, limit=10, is_all=False)
        two = open()
        self.let_read(first_source, two)
        two.start({})
        one_name = first_source.name

        assert numbers(read(two, 40), part) == list(range(40))
        assert two.name == one_name != ""
        self.let_read(two, first_source)
        rest = read(first_source, 40 - len(lines(first)))
        assert numbers([*first, *rest], part) == list(range(40))

    def let_read(self, former: Source, latter: Source) -> None:
        """Let one source read instead of another, if only one may read at a time; else do nothing."""

    @promise("tells of messages that are gone")
    def test_messages_that_are_gone_behind_an_offset_are_told_by_their_count(
        self, outside: Outside, open: Opens, start: Opens
    ) -> None:
        part = filled_part(outside, 60)
        source = start()
        some = read(source, 10, limit=10, is_all=False)
        source.close()
        outside.remove_first(part, len(lines(some)) + 15)

        with pytest.raises(StateError, match=r"\b15\b.*(gone|removed)"):
            read_from(open(), offsets_of(some))

    @promise("knows a part that was recreated")
    def test_an_offset_behind_the_end_of_a_part_is_refused(self, outside: Outside, open: Opens, start: Opens) -> None:
        part = filled_part(outside, 10)
        source = start()
        stored = offsets_of(read(source, 10))
        source.close()
        anew = self.make_outside()
        try:
            anew.put(anew.parts[0], [message(0)])
            other = anew.open(JsonDecoder(), Merge(lambda _: moment))
            with closing(other), pytest.raises(StateError, match="not the"):
                read_from(other, {anew.parts[0]: stored[part]})
        finally:
            anew.close()

    def test_an_offset_that_is_none_is_refused(self, outside: Outside, open: Opens) -> None:
        with pytest.raises(StateError, match="'nonsense'"):
            open().start({outside.parts[0]: "nonsense"})

    # What cannot be read

    @promise("keeps the order of a part")
    def test_bytes_that_nobody_can_read_are_lines_with_an_error_and_the_part_goes_on(
        self, outside: Outside, start: Opens
    ) -> None:
        part = outside.parts[0]
        sent = [value for n, bad in enumerate(UNREADABLE) for value in (message(n), bad)]
        outside.put(part, [*sent, message(99)])
        source = start()
        found = lines(read(source, len(sent) + 1))

        assert [line.raw for line in found] == [*sent, message(99)]
        assert [line.error is None for line in found] == [True, False] * len(UNREADABLE) + [True]
        assert all(line.columns is None for line in found if line.error)

    @promise("keeps the order of a part")
    def test_messages_whose_schema_is_away_are_waited_for(self, outside: Outside, start: Opens) -> None:
        part = filled_part(outside, 10)
        decoder = AwayAtTimes({4, 7})
        source = start(decoder=decoder)
        found = source.poll(10, 1.0)
        before = len(lines(found))  # some may wait for what is behind them

        assert numbers(found, part) == list(range(before))
        assert before <= 4
        assert lines(source.poll(10, 0.5)) == []
        assert any("schema registry" in words for words in source.health().words)
        decoder.is_away = False
        assert numbers(read(source, 10 - before), part) == list(range(before, 10))
        decoder.is_away = True
        source.start({taken.part: taken.offset for taken in found})
        decoder.is_away = False
        assert numbers(read(source, 10 - before), part) == list(range(before, 10))

    def test_dead_letters_have_the_bytes_the_place_and_the_reason(self, outside: Outside, start: Opens) -> None:
        part = outside.parts[0]
        refused = [
            Refused(part, str(n), "payment", "amount: é", raw, 1_700_000_000_000) for n, raw in enumerate(UNREADABLE)
        ]
        source = start()

        assert source.takes_refused
        source.refuse(refused)
        source.refuse([])
        found = outside.dead_letters()
        assert [(letter["place"], letter["raw"]) for letter in found] == [
            (message.place.encode(), message.raw) for message in refused
        ]
        assert {(letter["source"], letter["type"], letter["reason"]) for letter in found} == {
            (part.encode(), b"payment", "amount: é".encode())
        }

    # Waiting

    def test_a_poll_that_finds_nothing_ends_after_its_timeout(self, outside: Outside, start: Opens) -> None:
        source = start()
        source.poll(10, 1.0)
        for timeout_s in (0.0, 0.4):
            began_s = time.monotonic()
            assert lines(source.poll(10, timeout_s)) == []
            assert timeout_s - 0.05 <= time.monotonic() - began_s < timeout_s + 60.0

    def test_a_poll_ends_as_soon_as_something_is_there(self, outside: Outside, start: Opens) -> None:
        part = outside.parts[-1]
        source = start()
        source.poll(10, 1.0)
        put = threading.Timer(0.3, outside.put, (part, [message(1)]))
        put.start()
        began_s = time.monotonic()
        found = source.poll(10, LONG_S)
        put.join()

        assert numbers(found, part) == [1]
        assert time.monotonic() - began_s < LONG_S * 3 / 4

    # Parts

    @promise("finds new parts")
    def test_a_part_that_is_new_is_found_and_read_from_its_beginning(self, outside: Outside, start: Opens) -> None:
        outside.put(outside.parts[0], [message(0)])
        source = start()
        read(source, 1)
        part = outside.add_part()
        outside.put(part, messages(20))
        found = read(source, 20)

        assert numbers(found, part) == list(range(20))
        other = start({part: found[-1].offset})
        assert numbers(read(other, 1), part) == []

    @promise("puts parts in order of time")
    @pytest.mark.parametrize("count", [400, 6_000])
    def test_what_waits_in_several_parts_comes_in_order_of_time(
        self, outside: Outside, start: Opens, count: int
    ) -> None:
        count = min(count, 2 * self.many)
        span_ms = 240 * HOUR_MS
        for at, part in enumerate(outside.parts):
            outside.put(part, [message(n, at=n * span_ms // count + at) for n in range(count)])
        source = start()
        found = lines(read(source, count * len(outside.parts)))
        times_ms = [moment(line) or 0 for line in found]

        assert times_ms == sorted(times_ms)

    @promise("puts parts in order of time")
    def test_the_order_is_the_same_where_reading_is_begun_again_before_what_was_sent_again(
        self, outside: Outside, start: Opens
    ) -> None:
        times = [*range(0, 200, 10), *range(100, 200, 10)]
        for at, part in enumerate(outside.parts[:2]):
            outside.put(part, [message(n, at=time + 5 * at) for n, time in enumerate(times)])
        source = start()
        whole = places(read(source, 60))
        offsets: TextDict = {}
        found: list[tuple[str, int]] = []
        for count in (35, 1, 1, 1, 1):
            source.start(offsets)
            taken = read(source, count, 5 if count > 1 else 1, is_all=False)
            offsets |= offsets_of(taken)
            found += places(taken)
        source.start(offsets)
        found += places(read(source, 60 - len(found)))

        assert found == whole

    # How it is doing

    @promise("counts what waits")
    def test_health_counts_what_waits(self, outside: Outside, start: Opens) -> None:
        for part in outside.parts:
            outside.put(part, messages(500))
        source = start()
        total = 500 * len(outside.parts)
        some = lines(read(source, 20, limit=20, is_all=False))

        assert source.health().lag == total - len(some)
        read(source, total - len(some))
        assert source.health().lag == 0

    def test_closing_twice_does_nothing(self, open: Opens, start: Opens) -> None:
        open().close()
        source = start()
        source.poll(1, 0)
        source.close()
        source.close()


def started(open: Opens, offsets: TextMapping | None = None, *, decoder: Decoder | None = None) -> Source:
    """Open a source, and start it behind these offsets, or at the beginning."""
    source = open(decoder)
    source.start(offsets or {})
    return source


def filled_part(outside: Outside, count: int) -> str:
    """Put this many messages into the first part; return its name."""
    part = outside.parts[0]
    outside.put(part, messages(count))
    return part
