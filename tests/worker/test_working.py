"""The worker: batches, offsets, what fails outside, messages that the program fails at, and standing by."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import msgspec
import pytest

from shroff.errors import LogBusyError, OvertakenError, StateError, StorageError, TransientError, UsageError
from shroff.events.intake import Intake
from shroff.events.validation import EventValidator
from shroff.language.values import DAY_MS
from shroff.log.read_positions import Forgotten, forget, parts_read
from shroff.log.state.snapshots import restore
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions
from shroff.replay.compare import verify_online
from shroff.streams.log import Batch, Log
from shroff.streams.sink_cursor import DeliveryHealth, Trouble
from shroff.streams.snapshots import Snapshots
from shroff.streams.source import PartLag, PolledMessages
from shroff.worker.inbox import LABELS, labels_request
from shroff.worker.inbox_server import InboxServer
from shroff.worker.serving import delivery as working_delivery
from shroff.worker.serving import source_loop as working_lead
from shroff.worker.serving import source_reader
from shroff.worker.serving import worker as working
from shroff.worker.serving.counts import BatchTally, Latencies, WorkerOptions
from shroff.worker.serving.poison_search import IN_A_ROW_MAX
from shroff.worker.serving.worker import Worker
from tests.support.effort import long_after
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.log_memory_parts import quarantined
from tests.support.patience import until
from tests.support.projects import NOW_MS, definitions, intake_of, label
from tests.support.source_memory import MemorySource, MemoryTopic

Changes = Mapping[str, str | None]
AT_END = WorkerOptions(until_idle_s=0.0)


class Place:
    """A small project with a log in memory; `on_append` may fail a commit, `on_open` an opening."""

    def __init__(self, folder: Path, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.snapshots = Snapshots(folder / "snapshots")
        self.files: Changes = {}
        self.now = NOW_MS
        self.on_append: Callable[[Batch], None] = lambda batch: None
        self.on_open: Callable[[], None] = lambda: None
        self.deliveries: list[str] = []
        self.is_delivered_elsewhere = False
        self.sinks: Sequence[DeliveryHealth] = ()

    def open_log(self, *, read_only: bool) -> Log:
        if not read_only:
            self.on_open()
        return _Log(self, read_only=read_only)

    def definitions(self, _: object = None) -> Definitions:
        return definitions(self.files)

    def follow(self, log: Log) -> str:
        return ""

    def intake(self) -> Intake:
        found = definitions(self.files)
        return Intake(found.events, found.settings, None)

    def inbox(self, writer: Writer, log: Log) -> InboxServer:
        return InboxServer(log, writer, intake_of, self.definitions, lambda: MemoryLog(self.store, read_only=True))

    @contextmanager
    def delivering(self, log: Log) -> Iterator[Place]:
        if self.is_delivered_elsewhere:
            raise LogBusyError("process 7 delivers")
        self.deliveries.append("begun")
        yield self
        self.deliveries.append("ended")

    def finish_all(self) -> None:
        self.deliveries.append("finished")

    def tend(self) -> None:
        self.deliveries.append("tended")

    def health(self, last_seq: int) -> Sequence[DeliveryHealth]:
        return self.sinks

    def now_ms(self) -> int:
        return self.now

    @property
    def log(self) -> MemoryLog:
        return MemoryLog(self.store, read_only=True)


class _Log(MemoryLog):
    def __init__(self, place: Place, *, read_only: bool) -> None:
        super().__init__(place.store, read_only=read_only)
        self._on_append = place.on_append

    def append(self, batch: Batch) -> None:
        self._on_append(batch)
        super().append(batch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "PAUSES_S", (0.001, 0.002))
    monkeypatch.setattr(source_reader, "PAUSES_S", (0.001, 0.002))
    monkeypatch.setattr(working_lead, "IDLE_S", 0.001)


def message(number: int, minute: int = 0, amount: str = "5.00") -> bytes:
    fields = {"amount": amount, "at": f"2026-03-01T{12 + minute // 60:02d}:{minute % 60:02d}:00Z", "card": "c"}
    return msgspec.json.encode({**fields, "id": f"p{number}"})


def topic(count: int, parts: int = 1) -> MemoryTopic:
    found = MemoryTopic({f"payments/{part}": [] for part in range(parts)}, "payment")
    for number in range(count):
        found.send(f"payments/{number % parts}", message(number, number // 10, "150.00" if number % 7 == 0 else "5.00"))
    return found


def ids(log: Log) -> list[str]:
    return [record.id for records in log.read() for record in records if record.kind == "event"]


def decisions(log: Log) -> list[tuple[str, str]]:
    return [(row.id, row.receipt.hex()) for rows in log.decisions.after() for row in rows]


# ---- reading


def test_what_a_source_has_is_decided_and_how_far_it_was_read_is_kept(place):
    source = MemorySource(topic(100, parts=3))
    work = Worker(place, source, AT_END).run()

    assert work.counts.decisions == len(ids(place.log)) == 100
    assert (
        work.offsets == place.log.offsets.of("memory") == {"payments/0": "34", "payments/1": "33", "payments/2": "33"}
    )
    assert source.told == work.offsets, "the source is told what is durable"
    assert verify_online(place.log).mismatches == 0


def test_the_next_worker_goes_on_where_the_first_one_ended(place):
    feed = topic(30)
    Worker(place, MemorySource(feed), AT_END).run()
    feed.send("payments/0", message(30, 3), message(31, 3))
    work = Worker(place, MemorySource(feed), AT_END).run()

    assert work.taken == 2
    assert ids(place.log) == [f"p{number}" for number in range(32)]


def test_it_ends_after_as_many_messages_as_it_was_told(place):
    work = Worker(place, MemorySource(topic(100)), WorkerOptions(limit=37)).run()

    assert (work.taken, work.offsets) == (37, {"payments/0": "37"})


def test_it_ends_when_it_is_stopped_with_everything_polled_committed(place):
    feed, stop = topic(500), Event()
    place.on_append = lambda batch: stop.set() if batch.decisions else None
    work = Worker(place, MemorySource(feed, random=Random(4)), stop=stop).run()

    assert 0 < work.taken < 500
    assert work.taken == len(ids(place.log)) == int(place.log.offsets.of("memory")["payments/0"])


@pytest.mark.parametrize("seed", range(5))
def test_batches_of_any_size_give_the_same_bytes(tmp_path, seed):
    first, second = Place(tmp_path / "1"), Place(tmp_path / "2")
    Worker(first, MemorySource(topic(300)), WorkerOptions(batch_size=1, until_idle_s=0.0)).run()
    Worker(second, MemorySource(topic(300), random=Random(seed)), AT_END).run()

    assert decisions(first.log) == decisions(second.log)


def test_lines_that_tell_their_type_and_labels_among_them_are_taken(place):
    feed = MemoryTopic({"mixed": []})
    told = {"event": "payment/p0", "verdict": "fraud", "source": "analyst", "known_at": "2026-03-01T13:00:00Z"}
    feed.send("mixed", b'{"payment": ' + message(0) + b"}", msgspec.json.encode({"label": told}), b"{}")
    work = Worker(place, MemorySource(feed), AT_END).run()

    assert (work.counts.events.appended, work.counts.labels.appended, work.counts.untaken) == (1, 1, 1)


def test_a_message_that_cannot_be_read_goes_to_quarantine_with_its_place_and_to_the_dead_letters(place):
    feed = topic(3)
    feed.send("payments/0", b"{ no JSON", b"", message(3, amount="1.005"), message(4))
    work = Worker(place, MemorySource(feed), AT_END).run()

    assert (work.quarantined, work.counts.decisions) == (3, 4)
    entries = [entry for _, entry in quarantined(place.log)]
    assert [(entry.source, entry.place) for entry in entries] == [("payments/0", place) for place in ("3", "4", "5")]
    assert feed.letters == entries


def test_dead_letters_that_were_not_sent_are_sent_by_the_next_worker_and_those_that_were_are_not(place, monkeypatch):
    feed = MemoryTopic({"payments/0": [b"bad", b"worse"]}, "payment")
    with monkeypatch.context() as away:
        away.setattr(MemorySource, "refuse", _away)
        Worker(place, MemorySource(feed), AT_END).run()
    assert feed.letters == []
    for _ in range(2):
        feed.send("payments/0", message(len(feed.parts["payments/0"])))
        Worker(place, MemorySource(feed), AT_END).run()

    assert [letter.raw for letter in feed.letters] == [b"bad", b"worse"]


def _away(*_: object) -> None:
    raise TransientError("away")


def test_an_event_far_ahead_of_its_arrival_is_refused_and_shuts_out_nobody(place):
    place.now = 1_772_366_400_000  # 2026-03-01T12:00Z
    feed = MemoryTopic({"payments/0": []}, "payment")
    feed.send("payments/0", message(1), message(3, minute=11 * 60))
    ahead = message(4).replace(b"2026-03-01T12", b"2026-03-02T13")
    feed.send("payments/0", ahead, message(5, minute=2))
    work = Worker(place, MemorySource(feed), AT_END).run()

    ((_, entry),) = [record for record in quarantined(place.log) if record[1].raw == ahead]
    assert "at: too early: 2026-03-02T13:00:00Z is 1d1h after its arrival" in entry.reason
    assert "p5" in ids(place.log)
    assert work.quarantined == len(quarantined(place.log))
    place.now -= 2 * DAY_MS  # all of them lie ahead of this clock, and the log has all but one
    feed.send("payments/0", message(1), message(3, minute=11 * 60), ahead, message(5, minute=2))
    again = Worker(place, MemorySource(feed), AT_END).run()
    assert (again.quarantined, again.counts.events.duplicates) == (1, 3)


@pytest.mark.parametrize("keeps_late", [True, False])
def test_what_comes_too_late_is_kept_where_the_source_says_so_else_refused(place, keeps_late):
    feed = topic(3)
    feed.send("payments/0", message(9).replace(b"2026-03-01", b"2026-02-01"), message(4))
    work = Worker(place, MemorySource(feed), WorkerOptions(until_idle_s=0.0, keeps_late=keeps_late)).run()

    assert (work.counts.decisions, work.counts.events.late, work.quarantined) == (4, keeps_late, not keeps_late)
    assert work.taken == 5


def test_a_line_of_a_file_is_held_against_the_clock_as_well(place):
    place.now = NOW_MS - 400 * DAY_MS
    work = Worker(place, MemorySource(topic(5)), AT_END, is_live=False).run()

    assert (work.counts.decisions, work.quarantined) == (0, 5)
    assert all("too early" in entry.reason for _, entry in quarantined(place.log))


def test_a_type_that_there_is_not_ends_the_worker(place):
    with pytest.raises(UsageError, match="'paiment' is not an event type"):
        Worker(place, MemorySource(MemoryTopic({"x": [b"{}"]}, "paiment")), AT_END).run()


# ---- what fails outside


def test_a_source_that_is_away_is_waited_for(place):
    feed, told = topic(10), list[str]()
    feed.away_for = 5
    work = Worker(place, MemorySource(feed), AT_END, tell=told.append).run()

    assert told == ["waiting for the source: the topic in memory cannot be reached"]
    assert (work.counts.decisions, work.waits_for) == (10, "")


def test_it_does_not_end_idle_while_nobody_says_that_there_is_nothing_more(place):
    class Silent(MemorySource):
        """Gives nothing and says nothing of it, as a client whose brokers went away."""

        looks = 0

        def look(self, offsets: Mapping[str, str]) -> list[PartLag]:
            self.looks += 1
            if self.looks == 1:
                raise TransientError("no answer from the brokers")
            if self.looks == 2:
                return [PartLag("payments/0", None)]
            if self.looks == 3:
                return [PartLag("payments/7", 1)]  # a new one
            if self.looks == 4:
                feed.send("payments/0", message(10))
            uncounted = PartLag("subscription", None, is_counted=False)  # nobody ever says how much waits there
            return [*super().look(offsets), uncounted, PartLag("former/0", None, "it no longer exists")]

    feed, told = topic(10), list[str]()
    source = Silent(feed)
    work = Worker(place, source, AT_END, tell=told.append).run()

    assert told == ["waiting for the source: no answer from the brokers"]
    assert (work.counts.decisions, source.looks >= 5) == (11, True)


@pytest.mark.slow
def test_the_time_that_is_told_ends_with_the_last_message(place):
    began_s = time.monotonic()
    work = Worker(place, MemorySource(topic(50)), WorkerOptions(until_idle_s=0.2)).run()

    assert 0 < work.counts.seconds <= work.done_s - began_s < time.monotonic() - began_s


def test_a_part_that_was_forgotten_is_read_from_its_beginning_and_told_as_one_that_was_not_read(place):
    feed = topic(20)
    Worker(place, MemorySource(feed), AT_END).run()
    with closing(MemoryLog(place.store)) as log:
        before = forget(log, "memory", "payments/0", NOW_MS)
        (left,) = parts_read(log, "memory")
    work = Worker(place, MemorySource(feed), AT_END).run()
    (again,) = parts_read(place.log, "memory")

    assert (before, left.offset, left.forgotten) == ("20", "", Forgotten("20", NOW_MS))
    assert (work.taken, work.counts.events.duplicates, len(ids(place.log))) == (20, 20, 20)
    assert (again.offset, again.forgotten) == ("20", Forgotten("20", NOW_MS))


def test_a_part_that_was_not_read_cannot_be_forgotten(place):
    Worker(place, MemorySource(topic(20)), AT_END).run()
    with closing(MemoryLog(place.store)) as log:
        with pytest.raises(UsageError, match=r"no part 'payment/0' of the source was read\. Did you mean payments/0\?"):
            forget(log, "memory", "payment/0", NOW_MS)
        forget(log, "memory", "payments/0", NOW_MS)
        with pytest.raises(UsageError, match=r"'payments/0' of the source was read\. None was"):
            forget(log, "memory", "payments/0", NOW_MS)


def test_what_came_before_the_source_failed_for_good_is_decided_before_that_is_told(place, monkeypatch):
    source, poll = MemorySource(topic(30)), MemorySource.poll
    given = list[int]()

    def failing(self: MemorySource, limit: int, timeout_s: float) -> list[PolledMessages]:
        given.append(1)
        if len(given) == 2:
            raise StateError("7 messages are gone")
        return poll(self, limit, timeout_s)

    monkeypatch.setattr(MemorySource, "poll", failing)
    with pytest.raises(StateError, match="7 messages are gone"):
        Worker(place, source, AT_END).run()

    assert len(ids(place.log)) == 30
    assert place.log.offsets.of("memory") == {"payments/0": "30"}


@pytest.mark.parametrize("error", [TransientError("gone"), StorageError("disk full"), OSError("reset")])
def test_a_commit_that_fails_for_now_loses_and_doubles_nothing(tmp_path, error):
    undisturbed, place = Place(tmp_path / "1"), Place(tmp_path / "2")
    Worker(undisturbed, MemorySource(topic(200)), AT_END).run()
    failures, told = Random(2), list[str]()

    def fail(batch: Batch) -> None:
        if batch.decisions and failures.random() < 0.3:
            raise error

    place.on_append = fail
    work = Worker(place, MemorySource(topic(200), random=Random(3)), AT_END, tell=told.append).run()

    assert decisions(place.log) == decisions(undisturbed.log)
    assert work.counts.decisions == 200
    assert work.restored > 0
    assert f"waiting: {error}" in told


def test_a_log_that_cannot_be_reached_at_first_is_waited_for(place):
    tries = list[int]()

    def refuse_twice() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("the server is away")

    place.on_open = refuse_twice
    assert Worker(place, MemorySource(topic(3)), AT_END).run().counts.decisions == 3


def test_a_log_that_somebody_else_writes_refuses_a_second_worker(place):
    MemoryLog(place.store)
    with pytest.raises(LogBusyError):
        Worker(place, MemorySource(topic(3)), AT_END).run()


def test_a_worker_that_was_overtaken_ends_and_stores_nothing_more(place):
    def overtake(batch: Batch) -> None:
        if batch.decisions:
            place.store.is_written = False
            MemoryLog(place.store)

    place.on_append = overtake
    with pytest.raises(OvertakenError, match="taken over"):
        Worker(place, MemorySource(topic(50), random=Random(1))).run()

    assert ids(place.log) == []


def test_a_source_that_somebody_else_read_on_ends_the_worker(place):
    feed = topic(40)
    Worker(place, MemorySource(feed), WorkerOptions(limit=10)).run()
    with place_offset(place, "12"), pytest.raises(OvertakenError, match="goes on from offset 10"):
        Worker(place, MemorySource(feed), AT_END).run()


@contextmanager
def place_offset(place: Place, offset: str) -> Iterator[None]:
    """Let the first commit of a worker find another offset than the one it began with."""

    def move(batch: Batch) -> None:
        if batch.decisions:
            place.store.offsets["memory", "payments/0"] = offset

    place.on_append = move
    try:
        yield
    finally:
        place.on_append = lambda batch: None


@pytest.mark.slow
# Each seed draws failures at other moments.
@pytest.mark.parametrize("seed", long_after(2, range(12)))
def test_whatever_fails_and_whoever_takes_over_each_message_is_taken_once_in_the_order_of_its_part(tmp_path, seed):
    """Commits that fail, sources that go away, stops, overtakings and poison, at random moments; then to the end."""
    place, drawn, feed = Place(tmp_path), Random(seed), topic(400, parts=1 + seed % 3)
    first = feed.parts["payments/0"][0]
    feed.send("payments/0", b"{ no JSON", first, first.replace(b"150.00", b"9.00"))

    def disturb(batch: Batch) -> None:
        fate = drawn.random()
        if fate < 0.1:
            raise drawn.choice([TransientError("gone"), StorageError("disk full")])
        if fate < 0.2:
            stop.set()
        elif fate < 0.3:
            place.store.epoch += 1
        elif fate < 0.4:
            feed.away_for = 3

    place.on_append = disturb
    ends = dict.fromkeys(("stopped", "overtaken"), 0)
    for _ in range(8):
        stop, sizes = Event(), drawn.choice([1, 7, 64, 4_096])
        options = WorkerOptions(batch_size=sizes, limit=40, snapshot_places=drawn.choice([20, 1_000_000]))
        try:
            Worker(place, MemorySource(feed, random=drawn), options, stop=stop).run()
            ends["stopped"] += stop.is_set()
        except OvertakenError:
            ends["overtaken"] += 1
            place.store.is_written = False  # whoever took over is gone, too
        except StorageError:  # of the first batch: its control event
            pass
    place.on_append = lambda batch: None
    Worker(place, MemorySource(feed, random=drawn), AT_END).run()

    assert len(ids(place.log)) == len(set(ids(place.log))) == 400
    assert len(decisions(place.log)) == 400
    assert sum(ends.values()) > 0
    assert verify_online(place.log).mismatches == 0
    assert place.log.offsets.of("memory") == {part: str(len(sent)) for part, sent in feed.parts.items()}
    for part, sent in feed.parts.items():
        in_part = [msgspec.json.decode(text)["id"] for text in sent if text.startswith(b'{"amount":')]
        mine = [record for record in ids(place.log) if record in set(in_part)]
        assert mine == list(dict.fromkeys(in_part)), f"the order of {part}"
    refused = {(entry.source, entry.raw) for _, entry in quarantined(place.log)}
    assert ("payments/0", b"{ no JSON") in refused
    if len(feed.parts) == 1:
        undisturbed = Place(tmp_path / "undisturbed")
        Worker(undisturbed, MemorySource(feed), AT_END).run()
        assert decisions(place.log) == decisions(undisturbed.log)


# ---- messages that the program itself fails at


def poisoned(count: int, *places: int) -> MemoryTopic:
    feed = topic(count)
    for at in places:
        feed.parts["payments/0"][at] = message(at, at // 10).replace(b'"card":"c"', b'"card":"POISON\\/"')
    return feed


def test_a_line_that_the_door_fails_at_is_refused_by_itself(place, monkeypatch):
    admit = EventValidator.admit_with_personal

    def failing(self: EventValidator, name: str, fields: Mapping[str, object], **rest: Any) -> object:
        if "POISON" in str(fields["card"]):
            raise ValueError("a marker")
        return admit(self, name, fields, **rest)

    monkeypatch.setattr(EventValidator, "admit_with_personal", failing)
    work = Worker(place, MemorySource(poisoned(100, 0, 41, 42, 99)), AT_END).run()

    entries = [entry for _, entry in quarantined(place.log)]
    assert [(entry.source, entry.place) for entry in entries] == [("payments/0", at) for at in ("0", "41", "42", "99")]
    assert {entry.reason for entry in entries} == {
        "shroff cannot process it (ValueError: a marker); please report this"
    }
    assert entries[1].raw == poisoned(100, 41).parts["payments/0"][41]
    assert (work.counts.decisions, work.restored) == (96, 0)


def fail_at_poison(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The step before, in, or behind the engine fails where a batch has a poisoned message."""
    before = getattr(Writer, what)

    def failing(self: Writer, submissions: Sequence[object], **rest: object) -> object:
        if any(b"POISON" in submission.raw() and submission.refusal is None for submission in submissions):
            raise ZeroDivisionError("a marker")
        return before(self, submissions, **rest)

    monkeypatch.setattr(Writer, what, failing)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["look_up", "prepare"])
@pytest.mark.parametrize("size", [4_096, 64, 1])
def test_a_message_that_deciding_fails_at_is_found_and_refused_and_the_others_go_on(place, monkeypatch, what, size):
    fail_at_poison(monkeypatch, what)
    told = list[str]()
    source = MemorySource(poisoned(300, 5, 150, 299))
    work = Worker(place, source, WorkerOptions(batch_size=size, until_idle_s=0.0), tell=told.append).run()

    assert [entry.place for _, entry in quarantined(place.log)] == ["5", "150", "299"]
    assert len(ids(place.log)) == 297
    assert (work.unbearable, work.counts.decisions, work.quarantined) == (3, 297, 3)
    assert work.restored <= 9, "each is found among 300 in three steps"
    assert any(
        "payments/0, 150: shroff cannot process it." in notice and "ZeroDivisionError" in notice for notice in told
    )
    assert not any("a marker" in notice for notice in told), "words of an error may repeat values"


def test_a_message_that_the_commit_fails_at_is_found_and_refused(place):
    def fail(batch: Batch) -> None:
        if any(b"POISON" in record.body for record in batch.records):
            raise UnicodeError("a marker")

    place.on_append = fail
    work = Worker(place, MemorySource(poisoned(200, 120), random=Random(7)), AT_END).run()

    assert [entry.place for _, entry in quarantined(place.log)] == ["120"]
    assert (work.unbearable, work.counts.decisions) == (1, 199)


def test_a_program_that_fails_at_everything_ends_instead_of_refusing_it_all(place, monkeypatch):
    fail_at_poison(monkeypatch, "prepare")
    with pytest.raises(ZeroDivisionError):
        Worker(place, MemorySource(poisoned(100, *range(100))), AT_END).run()

    assert len(quarantined(place.log)) <= IN_A_ROW_MAX


# ---- what other processes ask


def ask_for_a_label(place: Place, event: str) -> int:
    given = label(1, event, "fraud", "analyst", "2026-03-01T13:00:00Z")
    return place.log.inbox.ask(LABELS, labels_request([given], 2), NOW_MS)


def test_what_is_asked_is_done_between_batches_and_while_nothing_comes(place):
    first = ask_for_a_label(place, "payment/p3")
    second = list[int]()

    def ask_again(batch: Batch) -> None:
        if batch.decisions and not second:
            second.append(ask_for_a_label(place, "payment/p5"))

    place.on_append = ask_again
    Worker(place, MemorySource(topic(50)), WorkerOptions(until_idle_s=0.2)).run()

    assert place.log.inbox.reply_to(first) is not None
    assert place.log.inbox.reply_to(second[0]) is not None
    assert len([record for records in place.log.labels_after() for record in records]) == 2


def test_metrics_count_the_labels_that_other_processes_bring(place):
    ask_for_a_label(place, "payment/p3")
    worker = Worker(place, MemorySource(topic(50)), WorkerOptions(until_idle_s=0.2))
    tally = worker.work.counts.tally = BatchTally()
    work = worker.run()

    assert (work.counts.labels.read, work.counts.labels.appended) == (1, 1)
    assert (sum(tally.label_s["fraud"].counts), tally.unreconciled) == (1, 0)


def test_a_request_that_the_program_fails_at_is_refused_and_the_work_goes_on(place, monkeypatch):
    number, told = ask_for_a_label(place, "payment/p3"), list[str]()
    take = InboxServer._take_labels

    def failing(self: InboxServer, requests: Sequence[object]) -> None:
        if requests:
            raise ZeroDivisionError("a marker")
        take(self, requests)

    monkeypatch.setattr(InboxServer, "_take_labels", failing)
    work = Worker(place, MemorySource(topic(50)), WorkerOptions(until_idle_s=0.2), tell=told.append).run()

    assert (work.counts.decisions, work.restored) == (50, 1)
    assert b"ZeroDivisionError: a marker" in (place.log.inbox.reply_to(number) or b"")
    assert any("a request to this worker was refused" in notice for notice in told)


# ---- standing by


def standing_by(place: Place, feed: MemoryTopic, told: list[str], stop: Event) -> tuple[Worker, Thread]:
    options = WorkerOptions(until_idle_s=0.05, stands_by=True)
    worker = Worker(place, MemorySource(feed), options, stop=stop, tell=told.append)
    thread = Thread(target=worker.run)
    thread.start()
    return worker, thread


def test_a_standby_takes_over_where_the_leader_ended(tmp_path):
    place, feed, told = Place(tmp_path), topic(300, parts=2), list[str]()
    undisturbed = Place(tmp_path / "undisturbed")
    held = MemoryLog(place.store)
    _, thread = standing_by(place, feed, told, Event())
    until(lambda: any(notice.startswith("standby") for notice in told))
    held.close()
    thread.join()
    Worker(undisturbed, MemorySource(feed), AT_END).run()

    assert "taking over" in told
    assert sorted(ids(place.log)) == sorted(ids(undisturbed.log))
    assert place.log.epoch == 0
    assert place.store.epoch == 2


def test_a_standby_that_is_stopped_has_written_nothing(place):
    held, told, stop = MemoryLog(place.store), list[str](), Event()
    worker, thread = standing_by(place, topic(3), told, stop)
    until(lambda: worker.work.state == "standing by")
    stop.set()
    thread.join()

    assert place.log.last_seq() == 0
    held.close()


# ---- counts


def test_quantiles_are_near_and_never_below():
    found = Latencies()
    for ms in range(1, 1_001):
        found.add(ms / 1_000, 1)

    for share in (0.5, 0.99, 0.999):
        assert share * 1_000 <= (found.quantile_ms(share) or 0) <= 1.05 * share * 1_000
    assert Latencies().quantile_ms(0.5) is None


# ---- delivery


def test_delivery_goes_on_beside_the_work_and_ends_with_it(place):
    Worker(place, MemorySource(topic(200), random=Random(1)), AT_END).run()

    assert place.deliveries[0] == "begun"
    assert place.deliveries[-2:] == ["finished", "ended"]
    assert set(place.deliveries[1:-2]) == {"tended"}


def test_delivery_that_failed_is_begun_anew_with_the_next_time_of_leading(place):
    failures = iter([TransientError("gone")])

    def fail_once(batch: Batch) -> None:
        if batch.decisions and (error := next(failures, None)) is not None:
            raise error

    place.on_append = fail_once
    Worker(place, MemorySource(topic(50)), AT_END).run()

    assert place.deliveries.count("begun") == 2
    assert place.deliveries.count("ended") == 1


def test_a_worker_beside_another_process_that_delivers_decides_all_the_same(place):
    place.is_delivered_elsewhere, told = True, list[str]()
    work = Worker(place, MemorySource(topic(50), random=Random(1)), AT_END, tell=told.append).run()

    assert (work.counts.decisions, place.deliveries) == (50, [])
    assert told == ["this process does not deliver now: process 7 delivers"]


def test_a_sink_that_takes_nothing_is_told_with_since_when_and_why_and_again_when_it_goes_on(place, monkeypatch):
    monkeypatch.setattr(working_delivery, "HEALTH_S", 0.0)
    feed, told, stop = topic(1), list[str](), Event()
    trouble = Trouble("no answer from the bank.", NOW_MS)
    states = iter([health(), health(trouble, attempts=1), *[health(trouble, attempts=n) for n in (2, 3)], health()])

    def next_one(last_seq: int) -> Sequence[DeliveryHealth]:
        found = next(states, None)
        if found is None:
            stop.set()
            return ()
        return [found]

    place.health = next_one
    worker = Worker(place, MemorySource(feed), stop=stop, tell=told.append)
    worker.run()

    assert told == [
        "sink hook has been failing since 2026-05-28T20:26:40Z: no answer from the bank. Retrying",
        "sink hook accepts rows again",
    ]
    assert worker.work.sinks == ()


def health(trouble: Trouble | None = None, attempts: int = 0) -> DeliveryHealth:
    return DeliveryHealth("hook", through=0, lag=1, sent=0, attempts=attempts, trouble=trouble)


# ---- saving state


@pytest.mark.slow
def test_state_is_saved_after_so_many_places_while_the_work_goes_on(tmp_path):
    place, undisturbed, feed = Place(tmp_path / "1"), Place(tmp_path / "2"), topic(400)
    options = WorkerOptions(batch_size=20, until_idle_s=0.0, snapshot_places=50)
    work = Worker(place, MemorySource(feed), options).run()
    saved = [int(file.stem) for file in place.snapshots.files()]
    _, seq, warnings = restore(place.snapshots, place.log, definitions())
    feed.send("payments/0", *(message(number, 50) for number in range(400, 440)))
    for item in (place, undisturbed):
        Worker(item, MemorySource(feed), AT_END).run()

    assert work.snapshots >= 1
    assert all(50 <= seq <= 401 for seq in saved)
    assert (seq, warnings) == (saved[0], [])
    assert decisions(place.log) == decisions(undisturbed.log)


def test_state_is_saved_after_so_long_where_there_is_anything_new(place):
    options = WorkerOptions(batch_size=20, until_idle_s=0.3, snapshot_s=0.05)
    work = Worker(place, MemorySource(topic(40)), options).run()

    assert 1 <= work.snapshots <= 2


def test_a_snapshot_whose_process_is_killed_is_told_and_harms_nothing(place):
    def kill(step: str) -> None:
        if step == "half written":
            os.kill(os.getpid(), signal.SIGKILL)

    place.snapshots = Snapshots(place.snapshots.folder, on_step=kill)
    told = list[str]()
    options = WorkerOptions(batch_size=20, until_idle_s=0.2, snapshot_places=100)
    work = Worker(place, MemorySource(topic(300)), options, tell=told.append).run()

    assert (work.counts.decisions, work.snapshots, place.snapshots.files()) == (300, 0, [])
    assert any("the process that wrote it ended before it was done" in notice for notice in told)


def test_a_snapshot_that_cannot_be_written_is_told_once_and_tried_again_later(place, tmp_path):
    (tmp_path / "file").write_text("")
    place.snapshots = Snapshots(tmp_path / "file" / "snapshots")
    told = list[str]()
    options = WorkerOptions(batch_size=20, until_idle_s=0.2, snapshot_places=100)
    work = Worker(place, MemorySource(topic(300)), options, tell=told.append).run()

    assert work.counts.decisions == 300
    assert [notice for notice in told if "cannot be written" in notice] == told[:1]
