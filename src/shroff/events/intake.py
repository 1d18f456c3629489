"""From the lines of a source to submissions: typed events and labels, or the reason why a line is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from shroff.errors import InputError, UsageError, nearest
from shroff.events.definitions import Events
from shroff.events.door import Door, LabelInput
from shroff.events.event import Event
from shroff.events.given import text_of
from shroff.events.lines import Line, Lines
from shroff.events.mapping import LABEL, Dispatcher, Mapper, Row
from shroff.events.settings import Settings

_LONG_DIGITS: Final = re.compile(rb"\d(?:[ -]?\d){7,}")  # what a card or account number looks like


class Submission(msgspec.Struct, frozen=True):
    """One input as it came, and what the door made of it: an event, a label, or the words of a refusal.

    `source` and `place` say where it stood; `raw` gives what is kept if it is refused, with
    the clear values of hashed fields replaced. Without event, label and refusal no event
    type took the line.
    """

    source: str
    place: str
    raw: Callable[[], bytes]
    type: str = ""
    event: Event | None = None
    label: LabelInput | None = None
    refusal: str | None = None


class Intake:
    """Turns lines into submissions, for one project."""

    def __init__(self, events: Events, settings: Settings, hasher: Callable[[str], str] | None) -> None:
        self._events, self._settings, self._hasher = events, settings, hasher
        self._door = Door(events, settings, hasher)
        self._has_secrets = any(field.shape.is_hashed for one in events.types.values() for field in one.fields)

    def submissions(self, lines: Lines, source: str, as_type: str | None = None) -> Iterator[Submission]:
        """Read lines as events of one type, or of the type that each line is found to be.

        Raises: UsageError, before the first line, where the type is not known, where lines
            of this format cannot tell theirs, or where the file lacks a column.
        """
        self._check_type(as_type)
        dispatcher = Dispatcher(self._events, lines.format)
        if as_type is None and not dispatcher.is_possible:
            types = " or --as ".join(self._events.types)
            raise UsageError(f"{source}: {lines.format} lines do not tell their event type. Add --as {types}.")
        mappers = {
            name: Mapper(one, lines.format) for name, one in (*self._events.types.items(), (LABEL, self._events.label))
        }
        if as_type is not None and lines.columns is not None:
            self._check_columns(mappers[as_type], lines.columns, source, as_type)
        return self._read(lines, source, as_type, dispatcher, mappers)

    def submit(
        self, type_name: str, fields: Mapping[str, object], *, source: str, place: str, raw: bytes, is_strict: bool
    ) -> Submission:
        """One event or label from its fields."""
        kept = partial(self._masked, raw, type_name, fields)
        try:
            if type_name == LABEL:
                return Submission(source, place, kept, LABEL, label=self._door.admit_label(fields, is_strict=is_strict))
            return Submission(source, place, kept, type_name, self._door.admit(type_name, fields, is_strict=is_strict))
        except InputError as error:
            return Submission(source, place, kept, type_name, refusal=str(error))

    def _check_type(self, as_type: str | None) -> None:
        known = (*self._events.types, LABEL)
        if as_type is not None and as_type not in known:
            raise UsageError(
                f"--as: {as_type!r} is no event type. {nearest(as_type, known) or 'There is ' + ', '.join(known) + '.'}"
            )

    def _check_columns(self, mapper: Mapper, columns: tuple[str, ...], source: str, as_type: str) -> None:
        lacking = mapper.missing_columns(columns)
        if not lacking:
            return
        many = "columns" if len(lacking) > 1 else "column"
        hints = [nearest(name, columns) for name in lacking]
        hint = next((hint for hint in hints if hint), "") or f"It has {', '.join(columns)}."
        raise UsageError(
            f"{source} lacks the {many} {', '.join(lacking)}, which {as_type} needs. {hint} "
            f"Name other columns under {as_type}.from in events.yaml."
        )

    def _read(
        self,
        lines: Iterable[Line],
        source: str,
        as_type: str | None,
        dispatcher: Dispatcher,
        mappers: Mapping[str, Mapper],
    ) -> Iterator[Submission]:
        takers = {name: self._taker(name, mapper, source) for name, mapper in mappers.items()}
        only = takers.get(as_type or "")
        for line in lines:
            if line.columns is None:
                yield Submission(
                    source, str(line.number), partial(self._unread, line), as_type or "", refusal=line.error or ""
                )
                continue
            row = Row(source, line.number, line.columns)
            if only is not None:
                yield only(line, row, None)
                continue
            try:
                picked = dispatcher.pick(row)
            except InputError as error:
                yield Submission(source, str(line.number), partial(self._unread, line), refusal=str(error))
                continue
            yield self._untaken(line, source) if picked is None else takers[picked.type](line, row, picked.fields)

    def _untaken(self, line: Line, source: str) -> Submission:
        keeps = self._settings.untaken == "quarantine"
        refusal = "no event type's 'when' takes this line" if keeps else None
        return Submission(source, str(line.number), partial(self._unread, line), refusal=refusal)

    def _taker(
        self, type_name: str, mapper: Mapper, source: str
    ) -> Callable[[Line, Row, Mapping[str, object] | None], Submission]:
        """What makes a submission of a line of one type; with fields where the line names its type itself."""
        door, secrets, is_label = self._door, mapper.secret_columns, type_name == LABEL
        type_ = self._events.label if is_label else self._events.types[type_name]
        is_mapped = "json" in type_.mappings

        def take(line: Line, row: Row, named: Mapping[str, object] | None) -> Submission:
            kept = partial(self._read_line, line, row, secrets)
            try:
                if named is None:
                    fields = mapper.fields(row)
                else:
                    fields = mapper.fields(Row(row.file, row.number, named)) if is_mapped else named
                if is_label:
                    return Submission(source, str(line.number), kept, LABEL, None, door.admit_label(fields))
                return Submission(
                    source, str(line.number), kept, type_name, door.admit(type_name, fields, is_strict=False)
                )
            except InputError as error:
                return Submission(source, str(line.number), kept, type_name, None, None, str(error))

        return take

    # ---- what quarantine keeps

    def _unread(self, line: Line) -> bytes:
        return self._digits_hashed(line.raw)

    def _read_line(self, line: Line, row: Row, secrets: frozenset[str]) -> bytes:
        nested = [row.columns, *(value for value in row.columns.values() if isinstance(value, Mapping))]
        return self._hashed(line.raw, [columns.get(name) for columns in nested for name in secrets])

    def _masked(self, raw: bytes, type_name: str, fields: Mapping[str, object]) -> bytes:
        if type_name not in self._events.types:
            return self._digits_hashed(raw)
        secrets = [fields.get(one.name) for one in self._events.types[type_name].fields if one.shape.is_hashed]
        return self._hashed(raw, secrets)

    def _hashed(self, raw: bytes, secrets: Iterable[object]) -> bytes:
        """The bytes with the clear values of hashed fields replaced."""
        if self._hasher is None:
            return raw
        for secret in secrets:
            text = text_of(secret)
            if text:
                raw = raw.replace(text.encode(), self._hasher(text).encode())
        return raw

    def _digits_hashed(self, raw: bytes) -> bytes:
        """The bytes of a line whose fields are not known; where the project hashes, long numbers are hashed."""
        hasher = self._hasher
        if hasher is None or not self._has_secrets:
            return raw
        return _LONG_DIGITS.sub(lambda found: hasher(found[0].decode()).encode(), raw)
