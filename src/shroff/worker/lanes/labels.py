"""Labels of a project with several lanes: each goes to the lane of its event, by the topic of labels."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from msgspec.structs import replace

from shroff.errors import UsageError
from shroff.log.writer import REFUSED, TAKEN, UNTAKEN, Answer
from shroff.streams.source import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from shroff.events.formats.wire import Encoder
    from shroff.events.intake import Submission
    from shroff.events.validation import LabelInput
    from shroff.project.definitions import Definitions
    from shroff.project.settings.system import System
    from shroff.project.settings.systems import Systems
    from shroff.streams.controls import ControlTopic
    from shroff.streams.log import Log
    from shroff.streams.sender import Sender

TAKEN_WITHIN_S: Final = 20.0
LOOK_S: Final = 0.1
NOWHERE: Final = "no lane has its event: a label is sent when its event is decided"
BY_FIELD: Final = "with several lanes a label names its event by type and id, not by a unique field"
SENT: Final = "it is sent to lane {}, which has not applied it yet; its worker will"


class ReadableLane(Protocol):
    """One lane of a project, with a readable log."""

    def has_log(self) -> bool:
        """Whether the lane has a log yet."""

    def open_log(self, *, read_only: bool) -> Log:
        """The log of the lane."""


class LaneLabels(Protocol):
    """A project with several lanes."""

    @property
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @property
    def systems(self) -> Systems:
        """The outside systems of the project."""

    def each_lane(self) -> Sequence[ReadableLane]:
        """The lanes."""

    def open_post(self) -> ControlTopic:
        """The channel for messages to lanes."""

    def open_sender(self, system: System) -> tuple[Sender, Callable[[bool], Encoder]]:
        """The encoder and sender of messages to the live source."""


def send_labels(project: LaneLabels, labels: Sequence[Submission]) -> list[Answer]:
    """Send labels in one transaction, and wait for a while until their lanes have them.

    What names no event of any lane is refused, and not sent: it would wait in a lane for an event of another. What
    nobody dated is known no earlier than its event.
    Raises: UsageError where lanes did not take up in time what was sent to them, which they will.
    """
    lanes = _lanes_of(project, labels)
    answers = [_answer(one, lanes.get(at)) for at, one in enumerate(labels)]
    bodies: dict[int, list[bytes]] = defaultdict(list)
    for at, body in _bodies(project, labels, lanes).items():
        bodies[lanes[at].lane].append(body)
    if bodies:
        _await(project.each_lane(), project.open_post().labels(bodies))
        _place(project, labels, lanes, answers)
    return answers


class _There(NamedTuple):
    """Lane, sequence number and time of an event."""

    lane: int
    time_ms: int


def _answer(one: Submission, there: _There | None) -> Answer:
    label, id_ = one.label, ""
    if label is not None:
        id_ = f"{label.event_type}/{label.event_id}"
    if one.refusal is not None or label is None:
        return Answer(REFUSED if one.refusal else UNTAKEN, "label", id_, reason=one.refusal or "", is_label=True)
    if there is None:
        return Answer(REFUSED, "label", id_, reason=BY_FIELD if label.unique else NOWHERE, is_label=True)
    return Answer(TAKEN, "label", id_, is_label=True)


def _lanes_of(project: LaneLabels, labels: Sequence[Submission]) -> dict[int, _There]:
    """Lane of each label's event, by the label's index, if it is in a lane."""
    wanted: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, one in enumerate(labels):
        label = one.label
        if one.refusal is None and label is not None and label.event_type and label.event_id:
            wanted[label.event_type][label.event_id].append(at)
    found: dict[int, _There] = {}
    for number, lane in enumerate(project.each_lane()):
        if lane.has_log():
            with closing(lane.open_log(read_only=True)) as log:
                for type_name, ids in wanted.items():
                    for id_, record in log.find(type_name, list(ids)).items():
                        found |= dict.fromkeys(ids[id_], _There(number, record.time_ms))
    return found


def _bodies(project: LaneLabels, labels: Sequence[Submission], lanes: Mapping[int, _There]) -> dict[int, bytes]:
    """The messages of the labels that have a lane, as the source reads them."""
    from shroff.worker.producing import MessageMaker

    if not lanes:
        return {}
    system, definitions = project.systems.source, project.definitions
    assert system is not None, "a project with lanes has a source"
    sender, encoder = project.open_sender(system)
    with closing(sender):
        is_json = system.text("format", "json") == "json"
        outgoing = MessageMaker(definitions.events, definitions.settings, sender, encoder, is_json=is_json)
        sent = {at: replace(labels[at], label=_dated(labels[at], lanes[at].time_ms)) for at in sorted(lanes)}
        return {at: outgoing.value(one) for at, one in sent.items()}


def _dated(one: Submission, event_ms: int) -> LabelInput:
    assert one.label is not None, "only a label has a lane"
    return one.label.dated(event_ms)


def _await(lanes: Sequence[ReadableLane], sent: Mapping[str, int]) -> None:
    """Wait until lanes have read what was sent to them. Raises: UsageError on timeout."""
    until_s = time.monotonic() + TAKEN_WITHIN_S
    for part, offset in sent.items():
        number = int(part.rpartition("/")[2])
        while not _has_read(lanes[number], part, offset):
            if time.monotonic() > until_s:
                raise UsageError(SENT.format(number))
            time.sleep(LOOK_S)


def _place(
    project: LaneLabels, labels: Sequence[Submission], lanes: Mapping[int, _There], answers: Sequence[Answer]
) -> None:
    """Record the current position of each label in its lane's log."""
    from shroff.log.history import label_id

    views, places = project.each_lane(), project.definitions.settings.money_places
    for number in {there.lane for there in lanes.values()}:
        ids = {
            label_id(_dated(labels[at], there.time_ms), places): at
            for at, there in lanes.items()
            if there.lane == number
        }
        with closing(views[number].open_log(read_only=True)) as log:
            found = log.find("label", list(ids))
        for id_, at in ids.items():
            answers[at].lane, answers[at].seq = number, found[id_].seq if id_ in found else 0


def _has_read(lane: ReadableLane, part: str, offset: int) -> bool:
    with closing(lane.open_log(read_only=True)) as log:
        reached = log.offset("kafka", part)
        return reached is not None and int(shown(reached)) > offset
