"""The worker of one of several lanes: versions that it is told of, and lanes that are not what they were."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from shroff.errors import StateError, UsageError
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.worker.inbox import InboxServer
from shroff.worker.lanes.lanes import Home
from shroff.worker.lanes.work import CONTROLS, SHAPE, Lane, LaneLead, files_of, told
from tests.support.controls_memory import MemoryControls, MemoryPost, RouteDoc
from tests.support.log_memory import MemoryLog
from tests.support.projects import intake_of
from tests.worker.test_lanes import EVENTS, FEATURES, SHROFF

NOW_S = 1_000.0
RULE = "- { id: often, on: payment, by: card, when: card.seen > %d, effect: review }\n"


def version(most: int, events: str = EVENTS) -> Definitions:
    files = {"shroff.yaml": SHROFF, "events.yaml": events, "features.yaml": FEATURES, "rules/r.yaml": RULE % most}
    return load_definitions(files).or_raise()


class Worker:
    """A lane's worker as far as it takes up versions, over a log in memory."""

    def __init__(self, lane: int = 1, log: MemoryLog | None = None) -> None:
        self.log, self.told, self.said = log or MemoryLog(), RouteDoc(), list[str]()
        self.post = MemoryPost(self.told)
        self.lane, self.writer = lane, Writer(self.log, version(1), lambda: 5)

    def reading(self) -> MemoryLog:
        return MemoryLog(self.log.store, read_only=True)

    @property
    def reached(self) -> str | None:
        """How far versions were read."""
        return self.log.offset(CONTROLS, "control/1")

    def lead(self, load: Callable[[dict[str, str]], Definitions] | None = None, lanes: int = 2) -> LaneLead:
        opened = MemoryControls(self.told, self.lane)
        read = load or (lambda files: load_definitions(files).or_raise())
        inbox = InboxServer(self.log, self.writer, intake_of, lambda: self.writer.definitions, self.reading)
        lane = Lane(
            *(self.lane, lanes, "card", opened, lambda one: read(files_of(one))),
            *(lambda of: Home(of.events, "card", str), lambda: 7, self.said.append),
        )
        return lane.leading(self.log, self.writer, inbox)


def attend(worker: Worker, lead: LaneLead, upto: str) -> None:
    """Between batches, until versions were read up to an offset: one may have to be prepared first."""
    for turn in range(200):
        if worker.reached == upto:
            return
        lead.attend(NOW_S + turn, lambda: None)
        time.sleep(0.02)
    raise AssertionError(f"versions were read up to {worker.reached}")


def test_a_version_comes_into_force_with_how_far_it_was_read():
    worker = Worker()
    worker.post.publish(told(version(2)), 2)

    attend(worker, worker.lead(), "1")

    assert worker.writer.definitions.versions == version(2).versions
    assert len(worker.log.controls()) == 2


def test_of_several_versions_the_last_one_counts_and_the_same_one_again_changes_nothing():
    worker = Worker()
    for most in (2, 3, 4):
        worker.post.publish(told(version(most)), 2)
    attend(worker, worker.lead(), "3")
    worker.post.publish(told(version(4)), 2)

    attend(worker, worker.lead(), "4")

    assert len(worker.log.controls()) == 2
    assert worker.writer.definitions.versions == version(4).versions


def test_what_is_no_version_is_quarantined_and_the_next_one_taken():
    worker = Worker()
    worker.post.publish(b"{ no version", 2)
    lead = worker.lead()
    attend(worker, lead, "1")
    worker.post.publish(told(version(2)), 2)

    attend(worker, lead, "2")

    ((_, refused),) = worker.log.refused_list()
    assert (refused.source, refused.place, refused.raw) == ("control/1", "0", b"{ no version")
    assert refused.reason.startswith("this version cannot become active: it is not a version of a project")
    assert worker.writer.definitions.versions == version(2).versions


def test_a_version_that_reads_events_otherwise_needs_a_new_start():
    worker = Worker()
    worker.post.publish(told(version(2, EVENTS.replace("other: text?", "other: text?, more: text?"))), 2)

    with pytest.raises(UsageError, match="Restart this worker to use it"):
        attend(worker, worker.lead(), "1")

    assert worker.reached is None
    assert not worker.log.refused_list()


def test_a_version_whose_model_is_not_here_is_waited_for():
    worker, there = Worker(), list[bool]()

    def load(files: dict[str, str]) -> Definitions:
        if not there:
            raise StateError("the model m-1 is not there")
        return load_definitions(files).or_raise()

    worker.post.publish(told(version(2)), 2)
    lead = worker.lead(load)
    for turn in range(3):
        lead.attend(1.0 + turn, lambda: None)
    assert worker.said == ["a new version reached this lane, but cannot become active yet: the model m-1 is not there"]
    assert worker.reached is None

    there.append(True)
    attend(worker, lead, "1")

    assert worker.writer.definitions.versions == version(2).versions


def test_a_version_whose_model_never_comes_is_passed_over_for_the_next_one():
    worker = Worker()

    def load(files: dict[str, str]) -> Definitions:
        if files["rules/r.yaml"] == RULE % 2:
            raise StateError("the model m-1 is not there")
        return load_definitions(files).or_raise()

    worker.post.publish(told(version(2)), 2)
    lead = worker.lead(load)
    lead.attend(NOW_S - 1, lambda: None)
    worker.post.publish(told(version(3)), 2)

    attend(worker, lead, "2")

    assert worker.writer.definitions.versions == version(3).versions


def test_a_lane_is_held_to_what_it_was_begun_with():
    worker = Worker()
    worker.lead().hold(4)
    worker.lead().hold(4)

    assert worker.log.offsets(SHAPE) == {"lanes": "2", "key": "card", "partitions": "4"}
    with pytest.raises(StateError, match="lane 1 was started with key card, lanes 2, partitions 4"):
        worker.lead().hold(6)
    with pytest.raises(StateError, match="and now has key card, lanes 4, partitions 4: keys would move to other lanes"):
        worker.lead(lanes=4)
