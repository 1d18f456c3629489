"""Parse rules of Stripe Radar, such as `Block if :card_country: != 'US' and :amount_in_usd: > 500`.

Each line is a rule. A line that begins with a space, `and` or `or` continues the rule above it. A comment begins with
`#`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeVar

from shroff.errors import Problem
from shroff.plugins.values import FrozenStruct

LENGTH_MAX = 5_000  # characters of a rule
DEPTH_MAX = 40
_HEAD = re.compile(r"(block|review|allow|request\s+3d\s+secure|request\s+3ds)\s+if\b", re.IGNORECASE)
_GOES_ON = re.compile(r"\s|and\b|or\b|&&|\|\|", re.IGNORECASE)
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<metadata>::[^:'"\n]{1,100}(?::[^:'"\n]{1,100})?::)
      | (?P<attribute>:[A-Za-z_]\w*:)
      | (?P<list>@\w+)
      | (?P<text>'[^'\n]*'|"[^"\n]*")
      | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
      | (?P<sign>==|!=|<=|>=|&&|\|\||[=<>!(),])
      | (?P<word>[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_SAME = {"&&": "and", "||": "or", "!": "not"}
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_WORDS = ("in", "includes", "like")
_Part = TypeVar("_Part")


class Place(FrozenStruct):
    """A position in a file; line and column count from 1."""

    line: int
    column: int


class Attribute(FrozenStruct):
    """An attribute, such as `:card_country:`, or metadata, such as `::Customer Age::`, whose name has its colons."""

    name: str
    place: Place

    @property
    def is_metadata(self) -> bool:
        return self.name.startswith("::")

    @property
    def shown(self) -> str:
        return self.name if self.is_metadata else f":{self.name}:"


class Text(FrozenStruct):
    value: str
    place: Place


class RadarNumber(FrozenStruct):
    text: str
    place: Place


class ListName(FrozenStruct):
    """`@blocked_emails`."""

    name: str
    place: Place


class RadarCompare(FrozenStruct):
    operator: str
    left: Attribute
    right: Attribute | Text | RadarNumber


class RadarWithin(FrozenStruct):
    """`x in ('a', 'b')`, or `x in @list`."""

    left: Attribute
    values: tuple[Text | RadarNumber, ...] | ListName


class Pattern(FrozenStruct):
    """`x includes 'part'`, or `x like 'a%b'`."""

    operator: str
    left: Attribute
    right: Text


class Missing(FrozenStruct):
    left: Attribute


class RadarTruth(FrozenStruct):
    """A boolean attribute used as a condition."""

    left: Attribute


class RadarNot(FrozenStruct):
    operand: Condition


class Joined(FrozenStruct):
    """Conditions joined by `and`, or by `or`."""

    operator: str
    parts: tuple[Condition, ...]


class Written(FrozenStruct):
    """A condition as text, of another product."""

    text: str


Condition = RadarCompare | RadarWithin | Pattern | Missing | RadarTruth | RadarNot | Joined | Written


class RadarRule(FrozenStruct):
    """A parsed rule. `text` is its source on one line, without comments. `name` is empty if the rule has none."""

    action: str
    condition: Condition
    text: str
    place: Place
    name: str = ""


class RadarError(Exception):
    """A rule that cannot be parsed or translated, with position, reason and fix."""

    def __init__(self, message: str, place: Place, hint: str = "") -> None:
        self.message = message
        self.place = place
        self.hint = hint
        super().__init__(message)


def attributes_of(condition: Condition) -> Iterator[Attribute]:
    """Yield the attributes that a condition reads, from left to right."""
    match condition:
        case RadarNot(operand):
            yield from attributes_of(operand)
        case Joined(_, parts):
            for part in parts:
                yield from attributes_of(part)
        case Written():
            return
        case _:
            yield condition.left
            if isinstance(condition, RadarCompare) and isinstance(condition.right, Attribute):
                yield condition.right


def read_rules(source: str, file: str) -> tuple[list[RadarRule], list[tuple[str, Problem]]]:
    """Parse the rules of a file; return them, and the text and problem of each rule that cannot be parsed."""
    text = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    rules: list[RadarRule] = []
    problems: list[tuple[str, Problem]] = []
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    for start, end in _stretches(text):
        display_text = _without_comments(text[start:end])
        try:
            rules.append(_RuleReader(text, lines, start, end).rule(display_text))
        except RadarError as error:
            position = error.place
            problems.append(
                (display_text, Problem(file, position.line, position.column, "", error.message, error.hint))
            )
    return rules, problems


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Yield the range of each rule in the text, [start, end)."""
    start = end = -1
    offset = 0
    for line in text.split("\n"):
        is_empty = not line.strip() or line.lstrip().startswith("#")
        if not is_empty and (start < 0 or not _GOES_ON.match(line)):
            if start >= 0:
                yield start, end
            start = offset + len(line) - len(line.lstrip())
        if not is_empty:
            end = offset + len(line)
        offset += len(line) + 1
    if start >= 0:
        yield start, end


def _without_comments(source: str) -> str:
    parts = [" " if match.lastgroup == "space" else match[0] for match in _TOKEN.finditer(source)]
    return re.sub(r" +", " ", "".join(parts) if "#" in source else re.sub(r"\s+", " ", source)).strip()


class _Token(FrozenStruct):
    kind: str
    text: str
    at: int


class TokenReader:
    """Reads the tokens of a condition one after the other."""

    def __init__(self, pattern: re.Pattern[str], text: str, start: int, end: int) -> None:
        self._text = text
        self._next = 0
        self._tokens = list[_Token]()
        while start < end:
            match = pattern.match(text, start, end)
            if match is None or match.lastgroup is None:
                self._unreadable(start)
            if match.lastgroup != "space":
                self._tokens.append(_Token(match.lastgroup, match[0], start))
            start = match.end()
        self._tokens.append(_Token("end", "the end", end))

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _takes(self, *keywords: str) -> str:
        """Consume the next token if it is one of these."""
        token = self._peek()
        word = _SAME.get(token.text, token.text.lower())
        if token.kind not in {"word", "sign"} or word not in keywords:
            return ""
        self._next += 1
        return word

    def _expect(self, sign: str) -> None:
        token = self._peek()
        if not self._takes(sign):
            self._fail(f"expected {sign!r}, found {token.text!r}.", token.at)

    def _end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            self._fail(f"the condition is over before {token.text!r}.", token.at, "Join conditions by and, or.")

    def _items(self, part: Callable[[], _Part], close: str) -> list[_Part]:
        items = [part()]
        while self._takes(","):
            items.append(part())
        self._expect(close)
        return items

    def _unreadable(self, offset: int) -> NoReturn:
        self._fail(f"{self._text[offset]!r} means nothing here.", offset)

    def _fail(self, message: str, offset: int, hint: str = "") -> NoReturn:
        raise RadarError(message, self._position(offset), hint)

    def _position(self, offset: int) -> Place:
        return Place(1, 1)


class _RuleReader(TokenReader):
    def __init__(self, text: str, lines: Sequence[int], start: int, end: int) -> None:
        """`lines` is where each line of the text begins."""
        self._lines = lines
        self._start = start
        self._depth = 0
        if end - start > LENGTH_MAX:
            self._fail(f"a rule has at most {LENGTH_MAX:,} characters.", start)
        head = _HEAD.match(text, start, end)
        if head is None:
            hint = "It begins with Block if, Review if, Allow if or Request 3D Secure if."
            self._fail("this is not a rule.", start, hint)
        self._action = head[1].lower().split()[0]
        super().__init__(_TOKEN, text, head.end(), end)

    def rule(self, display_text: str) -> RadarRule:
        condition = self._any()
        self._end()
        action = "3ds" if self._action == "request" else self._action
        return RadarRule(action, condition, display_text, self._position(self._start))

    def _unreadable(self, offset: int) -> NoReturn:
        sign = self._text[offset]
        if sign in "'\"":
            self._fail("this text has no end.", offset, f"Close it with {sign} on the same line.")
        word = re.compile(r":+(\w+)").match(self._text, offset)
        if word is not None:
            self._fail(
                "an attribute has a colon on both sides.", offset, f"Write :{word[1]}:, and metadata ::{word[1]}::."
            )
        super()._unreadable(offset)

    # ---- conditions

    def _any(self) -> Condition:
        return self._join("or", self._all)

    def _all(self) -> Condition:
        return self._join("and", self._one)

    def _join(self, word: str, part: Callable[[], Condition]) -> Condition:
        parts = [part()]
        while self._takes(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._fail(f"conditions stand in one another at most {DEPTH_MAX} deep.", self._peek().at)
        condition = self._inner()
        self._depth -= 1
        return condition

    def _inner(self) -> Condition:
        if self._takes("not"):
            return RadarNot(self._one())
        if self._takes("("):
            condition = self._any()
            self._expect(")")
            return condition
        if self._takes("is_missing"):
            self._expect("(")
            attribute = self._attribute()
            self._expect(")")
            return Missing(attribute)
        return self._predicate(self._attribute())

    def _predicate(self, left: Attribute) -> Condition:
        token = self._peek()
        if self._takes("not"):
            if not self._takes("in"):
                self._fail("expected in behind not.", self._peek().at, f"Write not {left.shown} … for the opposite.")
            return RadarNot(self._within(left))
        word = token.text.lower()
        if word == "in":
            self._next += 1
            return self._within(left)
        if word in _WORDS:
            self._next += 1
            value = self._value()
            if not isinstance(value, Text):
                self._fail(f"{word.upper()} takes a text.", token.at, f"Write {word.upper()} 'text'.")
            return Pattern(word, left, value)
        if token.kind == "sign" and word in _OPERATORS:
            self._next += 1
            return RadarCompare(word, left, self._attribute() if self._is_attribute() else self._value())
        if token.text == "==":
            self._fail("'==' is not an operator.", token.at, "Write =.")
        return RadarTruth(left)

    def _within(self, left: Attribute) -> RadarWithin:
        token = self._peek()
        if token.kind == "list":
            self._next += 1
            return RadarWithin(left, ListName(token.text[1:], self._position(token.at)))
        if not self._takes("("):
            self._fail("expected a list.", token.at, "Write ('a', 'b'), or @name for a saved list.")
        return RadarWithin(left, tuple(self._items(self._value, ")")))

    # ---- parts

    def _is_attribute(self) -> bool:
        return self._peek().kind in {"attribute", "metadata"}

    def _attribute(self) -> Attribute:
        token = self._peek()
        if not self._is_attribute():
            hint = f"Write :{token.text}:." if token.kind == "word" else ""
            self._fail(f"expected an attribute, found {token.text!r}.", token.at, hint)
        self._next += 1
        is_plain = token.kind == "attribute"
        return Attribute(token.text[1:-1].lower() if is_plain else token.text, self._position(token.at))

    def _value(self) -> Text | RadarNumber:
        token = self._peek()
        self._next += 1
        if token.kind == "text":
            return Text(token.text[1:-1], self._position(token.at))
        if token.kind == "number":
            return RadarNumber(token.text, self._position(token.at))
        hint = f"Write '{token.text}' for the text." if token.kind == "word" else ""
        return self._fail(f"expected a text in quotes or a number, found {token.text!r}.", token.at, hint)

    def _position(self, offset: int) -> Place:
        line = bisect_right(self._lines, offset)
        return Place(line, offset - self._lines[line - 1] + 1)
