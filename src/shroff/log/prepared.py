"""Answers to the submissions of a batch, and the content of a batch that is ready to be committed."""

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
LATE = "late"  # stored beside the log


_kind_of = attrgetter("kind", "is_label", "outcome")
_TYPED = re.compile(r"[^/?#]*/([A-Za-z_]\w*/.+)", re.DOTALL)
AnswerKind = tuple[str, bool, str]


class Answer(msgspec.Struct, gc=False):
    """Result of one submission. `document` is the decision as JSON, if there is one.

    A label that came before its event is `waiting`, regardless of batches. If the event came in the same batch, `seq`
    is the label's sequence number, or `reason` says why it did not fit. For an accepted label, `in_force` is the active
    verdict of its event and its source; None if the label becomes known only after now.
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
        """The event's id of a pending label, if it looks like TYPE/ID itself (`typed_id`)."""
        return typed_id(self.id.rpartition("#")[0])


def typed_id(event: str) -> str:
    """Return the event id of a pending label if it looks like TYPE/ID itself, else an empty text.

    >>> typed_id("payment/login/1"), typed_id("payment/p-1"), typed_id("payment/2026/1")
    ('login/1', '', '')
    """
    match = _TYPED.fullmatch(event)
    return match[1] if match else ""


@dataclass(frozen=True, eq=False)
class RunAnswers(Interleaved[Answer]):
    """Answers to a run of accepted events, created on access, and to other submissions among them.

    Args:
        seqs: Index of each event among all submissions, from 0.
        places: Sequence numbers of the events.
        decisions: Decisions of the events; None if none is decided.
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
        columns = self.decisions.outcomes, self.decisions.documents
        return map(Answer, repeat(DECIDED), self.types, self.ids, self.places, *columns)

    def made(self, row: int) -> Answer:
        seq = self.places[row]
        decided = {} if self.decisions is None else self.decisions.by_seq([seq])
        fields = self.types[row], self.ids[row], seq
        if seq not in decided:
            return Answer(TAKEN, *fields)
        return Answer(DECIDED, *fields, decided[seq].outcome, decided[seq].document)

    def kinds(self) -> Counter[AnswerKind]:
        outcomes = Counter(self.decisions.outcomes if self.decisions is not None else ())
        counts = Counter({(DECIDED, False, outcome): count for outcome, count in outcomes.items()})
        counts[TAKEN, False, ""] = len(self.ids) - outcomes.total()
        return counts + Counter(map(_kind_of, self.others.values()))


class Prepared(Struct):
    """A batch ready to be committed, and the answers that are valid once it is.

    `met` maps the ids of labels that were pending, in the log or in this batch, and whose event has come, to their
    sequence numbers; 0 for a label that did not fit its event and was refused. `placed` are the events and labels of
    its records, `scores` those of its decisions by event type. `decide_s` and `commit_s` are durations, `decided_at_s`
    is a monotonic time.
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
        """Count answers by kind, whether they are for a label, and outcome."""
        if isinstance(self.answers, RunAnswers):
            return self.answers.kinds()
        return Counter(map(_kind_of, self.answers))
