"""Decodes request bodies into submissions: one event or label, a list, or JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import InputError
from shroff.events.definitions import EventType
from shroff.events.event import has_column_form
from shroff.events.formats.encodings import json_columns
from shroff.events.formats.lines import Line
from shroff.events.intake import FieldMistakes, Intake, Submission
from shroff.events.mapping import LABEL
from shroff.events.raw_values import REQUEST_DEPTH_MAX
from shroff.events.validation import latest_ms
from shroff.log.columns.lines import LineOrigin, LiveForms
from shroff.log.event_notes import POSTED
from shroff.log.implausible_times import timely
from shroff.project.definitions import Definitions
from shroff.runtime.progress import Tell, unheard

SOURCE = POSTED
COUNT_MAX = 10_000  # events of one request

Mistakes = Sequence[tuple[str, str]]  # field path and message of each error


class TooMuchError(InputError):
    """A body that exceeds the limit of one request, or is not the list that was announced."""

    def __init__(self, words: str) -> None:
        super().__init__([("", words)])


class RequestReader:
    """Decodes requests for one version of a project.

    Cost: 10 µs for an event of nine fields; less than 1 µs if a request has 256 or more.

    Args:
        tell: Called with an internal error that costs only speed.
    """

    def __init__(
        self, definitions: Definitions, intake: Intake, now_ms: Callable[[], int], tell: Tell = unheard
    ) -> None:
        self.definitions = definitions
        self._intake = intake
        self._now_ms = now_ms
        types = definitions.events.types
        self._columnar = frozenset(name for name, type_ in types.items() if has_column_form(type_))
        self._forms = LiveForms(definitions.events, tell)

    @property
    def types(self) -> Sequence[str]:
        return list(self.definitions.events.types)

    def one(
        self,
        type_name: str,
        raw: bytes,
        place: str,
        mistakes: list[tuple[str, str]] | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> Submission:
        """Decode one event or label. Its source is `http`, its location the sender; field errors go to `mistakes`.

        Args:
            hidden: Fields whose values no message repeats, besides hashed fields.
        """
        columns, reason = json_columns(raw, REQUEST_DEPTH_MAX)
        if columns is None:
            line = Line(0, raw, None, reason, where=place)
            problem = (reason or "").replace("the line", "it", 1)
            if mistakes is not None:
                mistakes.append(("", problem))
            return self._intake.unreadable(line, SOURCE, type_name, problem)
        field_mistakes = FieldMistakes(hidden)
        read = self._intake.submit(
            type_name, columns, source=SOURCE, place=place, raw=raw, is_strict=True, mistakes=field_mistakes
        )
        if mistakes is not None:
            mistakes += field_mistakes.found
        return read if type_name == LABEL else timely(read, self.definitions, self._now_ms())

    def refused(
        self, mapped: EventType, columns: Mapping[str, object] | None, raw: bytes, place: str, words: str
    ) -> Submission:
        """Return a body that does not fit its mapping as a refused submission with its original bytes.

        Args:
            columns: Its values by the names that the mapping reads; None if the body could not be read.
        """
        if columns is None:
            return self._intake.unreadable(Line(0, raw, None, words, where=place), SOURCE, mapped.name, words)
        return self._intake.refused(mapped, columns, source=SOURCE, place=place, raw=raw, words=words)

    def many(
        self, type_name: str, raw: bytes, place: str, *, are_lines: bool
    ) -> tuple[Sequence[Submission], list[Mistakes]]:
        """Decode a list or JSON lines; return submissions and their field errors. Raises: TooMuchError."""
        parts = pieces(raw, are_lines=are_lines)
        read = self._reads_once(type_name, place)
        mistakes: list[Mistakes] = [()] * len(parts)

        def careful(at: int) -> Submission:
            submission, mistakes[at] = read(parts[at])
            return submission

        run = None
        if type_name in self._columnar and self._forms.take(len(parts)):
            type_ = self.definitions.events.types[type_name]
            origin = LineOrigin(SOURCE, len(parts), lambda _: place)
            run = self._forms.run(type_, parts, careful, [origin], latest_ms(self.definitions.settings, self._now_ms()))
        return run or [careful(at) for at in range(len(parts))], mistakes

    def _reads_once(self, type_name: str, place: str) -> Callable[[bytes], tuple[Submission, Mistakes]]:
        """Return a decoder that decodes equal refused pieces once, so that 10,000 equal errors cost one."""
        refusals: dict[bytes, tuple[Submission, Mistakes]] = {}

        def read(piece: bytes) -> tuple[Submission, Mistakes]:
            decoded = refusals.get(piece)
            if decoded is not None:
                return decoded
            own: list[tuple[str, str]] = []
            decoded = self.one(type_name, piece, place, own), own
            if decoded[0].refusal is not None:
                refusals[piece] = decoded
            return decoded

        return read


def pieces(raw: bytes, *, are_lines: bool) -> list[bytes]:
    """Split a body into the elements of a JSON list, or into non-empty lines. Raises: TooMuchError."""
    if are_lines:
        parts = [line for line in raw.split(b"\n") if line and not line.isspace()]
    else:
        try:
            parts = [bytes(document) for document in from_json(raw, type=list[msgspec.Raw])]
        except RecursionError:
            raise TooMuchError("the list is nested too deep") from None
        except ValueError as error:
            raise TooMuchError(f"it is not a JSON list: {error}") from None
    if len(parts) > COUNT_MAX:
        raise TooMuchError(f"a request holds at most {COUNT_MAX:,} events, and this one has {len(parts):,}; split it")
    return parts
