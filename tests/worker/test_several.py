"""Several sources read at once: one that fails stops no other, and each is read, counted and told of by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from threading import Event, Thread, Timer

import pytest

from shroff.errors import StateError, UsageError
from shroff.log.event_notes import sources_of
from shroff.streams.merge import merge_of
from shroff.streams.source import Health
from shroff.worker.serving import source_loop as working_lead
from shroff.worker.serving import source_reader
from shroff.worker.serving import worker as working
from shroff.worker.serving.counts import WorkerOptions
from shroff.worker.serving.multi_source import SeveralSources
from shroff.worker.serving.source_reader import ReadNews
from shroff.worker.serving.worker import Worker
from tests.support.log_memory_parts import quarantined
from tests.support.projects import definitions
from tests.support.source_memory import MemorySource, MemoryTopic, MergingMemorySource
from tests.worker.test_working import AT_END, Place, ids, message

News = dict[str, ReadNews]


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "PAUSES_S", (0.001, 0.002))
    monkeypatch.setattr(source_reader, "PAUSES_S", (0.001, 0.002))
    monkeypatch.setattr(working_lead, "IDLE_S", 0.001)


def topics(**sent: list[bytes]) -> dict[str, MemoryTopic]:
    return {name: MemoryTopic({"payments/0": list(messages)}, "payment") for name, messages in sent.items()}


@contextmanager
def several(
    of: Mapping[str, MemoryTopic | MemorySource],
    tell: Callable[[str], None] = lambda _: None,
    claims: Mapping[str, set[str]] | None = None,
    news: News | None = None,
) -> Iterator[SeveralSources]:
    made = definitions({})
    sources = {}
    for name, topic in of.items():
        merge = merge_of(made.events, made.settings, "jsonl")
        sources[name] = MergingMemorySource(topic, "memory", merge) if isinstance(topic, MemoryTopic) else topic
    kept = {} if news is None else news
    with closing(SeveralSources(sources, {"memory": claims or {}}, tell, kept.__setitem__)) as found:
        yield found


def failing(work: Health) -> dict[str, str]:
    return {name: words for name, words in work.failing.items() if words}


def until(is_so: Callable[[], bool], limit_s: float = 120.0) -> None:
    waited = Event()
    for _ in range(int(limit_s / 0.005)):
        if is_so():
            return
        waited.wait(0.005)
    raise AssertionError("it did not come to that")


@contextmanager
def working_on(place: Place, source: SeveralSources, options: WorkerOptions | None = None) -> Iterator[Worker]:
    stop = Event()
    worker = Worker(place, source, options, stop=stop)
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(120)


def test_events_of_all_come_in_order_of_time_and_each_by_its_source(place):
    feed = topics(cards=[message(1, 1), message(3, 3)], app=[message(2, 2), message(4, 4)])
    news: News = {}
    with several(feed, news=news) as source:
        work = Worker(place, source, AT_END).run()
    with several(feed) as source:
        assert Worker(place, source, AT_END).run().taken == 0, "each is read on where it was read to"

    assert ids(place.log) == ["p1", "p2", "p3", "p4"]
    assert sources_of(place.log).of([2, 3, 4, 5]) == ["cards", "app", "cards", "app"]
    assert {part: at.partition("~")[0] for part, at in work.offsets.items()} == {
        "read/cards/payments/0": "2",
        "read/app/payments/0": "2",
    }
    assert work.offsets == place.log.offsets.of("read")
    assert {name: (state.appended, state.waiting) for name, state in news.items()} == {"cards": (2, 0), "app": (2, 0)}


def test_a_source_that_is_away_holds_the_others_up_for_a_while_only_and_is_read_when_it_is_back(place, monkeypatch):
    monkeypatch.setattr(source_reader, "PATIENCE_S", 0.05)
    feed, told = topics(cards=[message(1, 1)], app=[message(2, 2)]), list[str]()
    feed["app"].away_for = 1_000_000
    with several(feed, told.append) as source, working_on(place, source) as worker:
        until(lambda: ids(place.log) == ["p1"] and bool(failing(worker.work.health)))
        assert failing(worker.work.health) == {"app": "the topic in memory cannot be reached"}
        feed["app"].away_for = 0
        until(lambda: ids(place.log) == ["p1", "p2"] and not failing(worker.work.health))

    assert told == ["source app fails: the topic in memory cannot be reached", "source app is read again"]


def test_a_source_that_may_have_something_earlier_is_waited_for(place):
    feed = topics(cards=[message(2, 2)], app=[message(1, 1)])
    feed["app"].away_for = 20
    with several(feed) as source:
        Worker(place, source, AT_END).run()

    assert ids(place.log) == ["p1", "p2"]


def test_a_source_that_was_read_to_its_end_holds_nobody_up_when_it_fails(place, monkeypatch):
    monkeypatch.setattr(source_reader, "PATIENCE_S", 600.0)
    feed = topics(cards=[message(1, 1)], app=[message(2, 2)])
    with several(feed) as source, working_on(place, source):
        until(lambda: len(ids(place.log)) == 2)
        feed["app"].away_for = 1_000_000
        feed["cards"].send("payments/0", message(3, 3))
        until(lambda: ids(place.log) == ["p1", "p2", "p3"])


def test_a_source_that_does_not_answer_delays_no_other(place, monkeypatch):
    monkeypatch.setattr(source_reader, "PATIENCE_S", 0.05)
    made = definitions({})
    feed = topics(cards=[message(1, 1)], app=[message(2, 2)])
    stuck = MergingMemorySource(feed["app"], "memory", merge_of(made.events, made.settings, "jsonl"))
    stuck.stuck.clear()
    with several({"cards": feed["cards"], "app": stuck}) as source, working_on(place, source):
        until(lambda: ids(place.log) == ["p1"])
        stuck.stuck.set()
        until(lambda: ids(place.log) == ["p1", "p2"])


def test_a_source_that_cannot_be_read_on_leaves_the_others_alone_and_ends_a_worker_that_has_nothing_else(place):
    feed = topics(cards=[message(1, 1)], app=[message(2, 2)])
    with several(feed) as source:
        source.readers[1].source.start = _gone
        with pytest.raises(StateError, match="1 message is gone"):
            Worker(place, source, AT_END).run()

        assert ids(place.log) == ["p1"]

        source.readers[0].source.start = _gone
        with pytest.raises(StateError, match="1 message is gone"):
            Worker(place, source).run()


def _gone(_offsets: Mapping[str, str]) -> None:
    raise StateError("1 message is gone")


def test_a_commit_that_fails_gives_all_of_them_again(place):
    feed = topics(cards=[message(n, n) for n in range(0, 60, 2)], app=[message(n, n) for n in range(1, 60, 2)])
    left = [3]

    def refuse(batch):
        if batch.decisions and left[0]:
            left[0] -= 1
            raise OSError("the disk is gone")

    place.on_append = refuse
    with several(feed) as source:
        work = Worker(place, source, WorkerOptions(batch_size=7, until_idle_s=0.0)).run()
        told = [reader.source.told for reader in source.readers]

    assert (ids(place.log), work.restored) == ([f"p{n}" for n in range(60)], 3)
    assert [list(notice) for notice in told] == [["payments/0"], ["payments/0"]], "each is told of its own"


def test_dead_letters_go_to_the_source_that_they_came_by_by_its_own_names(place):
    feed = topics(cards=[b"bad"], app=[message(2, 2), b"worse"])
    with several(feed) as source:
        Worker(place, source, AT_END).run()

    assert [(letter.source, letter.raw) for letter in feed["cards"].letters] == [("payments/0", b"bad")]
    assert [(letter.source, letter.raw) for letter in feed["app"].letters] == [("payments/0", b"worse")]
    assert {entry.source for _, entry in quarantined(place.log)} == {"read/cards/payments/0", "read/app/payments/0"}


def test_late_events_are_kept_of_those_whose_settings_say_so(place):
    late = [message(n, n).replace(b"2026-03-01", b"2026-02-01") for n in (1, 2)]
    feed = topics(cards=[message(8), late[0]], app=[message(9), late[1]])
    with several(feed) as source:
        options = WorkerOptions(until_idle_s=0.0, keeps_late=frozenset({"read/cards"}))
        work = Worker(place, source, options).run()

    assert (work.counts.events.late, work.quarantined) == (1, 1)


def test_a_source_goes_on_where_it_was_read_to_before_it_had_a_name(place):
    feed = topics(cards=[message(1, 1), message(2, 2)]) | {"app": MemoryTopic({"logins": []}, "payment")}
    Worker(place, MemorySource(feed["cards"]), WorkerOptions(until_idle_s=0.0, limit=1)).run()
    with several(feed, claims={"payments": {"cards"}, "logins": {"app"}}) as source:
        work = Worker(place, source, AT_END).run()

    assert (work.taken, ids(place.log)) == (1, ["p1", "p2"])


def test_a_position_that_may_be_of_either_source_is_nobodys(place):
    feed = topics(cards=[message(1, 1)], app=[message(2, 2)])
    Worker(place, MemorySource(feed["cards"]), AT_END).run()
    with (
        several(feed, claims={"payments": {"app", "cards"}}) as source,
        pytest.raises(UsageError, match="forget payments/0"),
    ):
        Worker(place, source, AT_END).run()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_poll_gives_no_more_than_its_limit_also_of_sources_without_a_merge(limit):
    feed = topics(cards=[message(n) for n in range(9)], app=[message(n) for n in range(9, 18)])
    plain = MemorySource(MemoryTopic({"other": [message(n) for n in range(18, 27)]}, "payment"))
    with several({**feed, "plain": plain}) as source:
        source.start({})
        given = []
        while sum(given) < 27:
            given.append(sum(len(item.lines) for item in source.poll(limit, 120.0)))

    assert max(given) <= limit
    assert sum(given) == 27


def test_messages_wait_for_earlier_ones_no_longer_than_a_source_needs_to_answer():
    feed = topics(cards=[message(1)], app=[])
    with several(feed) as source:
        source.start({})
        assert source.poll(10, 120.0)
        Timer(0.05, lambda: feed["app"].send("payments/0", message(2))).start()
        found = source.poll(10, 120.0)

    assert [item.part for item in found] == ["read/app/payments/0"]


def test_without_sources_nothing_is_read():
    with several({}) as source, pytest.raises(StateError, match="no source is read"):
        source.poll(10, 0.0)
