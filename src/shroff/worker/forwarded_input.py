"""Input handed to the active writer through its inbox: lines that were validated or refused by another process.

The writer receives typed events and labels with fields hashed, never the sender's raw values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.errors import StateError
from shroff.events.definitions import EventType
from shroff.events.event import Codec
from shroff.events.intake import Submission
from shroff.events.unique import Named
from shroff.events.validation import label_refusal
from shroff.log.history import label_of, waiting_body
from shroff.runtime.values import replace

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions

_NOTHING = msgspec.Raw(b"null")
_NONE: Final[Mapping[str, EventType]] = MappingProxyType({})


class HandedLine(msgspec.Struct, omit_defaults=True):
    """A line as the requesting process validated or refused it.

    `event` is the canonical body of an event; with a refusal, of an event that is refused only if it is new.
    """

    source: str
    place: str
    raw: bytes
    refusal: str | None
    label: msgspec.Raw = _NOTHING
    type: str = "label"
    event: msgspec.Raw = _NOTHING
    personal: tuple[Named, ...] = ()
    header: str = ""


class HandedLines(msgspec.Struct):
    """The next lines of a source, with the offset after them.

    Args:
        before: The offset that the log must have for this partition; otherwise another process read on, and the
            request does nothing.
        is_first: Whether to refuse all lines if too many of them are too late.
    """

    given: list[HandedLine]
    source: str
    part: str
    offset: str
    before: str | None
    decide: bool
    is_first: bool


def given(
    submissions: Iterable[Submission], money_places: int, types: Mapping[str, EventType] = _NONE
) -> list[HandedLine]:
    """Convert submissions for a request. `types` are those of the project that validated them."""
    codecs = {name: Codec(type_) for name, type_ in types.items()}
    return [_given(submission, money_places, codecs) for submission in submissions]


def _given(submission: Submission, money_places: int, codecs: Mapping[str, Codec]) -> HandedLine:
    label = _NOTHING if submission.label is None else msgspec.Raw(waiting_body(submission.label, money_places))
    sent = submission.sent
    event = _NOTHING if sent is None else msgspec.Raw(submission.body or codecs[sent.type].encode(sent))
    return HandedLine(
        submission.source,
        submission.place,
        submission.raw(),
        submission.refusal,
        label,
        submission.type,
        event,
        submission.personal,
        submission.header,
    )


def submissions(asked: Sequence[HandedLine], definitions: Definitions) -> list[Submission]:
    """Convert a request's lines to submissions of the active version, whose types, fields or decimals may differ.

    Raises: ValueError for content that `given` did not create.
    """
    types = definitions.events.types
    codecs = {name: Codec(types[name]) for name in {line.type for line in asked} & types.keys()}
    return [_submission(handed_line, definitions, codecs) for handed_line in asked]


def _submission(line: HandedLine, definitions: Definitions, codecs: dict[str, Codec]) -> Submission:
    submission = Submission(
        *(line.source, line.place, lambda: line.raw, line.type),
        refusal=line.refusal,
        personal=line.personal,
        header=line.header,
    )
    if bytes(line.event) != b"null":
        if line.type not in codecs:
            return replace(submission, refusal=f"{line.type!r} is not an event type of the active version")
        try:
            event = codecs[line.type].decode(bytes(line.event))
        except StateError as error:
            return replace(submission, refusal=f"the active version has other fields: {error}")
        return replace(submission, **{"event" if line.refusal is None else "refused": event})
    if line.refusal is not None or bytes(line.label) == b"null":
        return submission
    label = label_of(bytes(line.label), definitions.settings.money_places)
    reason = label_refusal(label, definitions.settings)
    if label.event_type not in definitions.events.types:
        reason = f"event: {label.event_type!r} is not an event type of the active version"
    return replace(submission, refusal=reason) if reason else replace(submission, label=label)
