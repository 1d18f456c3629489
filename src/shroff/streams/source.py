"""The contract of live sources: partitions, each an ordered sequence of messages that are retained for a while.

A source stores no progress. The log commits the offset of each partition together with the records made of its
messages. So a source may be reopened at any offset, and every call about progress is only a hint.

An adapter `source.KIND` is called with the settings of that kind (`System`, each `${NAME}` filled), the `Decoder` of
its messages, `project=` the project's name, and `merge=` its own `streams.merge.Merge`, which it fills and takes from:
if many messages of several partitions are waiting, earlier ones come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec import field

from shroff.events.formats.lines import Line
from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Refused

CERTAIN_S = 1.0  # how long the result of a check may be trusted that a partition has nothing more


class PolledMessages(NamedTuple):
    """Consecutive messages of one partition as lines; an unreadable message is a line with an error.

    `part` names the partition in the store and in quarantine (`payments/0`). The lines have this `format` and one event
    type, or name theirs if `type` is None. `offset` is where the next message of the partition begins, which may be
    beyond the last line if messages without content follow, such as transaction markers. Of several for a partition in
    one poll, the offset of the last one is to be stored: it alone includes the merge's state.

    One without lines gives the start of a partition that had no offset; it is stored like all others.
    """

    part: str
    type: str | None
    format: str
    lines: Sequence[Line]
    offset: str
    columns: tuple[str, ...] | None = None  # the column names in the header of a file
    begins: bool = False  # whether these are the first lines of a file
    separator: str = ","  # of the columns of CSV


class Health(FrozenStruct):
    """State of a source. `lag` is the number of unread messages, None if unknown.

    `overtaken` messages came after later ones of other partitions, by at most `overtaken_ms` of event time.
    """

    lag: int | None = None
    errors: int = 0
    rebalances: int = 0
    words: Sequence[str] = field(default_factory=tuple)  # warnings, newest last
    overtaken: int = 0
    overtaken_ms: int = 0
    failing: TextMapping = field(default_factory=dict)  # by name of several sources, why each returns nothing


class PartLag(NamedTuple):
    """Number of messages of a partition after an offset; None if unknown.

    Transaction markers may be included. `trouble` says why reading cannot continue there. If `is_counted` is false, the
    source answers but cannot count waiting messages, such as Pub/Sub.
    """

    part: str
    waiting: int | None
    trouble: str = ""
    is_counted: bool = True


class Source(Protocol):
    """A live source, read by one process at a time; a second one harms nothing.

    External systems that may come back (a broker, a network, a schema registry) are waited for: `poll` returns nothing
    meanwhile, and `health` says why.
    """

    name: str  # of the source among the store's offsets

    @property
    def takes_refused(self) -> bool:
        """Whether it has a destination for dead letters."""

    def start(self, offsets: TextMapping) -> None:
        """Continue from these offsets; partitions without one begin where the settings say.

        Also called to restart after a failure: messages polled since then come again.
        Raises: UsageError if the system does not fit the settings (a topic that does not exist); StateError if
            messages after an offset are gone, with their number, so that no loss is silent; TransientError if the
            source cannot be reached.
        """

    def look(self, offsets: TextMapping) -> list[PartLag]:
        """Query the lag of every partition behind these offsets, sorted by name. Takes a few seconds at most.

        Works before and after `start`; no message is consumed and no position moves; `health` is up to date then.
        Partitions of `offsets` that no longer exist have a `trouble`; those no longer in the settings are left out.
        Empty if there is no system to query.
        Raises: UsageError as `start`; TransientError if the system does not answer.
        """

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        """Return up to `limit` further messages, at once if some are available; empty after the timeout.

        Messages of one partition come in order, each once since `start`.
        """

    def acknowledge(self, offsets: TextMapping) -> None:
        """Note that everything before these offsets is durable in the store. A hint, which may be lost."""

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Send quarantined messages of this source to its destination for dead letters, durable there on return.

        Called after the commit that quarantined them, if `takes_refused`; in order of quarantine. An interrupted call
        is repeated, so a dead letter may be there twice, but none is missing.
        Raises: TransientError if a retry may succeed: all of them come again then.
        """

    def health(self) -> Health:
        """Return the state of the source, without contacting any system."""

    def close(self) -> None:
        """Release all resources. Closing twice does nothing."""


def shown(offset: str) -> str:
    """Return an offset for people and for counting: without what a source appends after an `@` to identify it."""
    return split_offset(offset)[0].partition("@")[0]


def stored_offset(offset: str, before: str) -> str:
    """Return an offset in stored form: followed by `~` and the merge's state after its lines (`Merge.take`), if any."""
    return f"{offset}~{before}" if before else offset


def split_offset(stored: str) -> tuple[str, str]:
    """Split a stored offset into the offset and the state for `Merge.open`, which may be empty."""
    offset, _, offset_before = stored.partition("~")
    return offset, offset_before


@runtime_checkable
class Trimming(Protocol):
    """A source whose read messages may be removed. Not every source is one; check with `isinstance`."""

    def trim(self, offsets: TextMapping) -> None:
        """Remove messages before these offsets, which are before a saved snapshot as well, if the settings say so.

        A hint, like `acknowledge`: what cannot be removed now may be the next time, and nothing is raised.
        """
