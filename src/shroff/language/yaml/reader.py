"""One parse of a YAML text: parser events become nodes, and unsupported features are refused.

Scalars are not resolved: all are text. Duplicate keys, anchors, aliases, tags, merge keys, further documents and deep
nesting are refused with their place.
"""

from __future__ import annotations

import re
from typing import Any

from shroff.errors import Problem, UsageError
from shroff.language.yaml.nodes import Mapping, Node, Scalar, Sequence
from shroff.language.yaml.slips import Edit, EditedText, Slip, in_quotes, is_cut, values_in_flow
from shroff.runtime.values import FrozenStruct

# The limit for expressions, used for files too.
DEPTH_MAX = 40
# Nobody reads more, and a hostile file could cause millions.
PROBLEMS_MAX = 100
# All but tab, line end and printable characters; some editors show the two separators as line ends.
CONTROL = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

_STYLES = {"": "plain", "'": "single", '"': "double", "|": "literal", ">": "folded"}
_COMMENT = re.compile(r"([ \t]+)(#[^\n]*)")
_COMMENTS = re.compile(r"(?:^|(?<=[ \t]))#[^\n]*", re.MULTILINE)
_PROPERTY = re.compile(r"(?:&[^\s,\[\]{}]*|!\S*)\s*")
_COLON = re.compile(r"\s*:")
_DASH = re.compile(r"\s*(?:#[^\n]*\n\s*)*-")


class Break(FrozenStruct):
    """Message and place at which the YAML parser failed; indexes into the draft, -1 if unknown."""

    words: str
    at: int
    context_at: int


class _UnreadableError(Exception):
    """Ends the reading after its problem has been added."""


class Reading:
    """One reading of a draft: a node made of the parser's events, and the problems on the way.

    `broken` tells where the parser failed, if it did; `node` is None then.
    """

    def __init__(self, draft: EditedText, file: str) -> None:
        self.draft = draft
        self.file = file
        self.problems: list[Problem] = []
        self.said: list[Edit] = []
        # Ranges of quoted and block texts, in which tabs are text.
        self.texts: list[tuple[int, int]] = []
        # Start of the outermost open `{` or `[`, -1 outside; and those with a value that a comma cut.
        self.flow_start = -1
        self.flow_depth = 0
        self.cut_flows: dict[int, None] = {}
        self.last_start = self.last_end = 0
        import yaml  # takes 10 ms, so programs that read no file do not import it

        if not yaml.__with_libyaml__:
            raise UsageError(
                "PyYAML was built here without libyaml: install it as a wheel, with "
                "'pip install --force-reinstall --only-binary pyyaml pyyaml'."
            )
        self.events = iter(yaml.parse(draft.text, yaml.CSafeLoader))
        self.broken: Break | None = None
        self.node: Node | None = None
        try:
            self.node = self.document()
        except _UnreadableError:
            pass
        except yaml.MarkedYAMLError as error:
            self.broken = _break_of(error, self.last_start)

    def document(self) -> Node | None:
        """Return the root node; None if the file is empty."""
        node: Node | None = None
        documents = 0
        while (event := next(self.events, None)) is not None:
            if _kind(event) == "DocumentStart":
                documents += 1
                if documents > 1:
                    self.refuse(event.start_mark.index, "", "a file holds one document; a second one begins here")
                    raise _UnreadableError
                node = self.node_of(next(self.events), "", depth=1, empty_at=event.end_mark.index)
        is_empty = isinstance(node, Scalar) and not node.text and node.style == "plain"
        return None if is_empty else node

    def node_of(self, event: Any, path: str, *, depth: int, empty_at: int) -> Node:
        """Return the node that begins with this event; an empty one stands at `empty_at`."""
        start = self.last_start = event.start_mark.index
        end = event.end_mark.index
        if _kind(event) == "Alias":
            raw = self.draft.text[start:end]
            self.refuse(start, path, f"aliases are refused: {raw}; as text: {in_quotes(raw)}")
            return self.scalar(raw, None, path, start, end)
        proper = self.after_properties(event, path)
        if _kind(event) == "Scalar":
            if start == end:
                return self.scalar("", None, path, empty_at, empty_at)
            return self.scalar(event.value, event.style, path, proper, end)
        if depth > DEPTH_MAX:
            self.refuse(start, path, f"nested deeper than {DEPTH_MAX} levels")
            raise _UnreadableError
        return self.collection(event, proper, path, depth)

    def collection(self, event: Any, start: int, path: str, depth: int) -> Node:
        self.last_end = event.end_mark.index
        if event.flow_style:
            start = event.end_mark.index - 1
            self.flow_start = self.flow_start if self.flow_depth else start
            self.flow_depth += 1
        entries: list[tuple[Scalar, Node]] = []
        items: list[Node] = []
        is_mapping = _kind(event) == "MappingStart"
        last = self.add_entries(entries, path, depth) if is_mapping else self.add_items(items, path, depth)
        source = tail = ""
        if event.flow_style:
            self.last_end = last.end_mark.index
            source = self.draft.written[self.draft.back(start) : self.draft.back(self.last_end)]
            comment = _COMMENT.match(self.draft.text, self.last_end)
            tail = comment[0].rstrip() if comment else ""
            self.flow_depth -= 1
            self.flow_start = self.flow_start if self.flow_depth else -1
        line, column = self.draft.line_and_column(self.draft.back(start))
        if is_mapping:
            return Mapping(tuple(entries), line, column, path, self.file, source, tail)
        return Sequence(tuple(items), line, column, path, self.file, source, tail)

    def add_entries(self, entries: list[tuple[Scalar, Node]], path: str, depth: int) -> Any:
        """Read a mapping's keys and values; return the event that ends it."""
        lines: dict[str, int] = {}
        while _kind(event := next(self.events)) != "MappingEnd":
            name = event.value if _kind(event) == "Scalar" else f"*{event.anchor}" if _kind(event) == "Alias" else "?"
            inner = f"{path}.{name}" if path else name
            key = self.node_of(event, inner, depth=depth + 1, empty_at=event.start_mark.index)
            colon = _COLON.match(self.draft.text, self.last_end)
            empty_at = colon.end() if colon else self.last_end
            value = self.node_of(next(self.events), inner, depth=depth + 1, empty_at=empty_at)
            if not isinstance(key, Scalar):
                self.add(key.problem("a key must be text"))
                continue
            if name in lines:
                self.add(key.problem(f"the key {name!r} is used twice; the first is in line {lines[name]}"))
            elif name == "<<" and key.style == "plain":
                self.add(key.problem("merge keys ('<<') are refused; write out what they stand for"))
            else:
                entries.append((key, value))
                lines[name] = key.line
        return event

    def add_items(self, items: list[Node], path: str, depth: int) -> Any:
        """Read a list's items; return the event that ends it."""
        while _kind(event := next(self.events)) != "SequenceEnd":
            dash = _DASH.match(self.draft.text, self.last_end)
            empty_at = dash.end() if dash else self.last_end
            items.append(self.node_of(event, f"{path}[{len(items)}]", depth=depth + 1, empty_at=empty_at))
        return event

    def scalar(self, text: str, style: str | None, path: str, start: int, end: int) -> Scalar:
        draft = self.draft
        self.last_end = end
        line, column = draft.line_and_column(draft.back(start))
        edit = draft.edit_at(start)
        if edit is not None:
            made = Scalar(text, line, column, path, self.file, "plain", None, draft.written[edit.start : edit.end])
            self.said.append(edit)
            self.add(made.problem(edit.message))
            return made
        self.texts += [(start, end)] * bool(style)
        comment = None if style else _COMMENT.match(draft.text, end)
        words, gap = (comment[2].rstrip(), comment[1]) if comment else (None, " ")
        made = Scalar(text, line, column, path, self.file, _STYLES[style or ""], words, draft.text[start:end], gap)
        if style == '"' and (control := CONTROL.search(text)) is not None:
            message = f"the escape of a control character (U+{ord(control[0]):04X}) is refused"
            self.add(made.problem(message, offset=control.start()))
        if not style and self.flow_depth and is_cut(text):
            self.cut_flows[self.flow_start] = None
        return made

    def after_properties(self, event: Any, path: str) -> int:
        """Return where the node itself begins; refuse an anchor or a tag before it."""
        place: int = event.start_mark.index
        if event.anchor is None and event.tag is None:
            return place
        while (found := _PROPERTY.match(self.draft.text, place)) is not None:
            message = f"{'anchors' if found[0][0] == '&' else 'tags'} are refused: {found[0].strip()}"
            if _kind(event) == "Scalar":
                raw = self.draft.text[place : max(found.end(), event.end_mark.index)].strip()
                message += f"; as text: {in_quotes(raw)}"
            self.refuse(place, path, message)
            place = found.end()
        return place

    def cut_values(self) -> list[Slip]:
        """Return the values inside braces that were cut at a comma of their own."""
        found = (values_in_flow(self.draft.text, start) for start in self.cut_flows)
        slips = [slip for values in found if values is not None for slip in values[1]]
        return slips[: PROBLEMS_MAX - len(self.draft.edits)]

    def stray_tab(self) -> int:
        """Return the place of the first tab outside quoted texts, block texts and comments; -1 if there is none."""
        if "\t" not in self.draft.text:
            return -1
        left = 0
        parts = list[str]()
        for start, end in self.texts:
            parts += [self.draft.text[left:start], "x" * (end - start)]
            left = end
        plain = "".join(parts) + self.draft.text[left:]
        return _COMMENTS.sub(lambda comment: "x" * len(comment[0]), plain).find("\t")

    def refuse(self, index: int, path: str, message: str) -> None:
        line, column = self.draft.line_and_column(self.draft.back(index))
        self.add(Problem(self.file, line, column, path, message))

    def add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) >= PROBLEMS_MAX:
            raise _UnreadableError

    def all_problems(self) -> list[Problem]:
        """Return all problems, and those of edits that no node has reported."""
        silent = [edit for edit in self.draft.edits if edit not in self.said]
        places = [self.draft.line_and_column(edit.start) for edit in silent]
        return self.problems + [
            Problem(self.file, *place, "", edit.message) for place, edit in zip(places, silent, strict=True)
        ]


def _break_of(error: Any, last_start: int) -> Break:
    problem = error.problem_mark
    context = error.context_mark
    return Break(error.problem, problem.index if problem else last_start, context.index if context else -1)


def _kind(event: Any) -> str:
    return type(event).__name__[:-5]  # without "Event"
