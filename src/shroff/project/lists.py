"""Lists as a person keeps them: lists/NAME.csv, read and changed line by line, every other line left as it is."""

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
_FILLED = tuple(name for name in LIST_COLUMNS if name != "added_by")  # the record has that in any case
_BOM = "\ufeff"
_SIGNS = '"\r\0'  # by which a line may be other than its commas say
_HASHED_LINE = re.compile(rf"^{HASHED.pattern}[,\n]", re.MULTILINE)


class Entry(FrozenStruct):
    """One line of a list, as written."""

    value: str
    note: str = ""
    added_by: str = ""
    expires_at: str = ""

    @property
    def expires_ms(self) -> int | None:
        """When it ends; None for never."""
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
    """The name, if there is such a list. Raises: UsageError where there is none."""
    known = definitions.reference.lists
    if name in known:
        return name
    hint = nearest(name, known) or f"Make {file_of('NAME')} with the line {','.join(LIST_COLUMNS)} for a new one."
    raise UnknownListError(f"there is no list {name!r}. {hint}")


def summaries(definitions: Definitions, texts: TextMapping) -> list[ListSummary]:
    """Summaries of all lists of a project by name, with the texts of their files."""
    readers: dict[str, list[str]] = {name: [] for name in definitions.reference.lists}
    for name, feature in definitions.features.items():
        for asked in _asked(feature.node):
            readers[asked].append(name)
    for rule in definitions.rules:
        nodes = (rule.when, *(part for part in rule.reason if not isinstance(part, str)))
        for asked in sorted({asked for node in nodes for asked in _asked(node)}):
            readers[asked].append(f"rule {rule.id}")
    return [ListSummary(name, count(texts[file_of(name)]), tuple(readers[name])) for name in sorted(readers)]


def _asked(node: Node) -> list[str]:
    return sorted({part.list for part in walk(node) if isinstance(part, InList)})


def padded_values(files: TextMapping) -> Iterator[Problem]:
    """Yield a warning for each list with blanks around a value: they are part of the value."""
    for file, text in files.items():
        if file.startswith("lists/"):
            sheet = _Sheet(text)
            padded = [(start + 1, value) for value, _, (start, _) in sheet.rows() if value != value.strip()]
            if padded:
                line, value = padded[0]
                more = len(padded) - 1
                others = f", and {many(more, 'other value')} of this list, too" if more else ""
                words = f"{value!r} has blanks around it and is another value than {value.strip()!r}{others}."
                yield Problem(file, line, 1, "", words, "Remove the blanks.")


def entries(text: str) -> list[Entry]:
    """The entries of a list in the order of their lines."""
    sheet = _Sheet(text)
    return [sheet.entry(row) for _, row, _ in sheet.rows()]


def count(text: str) -> int:
    return sum(1 for _ in _Sheet(text).rows())


@frozen
class Edited:
    """A list's text after an edit, and the entries that differ: `before` are gone or others now, `after` are new.

    `counts` say how many were added, changed and removed, `entries` how many there are now. `is_plain` says that the
    text is known to have a row a line, none of them argument or empty, so that the next edit need not look.
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
    """Edit many entries at once; other lines stay. Cost: one pass over the lines; 1 ms per megabyte for one value.

    Args:
        put: Entries that are to be there, in place of those of the same value; of two of one value the later. One
            that differs only by who added it stays as it was. Who did is written where the list has a column for it,
            and in place of the value what stands for it.
        stands_for: Gives what a value is compared by: a hash, or the value itself. Of what it gives, it gives the same.
        out: Values that are to be there no more.
        is_whole: Whatever else is there goes.
        known: The list as it was read before, where it was: that spares most looks.
        rows: How many entries it has, where an edit before this one left it plain.

    Raises: UsageError where the list lacks a column that an entry fills.
    """
    if len(put) + len(out) == 1 and not is_whole:
        found = _of_one_value(text, put, out, stands_for, known, rows)
        if found is not None:
            return found
    sheet = _Sheet(text)
    wanted = {(key := stands_for(entry.value)): replace(entry, value=key) for entry in put}
    filled = {name for entry in wanted.values() for name in _FILLED if getattr(entry, name)}
    if lacking := [name for name in LIST_COLUMNS if name in filled - set(sheet.header)]:
        raise UsageError(f"the first line of the list lacks the column {', '.join(lacking)}; add it there first.")
    gone = {stands_for(value) for value in out}
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
        if now is None and not is_whole and key not in gone:
            continue
        was = sheet.entry(row)
        if now is not None and (now.note, now.expires_at) != (was.note, was.expires_at):
            counts[CHANGED] += 1
            after.append(now)
            edits.append((span, [sheet.line(now, ending)]))
        elif now is not None:
            gone.add(key)  # a second line of this value says nothing
            continue
        else:
            counts[REMOVED] += 1
            total -= 1
            edits.append((span, []))
        gone.add(key)
        before.append(was)
    for (start, end), new in reversed(edits):
        lines[start:end] = new
    if wanted and lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += ending
    counts[ADDED] = len(wanted)
    lines += [sheet.line(entry, ending) for entry in wanted.values()]
    text = sheet.mark + "".join(lines)
    return Edited(text, tuple(before), (*after, *wanted.values()), counts, total + len(wanted))


def entry_of(text: str, value: str, stands_for: Changes, known: ListFile | None = None) -> Entry | None:
    """The first entry of a value in a list; None where it has none. Args and cost: as `edited`."""
    return next(iter(edited(text, (), (value,), stands_for, known=known).before), None)


def _of_one_value(
    text: str, put: Sequence[Entry], out: Collection[str], stands_for: Changes, known: ListFile | None, rows: int | None
) -> Edited | None:
    """Edit of one value by a text search; None if that is not enough. Cost: 0.6 ms per megabyte.

    Args:
        known: The list as it was read before, where it was: else what it knows costs 2 ms a megabyte more.
    """
    (value,) = (entry.value for entry in put) if put else out
    spelled = {value, stored := stands_for(value)}
    known = known if known is not None and known.text == text else None
    looks = known is None and rows is None
    has_signs = any(sign in text for sign in _SIGNS) if looks else known is not None and not known.is_plain
    is_plain = text.startswith(EMPTY) and text.endswith("\n") and not has_signs
    has_gaps = looks and ("\n\n" in text or "\n," in text)
    if not (is_plain and value) or has_gaps or re.search(r'[,"\s]', value):
        return None
    total = known.rows if known is not None else rows if rows is not None else text.count("\n") - 1
    if value == stored and stands_for is not str and len(_HASHED_LINE.findall(text)) < total:
        return None  # a row that was written in clear may have this hash
    sheet = _Sheet(EMPTY)
    spans = list[tuple[int, int]]()
    there = spelled if known is None else spelled & known.entries.keys()
    for line in (f"\n{word}" for word in there):
        at = len(EMPTY) - 1
        while (at := text.find(line, at)) >= 0:
            if text[at + len(line)] in ",\n":
                spans.append((at + 1, text.index("\n", at + 1) + 1))
            at += 1
    spans.sort()
    if put and len(spans) > 1:
        return None
    was = [sheet.entry(text[start : end - 1].split(",")) for start, end in spans]
    now = tuple(replace(entry, value=stored) for entry in put)
    counts = {ADDED: 0, CHANGED: 0, REMOVED: 0}
    counts[ADDED if not was else CHANGED if put else REMOVED] = len(was or put)
    if put and was and (put[0].note, put[0].expires_at) == (was[0].note, was[0].expires_at):
        return Edited(text, (), (), dict.fromkeys(counts, 0), total, is_plain=True)
    line = sheet.line(now[0], "\n") if now else ""
    for start, end in reversed(spans):
        text = text[:start] + line + text[end:]
    text = text if was else grown(text, line)
    total = total + len(now) - len(was)
    return Edited(text, tuple(was), now, counts, total, not any(sign in line for sign in _SIGNS))


class _Sheet:
    """The lines of a list as CSV has them. Cost: 0.5 us a line."""

    def __init__(self, text: str) -> None:
        plain = text.removeprefix(_BOM)
        self.mark = text[: len(text) - len(plain)]
        self.lines = list(io.StringIO(plain, newline=""))  # with their ends, as CSV knows them
        self._reader = csv.reader(self.lines)
        self.header = next(self._reader, [])
        self._at = [self.header.index(name) if name in self.header else None for name in LIST_COLUMNS]

    def rows(self) -> Iterator[tuple[str, list[str], tuple[int, int]]]:
        """Each entry: its value, its cells, its first line and the line after its last."""
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
