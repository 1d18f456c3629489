"""Answers to the submissions of a batch, and what a batch that is ready to be committed consists of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter

import msgspec
from msgspec import Struct

from shroff.engine.step import SequencedEvent
from shroff.streams.log import Batch
from shroff.streams.log_columns import DecisionColumns, Interleaved

DECIDED = "decided"
TAKEN = "taken"
DUPLICATE = "duplicate"
REFUSED = "refused"
WAITING = "waiting"
UNTAKEN = "untaken"
LATE = "late"  # and kept, beside the log


_kind_of = attrgetter("kind", "is_label", "outcome")
_TYPED = re.compile(r"[^/?#]*/([A-Za-z_]\w*/.+)", re.DOTALL)
AnswerKind = tuple[str, bool, str]


class Answer(msgspec.Struct, gc=False):
    """Result of one submission. `document` is the decision's bytes, where there is one.

    A label that came before its event is `waiting` whatever the batches; `seq` is its place
    where the event came in the same batch, and `reason` says then why it did not fit.
    Of a label that was taken, `in_force` is the verdict of its event from here on, and whose; None where a label that
    becomes known only after now hides it.
    """

    kind: str
    type: str = ""
    id: str = ""
    seq: int = 0
    outcome: str = ""
    document: bytes | None = None
    reason: str = ""
    is_conflict: bool = False
    is_label: bool = False
    in_force: tuple[str, str] | None = None

    @property
    def typed(self) -> str:
        """Of a label that waits: its event's id where that looks like TYPE/ID itself (`typed_id`)."""
        return typed_id(self.id.rpartition("#")[0])


def typed_id(event: str) -> str:
    """The id of an event that a label waits for where it looks like TYPE/ID itself, else an empty text.

    >>> typed_id("payment/login/1"), typed_id("payment/p-1"), typed_id("payment/2026/1")
    ('login/1', '', '')
    """
    found = _TYPED.fullmatch(event)
    return found[1] if found else ""


@dataclass(frozen=True, eq=False)
class RunAnswers(Interleaved[Answer]):
    """Answers to events that were all taken, each made when it is asked for, and to others among them.

    Args:
        seqs: Where the events stand among all submissions, from 0 on.
        places: Where they stand in the log.
        decisions: Those of the events that are decided; None without one.
    """

    types: Sequence[str]
    seqs: Sequence[int]
    places: Sequence[int]
    ids: Sequence[str]
    decisions: DecisionColumns | None
    others: Mapping[int, Answer]

    def _all_made(self) -> Iterator[Answer]:
        if self.decisions is None or len(self.decisions) < len(self.ids):
            return super()._all_made()
        shown = self.decisions.outcomes, self.decisions.documents
        return map(Answer, repeat(DECIDED), self.types, self.ids, self.places, *shown)

    def made(self, row: int) -> Answer:
        place = self.places[row]
        found = {} if self.decisions is None else self.decisions.by_seq([place])
        named = self.types[row], self.ids[row], place
        if place not in found:
            return Answer(TAKEN, *named)
        return Answer(DECIDED, *named, found[place].outcome, found[place].document)

    def kinds(self) -> Counter[AnswerKind]:
        """How many there are of each kind, whether of a label, and outcome."""
        outcomes = Counter(self.decisions.outcomes if self.decisions is not None else ())
        taken = Counter({(DECIDED, False, outcome): count for outcome, count in outcomes.items()})
        taken[TAKEN, False, ""] = len(self.ids) - outcomes.total()
        return taken + Counter(map(_kind_of, self.others.values()))


class Prepared(Struct):
    """A batch ready to be committed, and the answers that hold once it is.

    `met` has the labels that had waited, in the log or in this batch, and whose event has
    come: their places by their ids, 0 for one that did not fit its event and was refused.
    `placed` are the events and labels of its records, `scores` those of its decisions by event type. `decide_s` and
    `commit_s` say how long deciding and the commit took, `decided_at_s` when it was decided, by the clock that never
    goes back.
    """

    batch: Batch
    answers: Sequence[Answer]
    met: Mapping[str, int] = {}
    placed: Sequence[SequencedEvent] = ()
    scores: Mapping[str, Sequence[float]] = {}
    decide_s: float = 0.0
    decided_at_s: float = 0.0
    commit_s: float = 0.0

    def kinds(self) -> Counter[AnswerKind]:
        """How many answers there are of each kind, whether to a label, and outcome."""
        if isinstance(self.answers, RunAnswers):
            return self.answers.kinds()
        return Counter(map(_kind_of, self.answers))
