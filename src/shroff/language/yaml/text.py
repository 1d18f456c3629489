"""Project files as nodes with positions: YAML 1.2 without its pitfalls.

Every scalar is text. Duplicate keys, anchors, aliases, tags, merge keys, directives and further documents are refused
with their place. A plain value that YAML misreads is a problem that shows the corrected line, and reading continues as
if it had been written so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shroff.errors import Problem
from shroff.language.yaml.nodes import Mapping, Node, Scalar, Sequence
from shroff.language.yaml.reader import CONTROL, PROBLEMS_MAX, Break, Reading
from shroff.language.yaml.slips import EditedText, Slip, in_quotes, is_whole, value_of_line, values_in_flow

__all__ = ["Mapping", "Node", "Scalar", "Sequence", "read", "whole_text"]

# A larger file is data, not a definition.
SIZE_MAX_BYTES = 2_000_000
# Each corrected line is tried by reading the file again, at about 300,000 characters a second.
_REREAD_MAX = 2_000_000

_LEADING_TABS = re.compile(r"^[ ]*(?:-[ ]*)*\t[ \t]*", re.MULTILINE)


def read(text: str, file: str, problems: list[Problem]) -> Node | None:
    """Return the file's root node; None if it is empty or cannot be read.

    Add problems in file order, at most 100. There may be a node as well as problems: lines that YAML misreads are then
    in it as corrected.

    Args:
        text: The file's content, at most 2 MB, nested at most 40 deep.
        file: Its name in problems.
        problems: Receives the problems found.

    Cost: 1 to 4 µs a character, most in braces; as much again for each corrected line, of which a long file gets few.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    refusal = _refused(text, file)
    if refusal is not None:
        problems.append(refusal)
        return None
    file_problems: list[Problem] = []
    node = _read_mending(text, file, file_problems)
    problems.extend(sorted(file_problems, key=lambda problem: (problem.line, problem.column))[:PROBLEMS_MAX])
    return node


def whole_text(scalar: Node, problems: list[Problem], *, what: str) -> bool:
    """Return whether the node is the whole text as written; if not, add a problem that shows the corrected text.

    YAML ends a plain value at ` #`. In a `what` of 'reason' that always cuts the text; in an 'expression', if a text or
    a bracket is open before it. A value in braces or brackets is not a text.
    """
    if not isinstance(scalar, Scalar):
        meant = scalar.source + (scalar.tail if what == "reason" else "")
        mended = f"; as text, in double quotes: {in_quotes(meant)}" if meant else ""
        kind = "a mapping" if isinstance(scalar, Mapping) else "a list"
        scalar.report(problems, f"expected {_article(what)}, and to YAML this is {kind}{mended}")
        return False
    if scalar.comment is None or (what != "reason" and is_whole(scalar.text)):
        return True
    meant = scalar.text + (scalar.gap if scalar.text else "") + scalar.comment
    if what != "reason":
        ends = (match.start() for match in re.finditer(r"[ \t]+#", meant) if match.start() > len(scalar.text))
        meant = next((meant[:end] for end in ends if is_whole(meant[:end])), meant)
    message = f"YAML ends {_article(what)} at ' #'; write it in double quotes: {in_quotes(meant)}"
    scalar.report(problems, message)
    return False


def _article(what: str) -> str:
    return f"an {what}" if what[:1] in "aeiou" else f"a {what}"


def _refused(text: str, file: str) -> Problem | None:
    """Return the problem of a file that is not read as YAML at all."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > SIZE_MAX_BYTES:
        return Problem(file, 0, 0, "", f"the file has {size} bytes; at most {SIZE_MAX_BYTES} are read")
    control = CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        column = control.start() - text.rfind("\n", 0, control.start())
        return Problem(file, line, column, "", f"a control character (U+{ord(control[0]):04X}) cannot stand in a file")
    first = re.match(r"(?:[ ]*(?:#[^\n]*)?\n)*%", text)
    if first is not None:
        return Problem(file, text.count("\n", 0, first.end()) + 1, 1, "", "directives ('%') are refused")
    return None


def _read_mending(written: str, file: str, found: list[Problem]) -> Node | None:
    """Read a file; if YAML fails at a value or cuts it, correct the value and read again."""
    reading = Reading(EditedText(written), file)
    left = _REREAD_MAX
    has_tabs = False
    while left > 0:
        if reading.broken is None:
            draft = reading.draft.quoted(reading.cut_values())
            better = Reading(draft, file) if draft.edits != reading.draft.edits else None
        elif (at := _tab_before(reading.draft, reading.broken)) >= 0:
            found += [] if has_tabs else [_tab_problem(reading, at)]
            has_tabs = True
            better = Reading(_without_tabs(reading.draft), file)
        else:
            better, left = _mended(reading, left)
        if better is None:
            break
        reading = better
        left -= len(written)
    # After a line with tabs, YAML's next failure probably comes from them.
    if reading.broken is not None and not has_tabs:
        found.append(_problem_of(reading.broken, reading))
    elif not has_tabs and (at := reading.stray_tab()) >= 0:
        found.append(_tab_problem(reading, reading.draft.back(at)))
    found += reading.all_problems()
    return reading.node


def _mended(reading: Reading, left: int) -> tuple[Reading | None, int]:
    """Return a reading with the failing value in quotes, None if that does not help, and the characters left to
    read.
    """
    for slips, past_line in _tries(reading):
        if left <= 0 or len(reading.draft.edits) + len(slips) > PROBLEMS_MAX:
            break
        better = Reading(reading.draft.quoted(slips), reading.file)
        if better.broken is None or better.draft.line_of(better.broken.at) > past_line:
            return better, left
        left -= len(better.draft.text)
    return None, left


def _tries(reading: Reading) -> Iterator[tuple[list[Slip], int]]:
    """Yield values near the failure that may be meant as text, with the line (from 0) that must then be readable."""
    draft = reading.draft
    broken = reading.broken
    assert broken is not None
    inside = values_in_flow(draft.text, reading.flow_start) if reading.flow_start >= 0 else None
    if inside is not None and inside[1]:
        yield inside[1], draft.line_of(inside[0])
    for line in dict.fromkeys(draft.line_of(at) for at in (broken.at, broken.context_at, reading.last_start)):
        value = value_of_line(draft.text, line)
        if value is None:
            continue
        first = draft.text[value.start]
        inside = values_in_flow(draft.text, value.start) if first in "[{" else None
        if inside is not None and inside[1]:
            yield inside[1], draft.line_of(inside[0])
        # A value that opens something may contain the failure: then only its own lines must be readable.
        yield [value], draft.line_of(value.end if first in "'\"[{|>" else broken.at)


def _tab_before(draft: EditedText, broken: Break) -> int:
    """Return the place in the file of a tab that indents the line at which YAML failed; -1 if there is none."""
    place = draft.back(broken.at)
    indentation = _LEADING_TABS.match(draft.written, draft.written.rfind("\n", 0, place) + 1)
    return -1 if indentation is None else draft.written.index("\t", indentation.start())


def _without_tabs(draft: EditedText) -> EditedText:
    """Replace each tab in an indentation by one space, so that no position moves."""
    return EditedText(_LEADING_TABS.sub(lambda match: match[0].replace("\t", " "), draft.written), draft.edits)


def _tab_problem(reading: Reading, at: int) -> Problem:
    line, column = reading.draft.line_and_column(at)
    count = len(_LEADING_TABS.findall(reading.draft.written))
    hint = f"{count} lines of this file begin with a tab." if count > 1 else ""
    return Problem(reading.file, line, column, "", "a tab stands here, and YAML takes spaces only", hint)


_INDENTED = "this line does not stand under what it belongs to; check its indentation"
# Start of the parser's message; words for the author of a project file; whether they describe the start of the
# construct.
_WORDS = (
    ("mapping values are not", "a ': ' where none can stand; check the indentation, of the line before too", False),
    ("could not find expected ':'", "this line has no ': ' after its key", True),
    ("found unexpected end of stream", "the quote that opens here is not closed", True),
    ("found unexpected document", "the quote that opens here is not closed", True),
    ("found unknown escape", "after a backslash in double quotes; for the backslash itself write two", False),
    ("did not find expected key", _INDENTED, False),
    ("did not find expected '-'", _INDENTED, False),
    ("did not find expected <doc", "this line does not go on what stands above; check its indentation", False),
    ("did not find expected ','", "the bracket or brace that opens here is not closed, or lacks a comma", True),
    ("found invalid Unicode", "an escape that names no character", False),
    ("did not find expected hex", "an escape that names no character", False),
    ("found character that cannot", "no value begins with this character; put the text in double quotes", False),
    ("did not find expected comment", "behind | or > the line ends; the text begins in the next one", False),
    ("did not find expected alpha", "& and * begin no text; put it in double quotes", False),
    ("block sequence entries", "a '- ' where none can stand; check the indentation", False),
    ("did not find expected node content", "a value is missing here", False),
)


def _problem_of(broken: Break, reading: Reading) -> Problem:
    at = broken.at
    words = broken.words
    if words.startswith("did not find expected <doc") and re.search(r"^\.\.\.", reading.draft.text[:at], re.MULTILINE):
        line, column = reading.draft.line_and_column(reading.draft.back(at))
        return Problem(reading.file, line, column, "", "a file holds one document; a second one begins here")
    for start, plain, is_about_start in _WORDS:
        if broken.words.startswith(start):
            words = plain if not start.startswith("found unknown") else f"{broken.words} {plain}"
            at = broken.context_at if is_about_start and broken.context_at >= 0 else at
    line, column = reading.draft.line_and_column(reading.draft.back(max(at, 0)))
    return Problem(reading.file, line, column, "", f"this is not YAML: {words}")
