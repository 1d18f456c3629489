"""Lane worker: checks its partitions, and activates new versions, besides reading its source.

Whoever changes the project tells all lanes in one transaction (`streams.controls`), and each takes that up between two
batches, at a place of its own. How far that was read moves in the transaction that has the version in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Final

import msgspec

from shroff.errors import DefinitionError, StateError, TransientError, UsageError
from shroff.events.intake import Submission
from shroff.log.adopting import check_inputs_unchanged
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions
from shroff.streams.controls import Controls, Message
from shroff.streams.log import Batch, Log, Offset, Refused
from shroff.streams.source import Taken
from shroff.worker.inbox import InboxServer
from shroff.worker.lanes.lanes import Home

CONTROLS: Final = "control"  # among the offsets of a lane's log: how far versions were read
SHAPE: Final = "lanes"  # and what the lanes are
LOOK_S: Final = 0.25
LABEL: Final = "label"
OTHER_EVENTS: Final = "this lane has a new version that reads events in another way. Restart this worker to use it"


class Version(msgspec.Struct, frozen=True):
    """A version sent to lanes: the full text of its files, as in a control event."""

    files: dict[str, str]
    versions: dict[str, str]


def told(definitions: Definitions) -> bytes:
    """The message that activates a version."""
    return msgspec.json.encode(Version(dict(definitions.files), asdict(definitions.versions)), order="sorted")


def files_of(message: Message) -> dict[str, str]:
    """The files of the version in a message. Raises: UsageError where it is none."""
    try:
        return msgspec.json.decode(message.body, type=Version).files
    except msgspec.MsgspecError as error:
        raise UsageError(f"it is not a version of a project: {error}") from None


class _AnewError(UsageError):
    """A version can be taken up only by a worker that begins with it."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One of several lanes.

    Args:
        controls: Tells which version is in force.
        load: Gives the version of a message. Raises: UsageError, DefinitionError.
        home: Knows where events belong.
    """

    number: int
    count: int
    key: str
    controls: Controls
    load: Callable[[Message], Definitions]
    home: Callable[[Definitions], Home]
    now_ms: Callable[[], int]
    tell: Callable[[str], None]

    def leading(self, log: Log, writer: Writer, inbox: InboxServer) -> LaneLead:
        """Work done while this process is the lane's active writer (leader)."""
        return LaneLead(self, log, writer, inbox)


class LaneLead:
    """One term as writer of a lane's log. Raises: StateError if it was started with other lanes."""

    def __init__(self, lane: Lane, log: Log, writer: Writer, inbox: InboxServer) -> None:
        self._lane, self._log, self._writer, self._inbox = lane, log, writer, inbox
        self._home = lane.home(writer.definitions)
        self._shape = log.offsets(SHAPE)
        if self._shape:
            self._compare(self._now(self._shape["partitions"]))
        self._reached = log.offset(CONTROLS, lane.controls.part)
        lane.controls.start(self._reached or "")
        self._message: Message | None = None  # which is taken up now
        self._later: Message | None = None  # and the newest behind it
        self._definitions: Definitions | None = None  # of the first
        self._looked_s, self._words = 0.0, ""

    def hold(self, partitions: int) -> None:
        """Check the lane against its initial settings, once its source is open. No commit is running.

        Raises: StateError where keys would be in other lanes than before.
        """
        now = self._now(str(partitions))
        if self._shape:
            self._compare(now)
        else:
            self._log.append(Batch(offsets=[Offset(SHAPE, name, text, None) for name, text in now.items()]))
            self._shape = now

    def _now(self, partitions: str) -> dict[str, str]:
        return {"lanes": str(self._lane.count), "key": self._lane.key, "partitions": partitions}

    def _compare(self, now: Mapping[str, str]) -> None:
        if self._shape != now:
            before, told = (
                ", ".join(f"{name} {text}" for name, text in sorted(one.items())) for one in (self._shape, now)
            )
            raise StateError(
                f"lane {self._lane.number} was started with {before}, and now has {told}: keys would move to other "
                f"lanes, and their windows to other logs. Restore the old settings, or create a new project and send "
                f"all events to it"
            )

    def checked(self, found: Sequence[Taken], submissions: Sequence[Submission]) -> list[Submission]:
        """Submissions of the source; those in the wrong partition are refused."""
        checked: list[Submission] = []
        each, count = iter(submissions), int(self._shape["partitions"])
        for taken in found:
            if taken.type == LABEL:
                checked += islice(each, len(taken.lines))
                continue
            partition = int(taken.part.rpartition("/")[2])
            checked += (self._home.checked(next(each), line.key, partition, count) for line in taken.lines)
        return checked

    def attend(self, now_s: float, drain: Callable[[], None]) -> None:
        """Apply messages to this lane, between two batches; `drain` commits everything decided.

        Raises: UsageError where that takes a new start.
        """
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        self._later = self._lane.controls.newest() or self._later
        if self._later is not None and self._definitions is None:  # what waits for a model is not waited for any more
            self._message, self._later = self._later, None
        if self._message is not None:
            drain()
            self._message = None if self._is_done(self._message) else self._message

    def _is_done(self, message: Message) -> bool:
        """Whether a version is active or refused; otherwise it is being prepared, or waits for a model."""
        part, behind = self._lane.controls.part, str(int(message.offset) + 1)
        offset = Offset(CONTROLS, part, behind, self._reached)
        try:
            definitions = self._definitions_of(message)
            if definitions is None or not self._inbox.adopts(lambda: definitions, [offset]):
                return False
            self._say(f"the version at {part} {message.offset} is active")
        except _AnewError:
            raise
        except (UsageError, DefinitionError) as error:
            words = f"this version cannot become active: {error}"
            self._say(words)
            refused = Refused(part, message.offset, CONTROLS, words, message.body, self._lane.now_ms())
            self._log.append(Batch(refused=[refused], offsets=[offset]))
        self._reached, self._definitions = behind, None
        return True

    def _definitions_of(self, message: Message) -> Definitions | None:
        """Version of a message; None while its models are missing. Raises: UsageError, DefinitionError."""
        if self._definitions is None:
            try:
                found = self._lane.load(message)
                found.require_models()
            except (StateError, TransientError) as error:
                self._say(f"a new version reached this lane, but cannot become active yet: {error}")
                return None
            try:
                check_inputs_unchanged(self._writer.definitions, found)
            except UsageError:
                raise _AnewError(OTHER_EVENTS) from None
            self._definitions = found
        return self._definitions

    def _say(self, words: str) -> None:
        if words != self._words:
            self._words = words
            self._lane.tell(words)
