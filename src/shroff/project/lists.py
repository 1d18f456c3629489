"""Read and edit lists/NAME.csv. An edit changes only the lines of its values."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field

from shroff.config import lines_ended
from shroff.errors import Problem, RefusalError, UsageError, nearest
from shroff.json_types import TextMapping
from shroff.language.expression import InList, Node, walk
from shroff.language.values import parse_file_time
from shroff.operations.declaration import OperationAnswer
from shroff.project.definitions import HASHED, Definitions
from shroff.project.reference import LIST_COLUMNS, Changes, ListFile
from shroff.runtime.texts import argument, grown, many
from shroff.runtime.values import FrozenStruct, frozen, replace

ADDED = "added"
CHANGED = "changed"
REMOVED = "removed"
SAME = "same"
EMPTY = ",".join(LIST_COLUMNS) + "\n"
_FILLED = tuple(name for name in LIST_COLUMNS if name != "added_by")  # the audit log has the author anyway
_BOM = "\ufeff"
_SIGNS = '"\r\0'  # characters with which a line cannot be split at its commas
_HASHED_LINE = re.compile(rf"^{HASHED.pattern}[,\n]", re.MULTILINE)


class Entry(FrozenStruct):
    """One line of a list, as written."""

    value: str
    note: str = ""
    added_by: str = ""
    expires_at: str = ""

    @property
    def expires_ms(self) -> int | None:
        """End of the entry in ms; None if it has no end."""
        return parse_file_time(self.expires_at) if self.expires_at else None

    def is_over(self, now_ms: int) -> bool:
        return self.expires_ms is not None and self.expires_ms <= now_ms


class ListSummary(FrozenStruct):
    """A list in an overview: its number of entries, and the features and rules that read it."""

    name: str
    entries: int
    read_by: tuple[str, ...]


class ListChange(OperationAnswer):
    """Result of a list change: numbers of entries, and whether the next event is decided by it.

    `why_not` says what that waits for. `what` is ADDED, CHANGED, REMOVED or SAME; `value` is the value that one entry
    stands for, hashed where the list is compared with a hashed field. `others` are files that were changed before and
    became active with it. `expired` is the end of a new entry where that is over. `repeated` counts sent lines that a
    later line of the same value replaced.
    """

    list: str
    added: int
    changed: int
    removed: int
    in_force: bool
    why_not: str | None
    what: str
    value: str = ""
    entries: int = 0
    others: tuple[str, ...] = ()
    expired: str = ""
    repeated: int = 0

    def text(self) -> str:
        words = {ADDED: "added to", CHANGED: "changed in", REMOVED: "removed from", SAME: "is already in"}
        counts = f"{self.added} added, {self.changed} changed, {self.removed} removed:"
        text = f"{self.value} {words[self.what]} {self.list}," if self.value else f"{counts} {self.list},"
        text += f" which has {many(self.entries, 'entry', 'entries')} now."
        over = f" It has expired already: it applies to events before {self.expired}." if self.expired else ""
        if not self.in_force:
            return f"{text}{over} It is not active yet: {(self.why_not or '').rstrip('.')}."
        others = f" Earlier changes were activated with it: {', '.join(self.others)}." if self.others else ""
        return f"{text}{over or ' It is active from the next event.'}{others}"

    def hints(self) -> Sequence[str]:
        return f"shroff lists show {argument(self.list)}", "shroff verify"


class UnknownListError(RefusalError):
    """There is no list of this name."""

    status = 404
    code = "no-list"
    title = "There is no such list"


def file_of(name: str) -> str:
    return f"lists/{name}.csv"


def known_list(name: str, definitions: Definitions) -> str:
    """Return the name of an existing list. Raises: UnknownListError if there is none of this name."""
    lists = definitions.reference.lists
    if name in lists:
        return name
    hint = nearest(name, lists) or f"Make {file_of('NAME')} with the line {','.join(LIST_COLUMNS)} for a new one."
    raise UnknownListError(f"there is no list {name!r}. {hint}")


def summaries(definitions: Definitions, texts: TextMapping) -> list[ListSummary]:
    """Summarize all lists of a project, sorted by name; `texts` has the texts of their files."""
    readers: dict[str, list[str]] = {name: [] for name in definitions.reference.lists}
    for name, feature in definitions.features.items():
        for list_name in _lists_in(feature.node):
            readers[list_name].append(name)
    for rule in definitions.rules:
        nodes = (rule.when, *(part for part in rule.reason if not isinstance(part, str)))
        for list_name in sorted({list_name for node in nodes for list_name in _lists_in(node)}):
            readers[list_name].append(f"rule {rule.id}")
    return [ListSummary(name, count(texts[file_of(name)]), tuple(readers[name])) for name in sorted(readers)]


def _lists_in(node: Node) -> list[str]:
    return sorted({part.list for part in walk(node) if isinstance(part, InList)})


def padded_values(files: TextMapping) -> Iterator[Problem]:
    """Yield a warning for each list with blanks around a value, which are part of the value."""
    for file, text in files.items():
        if file.startswith("lists/"):
            sheet = _Sheet(text)
            padded = [(start + 1, value) for value, _, (start, _) in sheet.rows() if value != value.strip()]
            if padded:
                line, value = padded[0]
                more = len(padded) - 1
                others = f", and {many(more, 'other value')} of this list, too" if more else ""
                message = f"{value!r} has blanks around it and is another value than {value.strip()!r}{others}."
                yield Problem(file, line, 1, "", message, "Remove the blanks.")


def entries(text: str) -> list[Entry]:
    """Return the entries of a list in the order of their lines."""
    sheet = _Sheet(text)
    return [sheet.entry(row) for _, row, _ in sheet.rows()]


def count(text: str) -> int:
    return sum(1 for _ in _Sheet(text).rows())


@frozen
class Edited:
    """A list's text after an edit. `before` has the entries that were removed or changed, `after` the new ones.

    `counts` has the numbers of added, changed and removed entries, `entries` the number of all. With `is_plain` each
    line of the text is known to be a row, so that the next edit need not check this.
    """

    text: str
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
    counts: Mapping[str, int]
    entries: int
    is_plain: bool = field(default=False, compare=False)

    @property
    def what(self) -> str:
        """Result for the value that was added or removed: ADDED, CHANGED, REMOVED or SAME."""
        return next((what for what in (ADDED, CHANGED, REMOVED) if self.counts[what]), SAME)


def edited(
    text: str,
    put: Sequence[Entry],
    out: Collection[str],
    stands_for: Changes,
    *,
    is_whole: bool = False,
    known: ListFile | None = None,
    rows: int | None = None,
) -> Edited:
    """Return a list's text with some entries put or removed. Other lines stay.

    Args:
        put: Entries to add, or to replace those of the same value; of repeated values the last counts. An entry that
            differs only by its author is left unchanged. Values are written as `stands_for` returns them.
        out: Values to remove.
        stands_for: Returns the stored form of a value, its hash or the value; idempotent.
        is_whole: Also remove all other entries.
        known: The list as it was parsed before, which saves time.
        rows: Number of entries, if the previous edit left the list plain.

    Raises: UsageError if the list lacks a column that an entry needs.
    Cost: one pass over the lines; 1 ms per megabyte for a single value.
    """
    if len(put) + len(out) == 1 and not is_whole:
        result = _edit_one_value(text, put, out, stands_for, known, rows)
        if result is not None:
            return result
    sheet = _Sheet(text)
    stored = [replace(entry, value=stands_for(entry.value)) for entry in put]
    wanted = {entry.value: entry for entry in stored}
    filled = {name for entry in wanted.values() for name in _FILLED if getattr(entry, name)}
    missing = [name for name in LIST_COLUMNS if name in filled - set(sheet.header)]
    if missing:
        raise UsageError(f"the first line of the list lacks the column {', '.join(missing)}; add it there first.")
    removed = {stands_for(value) for value in out}
    lines = sheet.lines
    total = 0
    ending = lines[0][len(lines[0].rstrip("\r\n")) :] or "\n" if lines else "\n"
    before = list[Entry]()
    after = list[Entry]()
    counts = {ADDED: 0, CHANGED: 0, REMOVED: 0}
    edits: list[tuple[tuple[int, int], list[str]]] = []
    for value, row, span in sheet.rows():
        total += 1
        key = stands_for(value)
        now = wanted.pop(key, None)
        if now is None and not is_whole and key not in removed:
            continue
        was = sheet.entry(row)
        if now is not None and (now.note, now.expires_at) != (was.note, was.expires_at):
            counts[CHANGED] += 1
            after.append(now)
            edits.append((span, [sheet.line(now, ending)]))
        elif now is not None:
            removed.add(key)  # further lines of this value are removed
            continue
        else:
            counts[REMOVED] += 1
            total -= 1
            edits.append((span, []))
        removed.add(key)
        before.append(was)
    for (start, end), new in reversed(edits):
        lines[start:end] = new
    if wanted and lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += ending
    counts[ADDED] = len(wanted)
    lines += [sheet.line(entry, ending) for entry in wanted.values()]
    return Edited(sheet.mark + "".join(lines), tuple(before), (*after, *wanted.values()), counts, total + len(wanted))


def entry_of(text: str, value: str, stands_for: Changes, known: ListFile | None = None) -> Entry | None:
    """Return the first entry of a value in a list; None if there is none. Args and cost: as `edited`."""
    return next(iter(edited(text, (), (value,), stands_for, known=known).before), None)


def _edit_one_value(
    text: str, put: Sequence[Entry], out: Collection[str], stands_for: Changes, known: ListFile | None, rows: int | None
) -> Edited | None:
    """Edit one value by a text search; None if the list is not plain, or the value may be written in another way.

    Cost: 0.6 ms per megabyte; 2 ms more if neither `known` nor `rows` tells that the list is plain.
    """
    (value,) = (entry.value for entry in put) if put else out
    stored = stands_for(value)
    spellings = {value, stored}
    known = known if known is not None and known.text == text else None
    is_unchecked = known is None and rows is None
    has_signs = any(sign in text for sign in _SIGNS) if is_unchecked else known is not None and not known.is_plain
    is_plain = text.startswith(EMPTY) and text.endswith("\n") and not has_signs
    has_gaps = is_unchecked and ("\n\n" in text or "\n," in text)
    if not (is_plain and value) or has_gaps or re.search(r'[,"\s]', value):
        return None
    if known is not None:
        total = known.rows
    else:
        total = rows if rows is not None else text.count("\n") - 1
    if value == stored and stands_for is not str and len(_HASHED_LINE.findall(text)) < total:
        return None  # a row may have the value in clear that has this hash
    sheet = _Sheet(EMPTY)
    spans = list[tuple[int, int]]()
    present = spellings if known is None else spellings & known.entries.keys()
    for line_start in (f"\n{spelling}" for spelling in present):
        at = text.find(line_start, len(EMPTY) - 1)
        while at >= 0:
            if text[at + len(line_start)] in ",\n":
                spans.append((at + 1, text.index("\n", at + 1) + 1))
            at = text.find(line_start, at + 1)
    spans.sort()
    if put and len(spans) > 1:
        return None
    old = [sheet.entry(text[start : end - 1].split(",")) for start, end in spans]
    new = tuple(replace(entry, value=stored) for entry in put)
    counts = {ADDED: 0, CHANGED: 0, REMOVED: 0}
    if not old:
        counts[ADDED] = len(put)
    else:
        counts[CHANGED if put else REMOVED] = len(old)
    if put and old and (put[0].note, put[0].expires_at) == (old[0].note, old[0].expires_at):
        return Edited(text, (), (), dict.fromkeys(counts, 0), total, is_plain=True)
    line = sheet.line(new[0], "\n") if new else ""
    for start, end in reversed(spans):
        text = text[:start] + line + text[end:]
    text = text if old else grown(text, line)
    total = total + len(new) - len(old)
    return Edited(text, tuple(old), new, counts, total, not any(sign in line for sign in _SIGNS))


class _Sheet:
    """The lines and rows of a list as CSV. Cost: 0.5 us a line."""

    def __init__(self, text: str) -> None:
        plain = text.removeprefix(_BOM)
        self.mark = text[: len(text) - len(plain)]
        self.lines = list(io.StringIO(plain, newline=""))  # with their line ends
        self._reader = csv.reader(self.lines)
        self.header = next(self._reader, [])
        self._at = [self.header.index(name) if name in self.header else None for name in LIST_COLUMNS]

    def rows(self) -> Iterator[tuple[str, list[str], tuple[int, int]]]:
        """Yield value, cells and [first, end) line indexes of each entry. Call once."""
        at = self._at[0]
        reader = self._reader
        start = reader.line_num
        for row in reader:
            if at is not None and len(row) > at and row[at]:
                value = row[at]
                yield (lines_ended(value) if "\r" in value else value), row, (start, reader.line_num)
            start = reader.line_num

    def entry(self, row: Sequence[str]) -> Entry:
        return Entry(*(lines_ended(row[at]) if at is not None and at < len(row) else "" for at in self._at))

    def line(self, entry: Entry, ending: str) -> str:
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator=ending).writerow([getattr(entry, name) for name in self.header])
        return out.getvalue()
