"""A standby: it folds along what another process commits, and has that state when it takes the lead."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from shroff.errors import DefinitionError, StorageError, TransientError
from shroff.log.state.fold import fold
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions
from shroff.streams.log import Log
from shroff.streams.snapshots import Snapshots
from shroff.worker import standby
from shroff.worker.standby import Standby, Start
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.patience import until
from tests.support.projects import FILES, NOW_MS, definitions, payment, writer

MORE = {"features.yaml": FILES["features.yaml"] + "  largest_1d: max(payment.amount) over 1d\n"}


class Place:
    """A small project; its files may be changed while somebody stands by."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.snapshots = Snapshots(folder / "snapshots")
        self.files: dict[str, str] = {}
        self.reads = self.followed = 0
        self.fails: list[Exception] = []

    def open_log(self, *, read_only: bool) -> Log:
        if read_only:
            self.reads += 1
            if self.fails:
                raise self.fails.pop()
        return MemoryLog(self.store, read_only=read_only)

    def definitions(self) -> Definitions:
        return definitions(self.files)

    def follow(self, log: Log) -> str:
        self.followed += 1
        return "a setting is not taken up" if self.followed == 1 else ""


class BackgroundTasks:
    """A standby on a thread of its own."""

    def __init__(self, place: Place) -> None:
        self.stop, self.told = Event(), list[str]()
        self.standby = Standby(place, self.stop, self.told.append)
        self.taken: tuple[Log, Start | None] | None = None
        self.error: Exception | None = None
        self.thread = Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.taken = self.standby.lead()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def joined(self) -> tuple[Log, Start | None]:
        self.thread.join(120)
        assert self.error is None
        assert self.taken is not None
        return self.taken


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(standby, "TRY_S", 0.03)
    monkeypatch.setattr(standby, "LOOK_S", 0.002)
    return Place(tmp_path)


@pytest.mark.slow
def test_it_folds_along_and_goes_on_with_that_state(place):
    log = MemoryLog(place.store)
    leader = writer(log)
    beside = BackgroundTasks(place)
    for number in range(5):
        leader.write([payment(10 * number + item, number) for item in range(10)])
        until(lambda: beside.standby.seq == log.last_seq())
    until(lambda: place.followed > 1)
    log.close()
    mine, start = beside.joined()

    assert beside.told.count("a setting is not taken up") == 1
    assert start is not None
    assert start[0].seq == mine.last_seq() == 51
    taken_over = Writer(mine, start[0].engine.definitions, lambda: NOW_MS, start=start)
    (answer,) = taken_over.write([payment(99, 6)])
    (undisturbed,) = _all_at_once([payment(number, number // 10) for number in range(50)], payment(99, 6))
    assert answer.document == undisturbed.document


def _all_at_once(before, last):
    other = writer(MemoryLog())
    other.write(before)
    return other.write([last])


def test_what_comes_between_the_last_look_and_the_lead_is_folded_by_the_writer(place):
    log = MemoryLog(place.store)
    leader = writer(log)
    leader.write([payment(1)])
    beside = BackgroundTasks(place)
    until(lambda: beside.standby.seq == 2)
    beside.stop.set()
    beside.thread.join()
    start = beside.standby._start
    leader.write([payment(2, 1), payment(3, 2)])
    log.close()
    other = MemoryLog(place.store)

    assert Writer(other, start[0].engine.definitions, lambda: NOW_MS, start=start).state.watermark_ms == (
        other.watermark_ms()
    )


def test_a_version_that_the_leader_put_in_force_is_followed(place):
    log = MemoryLog(place.store)
    writer(log).write([payment(1, amount="70.00")])
    beside = BackgroundTasks(place)
    until(lambda: beside.standby.seq == log.last_seq())
    place.files = dict(MORE)
    writer(log, MORE).write([payment(2, 1)])
    until(lambda: beside.standby.seq == log.last_seq())
    log.close()
    _, start = beside.joined()

    assert start is not None
    assert start[0].engine.definitions.versions == definitions(MORE).versions


@pytest.mark.parametrize("changes", [MORE, {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 30d\n"}])
def test_state_of_other_files_than_the_project_has_now_is_not_used(place, changes):
    log = MemoryLog(place.store)
    writer(log).write([payment(1)])
    beside = BackgroundTasks(place)
    until(lambda: beside.standby.seq == log.last_seq())
    place.files = dict(changes)
    log.close()

    assert beside.joined()[1] is None


def test_a_greater_lateness_that_was_in_force_meanwhile_folds_the_log_anew(place):
    log = MemoryLog(place.store)
    writer(log).write([payment(1)])
    beside = BackgroundTasks(place)
    until(lambda: beside.standby.seq == log.last_seq())
    writer(log, {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 30d\n"}).write([payment(2, 1)])
    writer(log).write([payment(3, 2)])
    log.close()

    assert beside.joined()[1] is None


@pytest.mark.parametrize("error", [TransientError("away"), StorageError("unreadable"), OSError("gone")])
def test_a_log_that_cannot_be_read_for_now_is_told_and_tried_again(place, error):
    log = MemoryLog(place.store)
    place.fails = [error]
    beside = BackgroundTasks(place)
    writer(log).write([payment(1)])
    until(lambda: beside.standby.seq == log.last_seq())
    log.close()
    beside.joined()

    assert f"standby, waiting: {error}" in beside.told


def test_files_with_mistakes_end_it(place):
    log = MemoryLog(place.store)
    place.files = {"features.yaml": "card: { x: nonsense( }\n"}
    beside = BackgroundTasks(place)
    beside.thread.join(120)

    assert isinstance(beside.error, DefinitionError)
    log.close()


@pytest.mark.slow
def test_a_free_lead_is_taken_however_far_behind_it_is(place, monkeypatch):
    #  the log has 600 places, and its leader ends while the first 50 of them are folded
    log = MemoryLog(place.store)
    writer(log).write([payment(number, number // 100) for number in range(600)])
    last, tick = log.last_seq(), Event()

    def slow(followed, found, upto, progress, start):
        log.close()
        tick.wait(2 * standby.TRY_S)
        return fold(followed, found, upto, progress, start)

    monkeypatch.setattr(standby, "AT_ONCE", 50)
    monkeypatch.setattr(standby, "fold", slow)
    mine, start = BackgroundTasks(place).joined()

    assert start is not None
    assert 0 < start[0].seq < last
    taken_over = Writer(mine, start[0].engine.definitions, lambda: NOW_MS, start=start)
    (answer,) = taken_over.write([payment(600, 20)])
    (undisturbed,) = _all_at_once([payment(number, number // 100) for number in range(600)], payment(600, 20))
    assert answer.document == undisturbed.document


@pytest.mark.parametrize(
    ("at_once", "took_s", "then"),
    [(8_192, 0.5, 4_096), (256, 9.0, 256), (8_192, 0.2, 8_192), (8_192, 0.01, 16_384), (65_536, 0.01, 65_536)],
)
def test_a_step_of_folding_takes_about_a_quarter_of_a_second(at_once, took_s, then):
    assert standby.paced(at_once, took_s) == then
