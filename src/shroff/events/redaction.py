"""Redaction of quarantined input in a project that hashes, and restoring it for validation.

A line that could be parsed is written again from its columns, and each value that a hashed field is made of is replaced
by its hash. So no spelling of a secret (an escape, a doubled quotation mark, another encoding) remains. If the line's
type has hashed fields, values of undeclared columns are replaced too, since a misspelt name may hide a secret. In a
line that could not be parsed, long numbers and mail addresses are replaced, and other clear text remains.

The hash of a column may differ from the hash of its field, if an expression makes the field or its value was refused. A
mark beside the columns then says what the field holds.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import InputError
from shroff.events.definitions import Events
from shroff.events.formats.lines import Line
from shroff.events.mapping import LABEL, MappedRow, Mapper, overlap
from shroff.events.raw_values import RefusedValue, canonical_json, inside, kept_bytes, parsed, text_of
from shroff.events.validation import EventValidator
from shroff.language.expression import ITEM, Path
from shroff.runtime.values import FrozenStruct, replace

MARK = "shroff:hashed"
HASHED = re.compile(r"hashed:[0-9a-f]{32}:.{0,4}", re.DOTALL)
_HASHED_INSIDE = re.compile(r"hashed:[0-9a-f]{32}:")
_GONE = (
    "the value that it is made of was hashed when the line was refused, and its clear value was not kept; "
    "bring the line in again from where it came from"
)
_PARTS = "; parts of the line were hashed"
# In this order: what is hashed already, a mail address, a date (which stays), what a card or account number looks
# like. A mail address is tried only where a word begins, so that a long line costs one pass.
_TELLING = re.compile(
    rb"(?P<stays>hashed:[0-9a-f]{32}:[^\s\"',;]{0,4})"
    rb"|(?P<mail>(?<![^\x00-\x20\"'(),:;<>\[\]\\{}|=/@])[^\x00-\x20\"'(),:;<>\[\]\\{}|=/@]++"
    rb"(?:@|\\u0040)[^\x00-\x20\"'(),:;<>\[\]\\{}|=/@]+)"
    rb"|(?P<date>(?<!\d)(?<!\d[ -])(?:19|20)\d\d-[01]\d-[0-3]\d"
    rb"(?:[T ][0-2]\d:[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![ -]?\d))"
    rb"|(?P<digits>\d(?:[ -]?\d){7,})"
)


class RedactedValue(FrozenStruct, omit_defaults=True):
    """Hash of a hashed field in a stored line; None for a missing value. `is_refused` means that it was invalid.

    `of` is the expression that computed the field when the line was stored. If the project has another one now, this
    value is ignored.
    """

    of: str
    value: str | None = None
    is_refused: bool = False


RedactedValues = Mapping[str, RedactedValue]  # by TYPE.FIELD


def keeping_hashed(hasher: Callable[[str], str]) -> Callable[[str], str]:
    """Return a hasher that keeps values that are hashed already.

    Lines from quarantine and exports have hashed values, and must become the same events when they are read again.
    """
    return lambda value: value if HASHED.fullmatch(value) else hasher(value)


class LineRedactor:
    """Writes the lines of one format for quarantine, without clear values of hashed fields.

    One file may have lines of several types, so the secret paths of all types are hashed in every line, except those
    that the type of the line declares as clear.
    """

    def __init__(
        self,
        events: Events,
        validator: EventValidator,
        hasher: Callable[[str], str],
        mappers: Mapping[str, Mapper],
        format: str,
        *,
        separator: str = ",",
    ) -> None:
        self._validator = validator
        self._hasher = hasher
        self._mappers = mappers
        self._format = format
        self._separator = separator
        conditions = frozenset(path for mapper in mappers.values() for path in mapper.condition_paths)
        label = mappers[LABEL]
        others = [mappers[name] for name in events.types]
        declared = frozenset(path for mapper in others for path in mapper.secret_paths)
        # Without a mapping for labels, the lines are no labels, and their column `event` may be anything.
        named = label.secret_paths if label.is_mapped else frozenset()
        self._paths = {name: _shortest_first(_of_type(mapper, declared | named)) for name, mapper in mappers.items()}
        every = {
            name: frozenset(path for field in mapper.names for path in mapper.paths(field))
            for name, mapper in mappers.items()
        }
        self._any = conditions.union(*every.values())
        of_labels = conditions | (every[LABEL] if label.is_mapped else frozenset())
        self._declared = {name: every[name] | of_labels for name in events.types if mappers[name].secret}
        self._declared[LABEL] = self._any
        self._untaken = _shortest_first(declared | (named - conditions))
        self._inside = _shortest_first(declared | label.secret_paths)
        is_column = "event" in label.secret and label.paths("event") == {("event",)}
        self._event_column = ("event",) if is_column else None

    def line(self, line: Line, row: MappedRow, type_name: str, named: Mapping[str, object] | None) -> bytes:
        """Redact a line of a type; `named` has its fields if the line names its type."""
        row = row.alone()
        columns = row.columns if named is None else named
        sealed = self._sealed(columns, self._paths[type_name], is_label=type_name == LABEL)
        seals = self._seals([type_name], replace(row, columns=columns), sealed)
        if type_name in self._declared:
            sealed = self._covered(sealed, self._declared[type_name])
        return self._written(sealed if named is None else {type_name: sealed}, seals)

    def untaken(self, line: Line, row: MappedRow) -> bytes:
        """Redact a line that no type accepted: values that any type hashes are hashed."""
        row = row.alone()
        columns = row.columns
        sealed = self._sealed(columns, self._untaken)
        seals = self._seals(self._mappers, row, sealed)
        if len(columns) == 1:
            ((name, named),) = sealed.items()
            if isinstance(named, Mapping):
                within = self._sealed(named, self._inside, is_label=True)
                seals = {**self._seals(self._mappers, MappedRow(row.file, row.number, named), within), **seals}
                return self._written({self._name(name): self._covered(within, self._any)}, seals)
        return self._written(self._covered(sealed, self._any), seals)

    def _covered(self, columns: Mapping[str, object], declared: Iterable[Path]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in columns.items():
            inner = [path[1:] for path in declared if path[0] == name]
            found[name if inner else self._name(name)] = self._covered_value(value, inner)
        return found

    def _covered_value(self, value: object, inner: Collection[Path]) -> object:
        if () in inner:
            return value
        known = parsed(value) if type(value) is str and inner else value
        covered: object
        if inner and isinstance(known, Mapping):
            covered = self._covered(known, inner)
        elif inner and isinstance(known, list | tuple):
            each = ([path[1:] for path in inner if path[0] in (at, ITEM)] for at in range(len(known)))
            covered = [self._covered_value(item, paths) for item, paths in zip(known, each, strict=True)]
        else:
            return self._unreadable(value)
        return covered if known is value else canonical_json(covered)

    def _unreadable(self, value: object) -> object:
        match value:
            case None | "" | bool():
                return value
            case Mapping():
                return {self._name(str(name)): self._unreadable(item) for name, item in value.items()}
            case list() | tuple():
                return [self._unreadable(item) for item in value]
            case _:
                return self._hash(value)

    def _name(self, name: str) -> str:
        return masked(name.encode("utf-8", "replace"), self._hasher).decode()

    def _sealed(
        self, columns: Mapping[str, object], paths: Iterable[Path], *, is_label: bool = False
    ) -> dict[str, object]:
        found: Any = {name: value for name, value in columns.items() if name != MARK}
        for path in paths:
            if is_label and path == self._event_column:
                found = _replaced(found, path, self._event_hash)
            else:
                found = _replaced(found, path, self._hash)
        assert isinstance(found, dict)
        return found

    def _hash(self, value: object) -> str:
        text = (text_of(value) or "").encode("utf-8", "replace").decode()
        return text if HASHED.fullmatch(text) else self._hasher(text)

    def _event_hash(self, value: object) -> str:
        try:
            return self._validator.hashed(LABEL, "event", value) or ""
        except (ValueError, InputError):
            return self._hash(value)

    def _seals(self, types: Iterable[str], row: MappedRow, sealed: Mapping[str, object]) -> dict[str, RedactedValue]:
        found: dict[str, RedactedValue] = {}
        for type_name in types:
            mapper = self._mappers[type_name]
            names = [name for name in mapper.secret if any(is_redacted(sealed, path) for path in mapper.paths(name))]
            if not names:
                continue
            fields, again = mapper.fields(row), mapper.fields(replace(row, columns=sealed))
            for name in sorted(names):
                seal = self._seal(type_name, name, fields, mapper.words(name))
                if seal != self._seal(type_name, name, again, mapper.words(name)):
                    found[f"{type_name}.{name}"] = seal
        return found

    def _seal(self, type_name: str, name: str, fields: Mapping[str, object], words: str) -> RedactedValue:
        try:
            return RedactedValue(words, self._validator.hashed(type_name, name, fields.get(name)))
        except (ValueError, OverflowError, InputError):
            return RedactedValue(words, is_refused=True)

    def _written(self, columns: Mapping[str, object], seals: RedactedValues) -> bytes:
        if self._format == "csv":
            cells = [*columns.values(), *([MARK + to_json(seals).decode()] if seals else [])]
            out = io.StringIO()
            csv.writer(out, lineterminator="\n", delimiter=self._separator).writerow(cells)
            return out.getvalue().encode()
        whole = {**columns, MARK: msgspec.to_builtins(seals)} if seals else columns
        try:
            return kept_bytes(canonical_json(whole))
        except RecursionError:  # nested too deep for `canonical_json`; here numbers become texts
            return to_json(whole, enc_hook=str)


def masked(raw: bytes, hasher: Callable[[str], str]) -> bytes:
    """Hash long numbers and mail addresses in a line whose columns are unknown.

    Dates and times in the form of RFC 3339 stay, and so does all other text, such as names.
    """

    def replace(match: re.Match[bytes]) -> bytes:
        if match["stays"] or match["date"]:
            return match[0]
        return hasher(match[0].decode("utf-8", "replace")).encode()

    return _TELLING.sub(replace, raw)


def unread(line: Line, hasher: Callable[[str], str], words: str = "") -> tuple[bytes, str]:
    """Return the redacted bytes of an unreadable line, and the reason, with a note if parts were hashed.

    The reason is `words`, by default the error of the line.
    """
    raw = line.raw
    words = words or line.error or ""
    kept = masked(raw, hasher)
    return kept, words if kept == raw else words + _PARTS


# ---- reading stored lines


def unmarked(raw: bytes, format: str, separator: str = ",") -> tuple[bytes, RedactedValues]:
    """Split a stored line into the line and the redacted values in its mark, for CSV with this separator."""
    if MARK.encode() not in raw:
        return raw, {}
    try:
        if format == "csv":
            cells = next(csv.reader(io.StringIO(raw.decode(), newline=""), delimiter=separator))
            if not cells[-1].startswith(MARK):
                return raw, {}
            out = io.StringIO()
            csv.writer(out, lineterminator="\n", delimiter=separator).writerow(cells[:-1])
            return out.getvalue().encode(), from_json(cells[-1].removeprefix(MARK), type=dict[str, RedactedValue])
        columns = from_json(raw, type=dict[str, msgspec.Raw])
        mark = columns.pop(MARK, None)
        if mark is None:
            return raw, {}
        return to_json(columns), from_json(mark, type=dict[str, RedactedValue])
    except (ValueError, RecursionError, StopIteration, csv.Error):
        return raw, {}


def opened(
    type_name: str, mapper: Mapper, columns: Mapping[str, object], fields: Mapping[str, object], seals: RedactedValues
) -> dict[str, object]:
    """Return the fields of a stored line as its clear columns would give them; fields that cannot be are refused.

    A hashed field of one column has the hash of that column. A hashed field that an expression computes has the value
    of the mark, unless the expression has changed since. A clear field that reads a hashed column is refused, as the
    clear value was not stored. A `when` sees the hash in place of a hashed column.
    """
    found = dict(fields)
    for name in mapper.names:
        words = mapper.words(name)
        seal = seals.get(f"{type_name}.{name}")
        if name in mapper.secret and seal is not None and seal.of == words:
            found[name] = RefusedValue(_GONE) if seal.is_refused else seal.value
        elif any(is_redacted(columns, path) for path in mapper.paths(name)):
            is_whole = name in mapper.secret and mapper.is_column(name) and _is_hash(fields.get(name))
            if not is_whole:
                found[name] = RefusedValue(_GONE)
    return found


def is_redacted(columns: Mapping[str, object], path: Path) -> bool:
    """Whether the value at a path, or the value at which the path ends early, contains a hash."""
    value: object = columns
    for key in path:
        known = parsed(value) if type(value) is str else value
        if not isinstance(known, list | tuple if isinstance(key, int) else Mapping):
            break
        value = inside(known, 0 if key == ITEM else key)
    return _HASHED_INSIDE.search(text_of(value) or "") is not None


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and bool(HASHED.fullmatch(value) or HASHED.fullmatch(value.partition("/")[2]))


def _replaced(value: object, path: Path, change: Callable[[object], str]) -> object:
    if value is None or value == "":
        return value
    if not path:
        return change(value)
    if type(value) is str:
        known = parsed(value)
        if known is None:
            return change(value)
        changed = _replaced(known, path, change)
        return value if changed is known else canonical_json(changed)
    if isinstance(value, list | tuple) and isinstance(path[0], int):
        wanted = range(len(value)) if path[0] == ITEM else (path[0],)
        made = [_replaced(item, path[1:], change) if at in wanted else item for at, item in enumerate(value)]
        return value if all(new is item for new, item in zip(made, value, strict=True)) else made
    if not isinstance(value, Mapping):
        return change(value)
    old = value.get(path[0])
    new = _replaced(old, path[1:], change)
    return value if new is old else {**value, path[0]: new}


def _of_type(mapper: Mapper, every: frozenset[Path]) -> frozenset[Path]:
    # Paths that fields without a secret read
    clear = frozenset(path for name in mapper.names if name not in mapper.secret for path in mapper.paths(name))
    return mapper.secret_paths | {path for path in every if not any(overlap(path, other) for other in clear)}


def _shortest_first(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(sorted(paths, key=lambda path: (len(path), str(path))))
