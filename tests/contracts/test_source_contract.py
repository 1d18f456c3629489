"""The contract of sources bound to lists in memory, and proof that it rejects sources that break it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from shroff.errors import SchemasAwayError, StateError
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.streams.log import Refused
from shroff.streams.merge import Merge
from shroff.streams.source import Health, PartLag, PolledMessages, shown, split_offset, stored_offset
from shroff.testing.contracts import source as contract
from shroff.testing.contracts import source_messages
from shroff.testing.contracts.source import Outside, SourceContract
from tests.support.effort import long_after

pytestmark = pytest.mark.slow  # its tests wait for what does not come


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_messages, "QUIET_S", 0.1)


class Lists(Outside):
    """Parts as lists, from which retention may have removed the first."""

    def __init__(self, kind: type[ListSource]) -> None:
        self.parts = ["a", "b"]
        self.kept: dict[str, list[bytes]] = {part: [] for part in self.parts}
        self.gone = dict.fromkeys(self.parts, 0)
        self.letters: list[Mapping[str, bytes]] = []
        self._kind = kind

    def put(self, part: str, values: Sequence[bytes]) -> None:
        self.kept[part] += values

    def open(self, decoder: Decoder, merge: Merge) -> ListSource:
        return self._kind(self, decoder, merge)

    def remove_first(self, part: str, count: int) -> None:
        del self.kept[part][: count - self.gone[part]]
        self.gone[part] = count

    def add_part(self) -> str:
        self.kept["c"], self.gone["c"] = [], 0
        return "c"

    def dead_letters(self) -> list[Mapping[str, bytes]]:
        return self.letters

    def close(self) -> None:
        pass


class ListSource:
    """Keeps every promise of `streams.source.Source` over lists."""

    name = "lists"
    takes_refused = True

    def __init__(self, outside: Lists, decoder: Decoder, merge: Merge) -> None:
        self.outside, self.decoder, self.merge = outside, decoder, merge
        self.at: dict[str, int] = {}
        self.words = ""

    def start(self, offsets: Mapping[str, str]) -> None:
        self.merge.clear()
        self.at = {}
        for part in self.outside.kept:
            self.open(part, offsets.get(part))

    def look(self, offsets: Mapping[str, str]) -> list[PartLag]:
        return [self.lag(part, offsets.get(part)) for part in sorted(self.outside.kept)]

    def lag(self, part: str, offset: str | None) -> PartLag:
        begin = self.outside.gone[part]
        at, end = begin if offset is None else int(split_offset(offset)[0]), begin + len(self.outside.kept[part])
        return PartLag(part, None, f"{begin - at} messages are gone") if at < begin else PartLag(part, end - at)

    def open(self, part: str, stored: str | None) -> None:
        begin = self.outside.gone[part]
        offset, before = split_offset(str(begin) if stored is None else stored)
        if not offset.isdecimal():
            raise StateError(f"{offset!r} is not an offset")
        self.at[part] = int(offset)
        if self.at[part] < begin:
            raise StateError(f"{begin - self.at[part]} messages are gone")
        if self.at[part] > begin + len(self.outside.kept[part]):
            raise StateError(f"{part} is not the part that was read")
        self.merge.open(part, "payment", before)

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        until_s = time.monotonic() + timeout_s
        while True:
            for part in self.outside.kept:
                if part not in self.at:
                    self.open(part, None)
                self.fetch(part)
            found = self.given(limit)
            if found or time.monotonic() >= until_s:
                return found
            time.sleep(0.01)

    def fetch(self, part: str) -> None:
        values = self.outside.kept[part]
        while (index := self.at[part] - self.outside.gone[part]) < len(values):
            try:
                line = self.decoder.line(self.at[part], values[index])
            except SchemasAwayError as error:
                self.words = str(error)
                return
            self.merge.add(part, [line])
            self.at[part] += 1
        self.merge.pass_by(part)

    def given(self, limit: int) -> list[PolledMessages]:
        return [
            PolledMessages(part, "payment", "jsonl", lines, stored_offset(str(lines[-1].number + 1), before))
            for part, lines, before in self.merge.take(limit)
        ]

    def acknowledge(self, offsets: Mapping[str, str]) -> None:
        pass

    def refuse(self, refused: Sequence[Refused]) -> None:
        for item in refused:
            told = {"source": item.source, "place": item.place, "type": item.type, "reason": item.reason}
            self.outside.letters.append({name: text.encode() for name, text in told.items()} | {"raw": item.raw})

    def health(self) -> Health:
        ends = {part: self.outside.gone[part] + len(values) for part, values in self.outside.kept.items()}
        return Health(sum(ends[part] - at for part, at in self.at.items()) + self.merge.count, words=(self.words,))

    def close(self) -> None:
        pass


class TestListSource(SourceContract):
    kind: type[ListSource] = ListSource

    def make_outside(self) -> Lists:
        return Lists(self.kind)


class SkipsOneAfterAnError(ListSource):
    """Takes the message behind one that nobody can read for a part of it."""

    def given(self, limit: int) -> list[PolledMessages]:
        found = []
        for row in super().given(limit):
            errors = [line.error is not None for line in row.lines]
            kept = [line for line, before in zip(row.lines, [False, *errors], strict=False) if not before]
            found.append(row._replace(lines=kept))
        return found


class RepeatsAfterARestart(ListSource):
    def start(self, offsets: Mapping[str, str]) -> None:
        super().start(
            {
                part: str(max(int(at) - 1, self.outside.gone[part])) if at.isdecimal() else at
                for part, (at, _) in ((part, split_offset(stored)) for part, stored in offsets.items())
            }
        )


class ForgetsWhatWasBefore(ListSource):
    def open(self, part: str, stored: str | None) -> None:
        super().open(part, stored and split_offset(stored)[0])


class SkipsAfterARestart(ListSource):
    def start(self, offsets: Mapping[str, str]) -> None:
        super().start(offsets)
        for part in offsets:
            self.at[part] = min(self.at[part] + 1, self.outside.gone[part] + len(self.outside.kept[part]))


class GoesOnFromWhereItWas(ListSource):
    """Keeps its own idea of how far it is."""

    def start(self, offsets: Mapping[str, str]) -> None:
        before = dict(self.at)
        super().start(offsets)
        self.at |= before


class LosesWhatWasPassed(ListSource):
    def acknowledge(self, offsets: Mapping[str, str]) -> None:
        for part, offset in offsets.items():
            self.outside.remove_first(part, int(shown(offset)))


class PassesGapsOver(ListSource):
    def open(self, part: str, stored: str | None) -> None:
        known = stored is not None and shown(stored).isdecimal()
        super().open(part, str(max(int(shown(stored or "0")), self.outside.gone[part])) if known else stored)


class ReadsAnyOffset(ListSource):
    def open(self, part: str, stored: str | None) -> None:
        end = self.outside.gone[part] + len(self.outside.kept[part])
        beyond = stored is not None and shown(stored).isdecimal() and int(shown(stored)) > end
        super().open(part, None if beyond else stored)


class ReadsNonsense(ListSource):
    def open(self, part: str, stored: str | None) -> None:
        super().open(part, None if stored == "nonsense" else stored)


class TurnsTheOrder(ListSource):
    def given(self, limit: int) -> list[PolledMessages]:
        return [row._replace(lines=row.lines[::-1]) for row in super().given(limit)]


class GivesMoreThanAsked(ListSource):
    def given(self, limit: int) -> list[PolledMessages]:
        return super().given(limit + 1)


class ReadsPartsOneAfterTheOther(ListSource):
    def __init__(self, outside: Lists, decoder: Decoder, merge: Merge) -> None:
        super().__init__(outside, decoder, Merge(lambda _: lambda _: None))


class DropsWhatItCannotRead(ListSource):
    def given(self, limit: int) -> list[PolledMessages]:
        return [row._replace(lines=[line for line in row.lines if not line.error]) for row in super().given(limit)]


class PassesOverWhatIsAway(ListSource):
    def fetch(self, part: str) -> None:
        super().fetch(part)
        if self.words:
            self.words = "the schema registry is away"
            self.at[part] += 1


class WaitsToTheEnd(ListSource):
    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        time.sleep(timeout_s)
        return super().poll(limit, 0)


class DoesNotWait(ListSource):
    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        return super().poll(limit, 0)


class NeverLooksForParts(ListSource):
    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        for part in [part for part in self.outside.kept if part not in self.at]:
            del self.outside.kept[part]
        return super().poll(limit, timeout_s)


class LosesDeadLetters(ListSource):
    def refuse(self, refused: Sequence[Refused]) -> None:
        super().refuse(refused[1:])


class SaysNothingOfLag(ListSource):
    def health(self) -> Health:
        return Health(None, words=(self.words,))


class LooksPastWhatIsGone(ListSource):
    def lag(self, part: str, offset: str | None) -> PartLag:
        return super().lag(part, None)


class TakesWhereItLooks(ListSource):
    def look(self, offsets: Mapping[str, str]) -> list[PartLag]:
        found = super().look(offsets)
        for item in found:
            self.at[item.part] = self.outside.gone[item.part] + len(self.outside.kept[item.part])
        return found


class ClosesOnce(ListSource):
    def close(self) -> None:
        del self.at


BROKEN = {
    SkipsOneAfterAnError: "bytes_that_nobody_can_read_are_lines_with_an_error_and_the_part_goes_on",
    RepeatsAfterARestart: "nothing_is_read_twice_where_a_part_was_read_to_its_end",
    ForgetsWhatWasBefore: "the_order_is_the_same_where_reading_is_begun_again_before_what_was_sent_again",
    SkipsAfterARestart: "reading_goes_on_exactly_behind_any_offset",
    GoesOnFromWhereItWas: "to_start_again_gives_again_what_was_polled_since",
    LosesWhatWasPassed: "what_is_passed_is_a_hint_that_loses_nothing",
    PassesGapsOver: "messages_that_are_gone_behind_an_offset_are_told_by_their_count",
    ReadsAnyOffset: "an_offset_behind_the_end_of_a_part_is_refused",
    ReadsNonsense: "an_offset_that_is_none_is_refused",
    TurnsTheOrder: "messages_of_a_part_come_once_and_in_their_order",
    GivesMoreThanAsked: "a_poll_gives_no_more_than_its_limit",
    ReadsPartsOneAfterTheOther: "what_waits_in_several_parts_comes_in_order_of_time",
    DropsWhatItCannotRead: "bytes_that_nobody_can_read_are_lines_with_an_error_and_the_part_goes_on",
    PassesOverWhatIsAway: "messages_whose_schema_is_away_are_waited_for",
    WaitsToTheEnd: "a_poll_ends_as_soon_as_something_is_there",
    DoesNotWait: "a_poll_that_finds_nothing_ends_after_its_timeout",
    NeverLooksForParts: "a_part_that_is_new_is_found_and_read_from_its_beginning",
    LosesDeadLetters: "dead_letters_have_the_bytes_the_place_and_the_reason",
    SaysNothingOfLag: "health_counts_what_waits",
    LooksPastWhatIsGone: "a_look_tells_where_messages_are_gone",
    TakesWhereItLooks: "a_look_counts_what_waits_and_takes_nothing",
    ClosesOnce: "closing_twice_does_nothing",
}


# They try the contract, not the program.
@pytest.mark.parametrize("kind", long_after(8, BROKEN))
def test_the_contract_rejects_a_source_that_breaks_it(kind: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source_messages, "SECONDS_ENOUGH", 1.0)
    monkeypatch.setattr(contract, "LONG_S", 2.0)
    name = f"test_{BROKEN[kind]}"

    assert any(_fails(name, arguments, kind) for arguments in _arguments(name))


def test_a_source_outside_this_process_has_0_3_seconds_to_give_more_than_was_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    waits = list[float]()

    class Outer(ListSource):
        def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
            waits.append(timeout_s)
            return super().poll(limit, 0)

    outside = Lists(Outer)
    outside.put("a", [source_messages.message(0)])
    source = outside.open(JsonDecoder(), Merge(lambda _: source_messages.moment))
    source.start({})
    source_messages.read(source, 1)

    assert waits[-1] >= 0.3


def _arguments(name: str) -> list[dict[str, Any]]:
    """What a test of the contract is run with."""
    marks = [mark for mark in getattr(getattr(SourceContract, name), "pytestmark", []) if mark.name == "parametrize"]
    return [{marks[0].args[0]: value} for value in marks[0].args[1]] if marks else [{}]


def _fails(name: str, arguments: dict[str, Any], kind: type[ListSource]) -> bool:
    bound = TestListSource()
    bound.kind = kind
    outside = bound.make_outside()
    opened: list[ListSource] = []

    def open_(decoder: Decoder | None = None) -> ListSource:
        merge = Merge(lambda _: source_messages.moment)
        opened.append(outside.open(decoder or JsonDecoder(), merge))
        return opened[-1]

    wanted = inspect.signature(getattr(bound, name)).parameters
    given = {"outside": outside, "open": open_, "start": partial(contract.started, open_)} | arguments
    try:
        getattr(bound, name)(**{each: given[each] for each in wanted if each in given})
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever goes wrong rejects it
        return True
    return False
