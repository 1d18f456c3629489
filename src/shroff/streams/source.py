"""The contract of live sources: parts, each an ordered row of messages that stay where they are for a while.

A source keeps nothing of its own: the store knows how far each part was read, and moves that in the transaction of
what came of it. So a source may be opened anew anywhere, and whatever it is told of progress is a hint.

An adapter `source.KIND` is called with the settings of that kind (`System`, each `${NAME}` filled), the `Decoder` of
its messages, `project=` the project's name, and `merge=` a `streams.merge.Merge` of its own, which it fills and takes
from: of many waiting messages of several parts those that happened earlier come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec import field

from shroff.events.formats.lines import Line
from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Refused

CERTAIN_S = 1.0  # so long it may count, once somebody looked, that a part has nothing more


class PolledMessages(NamedTuple):
    """Consecutive messages of one part, as lines; what cannot be read is a line with an error.

    `part` names it in the store and in quarantine (`payments/0`). The lines are `format` and of one event type, or
    tell theirs where `type` is None. `offset` is where the next message of the part begins, which may be
    farther than the last line where messages between carry nothing, such as markers of transactions. Of several of a
    part in one poll the last one's is to be stored: what the merge is to know of the lines before is in that alone.

    One without lines says where a part begins that had no offset: it is to be stored as all are.
    """

    part: str
    type: str | None
    format: str
    lines: Sequence[Line]
    offset: str
    columns: tuple[str, ...] | None = None  # the names in the head of a file that has one
    begins: bool = False  # whether these are the first lines of a file
    separator: str = ","  # of the columns of CSV


class Health(FrozenStruct):
    """How a source is doing. `lag` is the number of messages that wait, None where that is not known.

    `overtaken` messages were given after later ones of other parts, by `overtaken_ms` of event time at most.
    """

    lag: int | None = None
    errors: int = 0
    rebalances: int = 0
    words: Sequence[str] = field(default_factory=tuple)  # what somebody should be told, newest last
    overtaken: int = 0
    overtaken_ms: int = 0
    failing: TextMapping = field(default_factory=dict)  # each of several sources, and why nothing comes of it


class PartLag(NamedTuple):
    """Messages of a part that wait behind an offset; None where nobody says how many.

    Markers of transactions may be among them. `trouble` says in words why it cannot be read on from there. Where
    `is_counted` is false, the source answers but cannot say how many messages wait, as Pub/Sub cannot.
    """

    part: str
    waiting: int | None
    trouble: str = ""
    is_counted: bool = True


class Source(Protocol):
    """A live source, read by one process at a time; a second one harms nothing.

    Whatever is outside and may come back (a broker, a network, a schema registry) is waited for: `poll` gives
    nothing meanwhile, and `health` says why.
    """

    name: str  # of the source among the store's offsets

    @property
    def takes_refused(self) -> bool:
        """Whether there is a place for dead letters."""

    def start(self, offsets: TextMapping) -> None:
        """Read on from these offsets; parts that are not among them begin where the settings say.

        Also called to begin again after something failed: what was polled since is given again.
        Raises: UsageError where the source cannot be what the settings say (a topic that does not exist);
            StateError where messages behind an offset are gone, with the count, so that nothing is lost in silence;
            TransientError where it cannot be reached at all.
        """

    def look(self, offsets: TextMapping) -> list[PartLag]:
        """Ask outside how all parts stand by these offsets, in their order by name, within some seconds.

        Started or not: nothing is taken, and no part that is read moves; `health` knows then what is there now.
        Parts of `offsets` that are not there any more have their trouble; those that the settings do not name any more
        are left out. Empty where nobody outside is to be asked.
        Raises: UsageError as `start`; TransientError where nobody answers.
        """

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        """At most so many further messages, at once where some are there; empty after the timeout.

        Messages of one part come in their order, each once since `start`.
        """

    def acknowledge(self, offsets: TextMapping) -> None:
        """Everything before these offsets is durable in the store. A hint, which may be lost."""

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Send on what is in quarantine of this source's parts, to its place for dead letters, durable there on return.

        Called behind the commit that put them there, where `takes_refused`; in the order in which they came. What was
        cut off comes again, so a dead letter may be there twice, and none is missing.
        Raises: TransientError where it may work later: all of them come again then.
        """

    def health(self) -> Health:
        """How it is doing, by what is known without asking anybody."""

    def close(self) -> None:
        """Let go. Closing twice does nothing."""


def shown(offset: str) -> str:
    """An offset alone, for people and to be counted by: without what a source keeps behind an `@` to know it again."""
    return split_offset(offset)[0].partition("@")[0]


def stored_offset(offset: str, before: str) -> str:
    """An offset as it is stored: with what its merge gave of the lines before it (`Merge.take`), behind a `~`."""
    return f"{offset}~{before}" if before else offset


def split_offset(stored: str) -> tuple[str, str]:
    """An offset, and the state for `Merge.open`, empty where nothing waited."""
    offset, _, before = stored.partition("~")
    return offset, before


@runtime_checkable
class Trimming(Protocol):
    """A source from which what was read may be removed. Not every source is one; ask `isinstance`."""

    def trim(self, offsets: TextMapping) -> None:
        """Everything before these offsets is behind a saved snapshot, too: remove it, where the settings say so.

        A hint, as `acknowledge` is: what cannot be removed now may be so the next time, and nothing is raised.
        """
