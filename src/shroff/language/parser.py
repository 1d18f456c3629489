"""Parser of expressions: tokens, then recursive descent by precedence.

The grammar, lowest precedence first (in full in docs/reference/grammar.md):

    else   when   or   and   not   == != < <= > >= in "is missing"   + -   * /   unary -

Comparisons do not chain. An aggregate's modifiers follow its bracket. Length and nesting are limited before anything is
built, so hostile text fails fast.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from shroff.language.syntax import (
    Binary,
    DottedName,
    DurationLiteral,
    ExpressionError,
    FunctionCall,
    MissingTest,
    Modifier,
    NumberLiteral,
    Of,
    Span,
    Syntax,
    TableLookup,
    TextLiteral,
    Unary,
    Within,
    WordLiteral,
    parts_of,
    refuse,
)
from shroff.language.values import parse_duration
from shroff.runtime.values import FrozenStruct

LENGTH_MAX = 2_000
DEPTH_MAX = 40
LAST_MAX = 1_000_000_000  # of `over last n`; more events of one key than any log has

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<duration>(?:[0-9]+(?:ms|s|m|h|d|w))+(?![A-Za-z0-9_]))
      | (?P<number>[0-9][0-9_]*(?:\.[0-9][0-9_]*)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<text>'(?:[^']|'')*+')
      | (?P<sign>==|!=|<=|>=|\.\.|[<>+\-*/()\[\],.])
    """,
    re.VERBOSE,
)
_INDEX = re.compile("[0-9]{1,9}")  # no message has more items
_KEYWORDS = frozenset(
    "and or not in is missing else when where over last delayed including matching since of true false".split()
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_MODIFIERS = frozenset({"over", "delayed", "including", "matching", "since", "of"})


class Token(FrozenStruct):
    kind: str
    text: str
    start: int
    end: int


def parse(text: str) -> Syntax:
    """Parse one whole expression.

    Raises: ExpressionError at the first mistake.
    """
    parser = _Parser(text)
    tree = parser.expression()
    if parser.token.kind != "end":
        raise parser.unexpected("an operator or the end")
    if _levels(tree) > DEPTH_MAX:
        refuse(tree, f"the expression has more than {DEPTH_MAX} levels")
    return tree


def tokens(text: str) -> list[Token]:
    """Split a text into tokens; the last has kind `end`.

    >>> [token.text for token in tokens("a.b >= 1_000")]
    ['a', '.', 'b', '>=', '1_000', '']
    """
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"the expression has {len(text)} characters; at most {LENGTH_MAX} are read", 0, 1)
    found_tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _stray(text, at)
        kind = match.lastgroup or ""
        if kind == "name" and match.group() in _KEYWORDS:
            kind = "word"
        if kind != "space":
            found_tokens.append(Token(kind, match.group(), at, match.end()))
        at = match.end()
    found_tokens.append(Token("end", "", len(text), len(text)))
    return found_tokens


def _stray(text: str, at: int) -> ExpressionError:
    sign = text[at]
    if sign == "'":
        return ExpressionError("a text opens here and does not close", at, len(text), "Texts stand in single quotes.")
    if sign == '"':
        return ExpressionError("texts stand in single quotes, not in double ones", at, at + 1)
    if sign == "=":
        return ExpressionError("'=' is not an operator", at, at + 1, "Equality is written '=='.")
    return ExpressionError(f"{sign!r} has no meaning here", at, at + 1)


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.depth = -1  # the outermost expression is at depth 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def is_sign(self, *signs: str) -> bool:
        return self.token.kind == "sign" and self.token.text in signs

    def is_word(self, *words: str) -> bool:
        return self.token.kind == "word" and self.token.text in words

    def is_name(self, text: str) -> bool:
        return self.token.kind == "name" and self.token.text == text

    def takes(self, *texts: str) -> bool:
        """Consume the next token if it is one of these words or signs; return whether it was."""
        found = self.is_word(*texts) or self.is_sign(*texts)
        self.at += found
        return found

    def expect_sign(self, sign: str) -> Token:
        if not self.is_sign(sign):
            raise self.unexpected(f"{sign!r}")
        return self.next()

    def expect_name(self, text: str, after: str) -> Token:
        if not self.is_name(text):
            raise self.unexpected(f"{text!r} after {after!r}")
        return self.next()

    def unexpected(self, wanted: str) -> ExpressionError:
        token = self.token
        found = "the end" if token.kind == "end" else repr(token.text)
        return ExpressionError(f"expected {wanted}, found {found}", token.start, max(token.end, token.start + 1))

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise ExpressionError(f"the expression has more than {DEPTH_MAX} levels", self.token.start, self.token.end)

    # ---- by precedence, lowest first

    def chain(self, operand: Callable[[], Syntax], *operators: str) -> Syntax:
        """Parse operands joined by operators of one precedence, from left to right."""
        left = operand()
        while self.is_word(*operators) or self.is_sign(*operators):
            operator = self.next().text
            left = joined(operator, left, operand())
        return left

    def expression(self) -> Syntax:
        self.deeper()
        tree = self.chain(self.when, "else")
        self.depth -= 1
        return tree

    def when(self) -> Syntax:
        return self.chain(self.disjunction, "when")

    def disjunction(self) -> Syntax:
        return self.chain(self.conjunction, "or")

    def conjunction(self) -> Syntax:
        return self.chain(self.negation, "and")

    def negation(self) -> Syntax:
        if not self.is_word("not"):
            return self.comparison()
        sign = self.next()
        self.deeper()
        operand = self.negation()
        self.depth -= 1
        return Unary(sign.start, operand.end, "not", operand)

    def comparison(self) -> Syntax:
        left = self.compared(self.sum())
        if self.is_sign(*_COMPARISONS) or self.is_word("in", "is") or self.is_not_in():
            token = self.token
            raise ExpressionError(
                f"comparisons do not chain: {token.text!r} follows another one",
                left.start,
                token.end,
                "Join two with 'and'.",
            )
        return left

    def compared(self, left: Syntax) -> Syntax:
        if self.is_sign(*_COMPARISONS):
            operator = self.next().text
            return joined(operator, left, self.sum())
        if self.takes("is"):
            is_negated = self.takes("not")
            if not self.is_word("missing"):
                raise self.unexpected(f"'missing' after 'is{' not' if is_negated else ''}'")
            test = MissingTest(left.start, self.next().end, left)
            return Unary(test.start, test.end, "not", test) if is_negated else test
        if self.is_not_in():
            self.next()
            return self.within(left, negated=True)
        return self.within(left, negated=False) if self.is_word("in") else left

    def is_not_in(self) -> bool:
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        return self.is_word("not") and following.kind == "word" and following.text == "in"

    def within(self, operand: Syntax, *, negated: bool) -> Syntax:
        self.next()
        if self.takes("["):
            values = self.listed("]")
            return Within(operand.start, self.expect_sign("]").end, negated, operand, values=values)
        low = self.sum()
        if self.takes(".."):
            high = self.sum()
            return Within(operand.start, high.end, negated, operand, low=low, high=high)
        if isinstance(low, DottedName) and low.parts[0] == "lists":
            return Within(operand.start, low.end, negated, operand, list=low)
        hint = "Write ['a', 'b'], 1 .. 5 or lists.NAME."
        raise ExpressionError("'in' takes a list, a range or a list of the project", low.start, low.end, hint)

    def sum(self) -> Syntax:
        return self.chain(self.product, "+", "-")

    def product(self) -> Syntax:
        return self.chain(self.signed, "*", "/")

    def signed(self) -> Syntax:
        if not self.is_sign("-"):
            return self.atom()
        sign = self.next()
        self.deeper()
        operand = self.signed()
        self.depth -= 1
        return Unary(sign.start, operand.end, "-", operand)

    # ---- operands

    def atom(self) -> Syntax:
        token = self.token
        if token.kind == "number":
            self.next()
            return NumberLiteral(token.start, token.end, token.text.replace("_", ""))
        if token.kind == "duration":
            self.next()
            return DurationLiteral(token.start, token.end, self.duration_ms(token))
        if token.kind == "text":
            self.next()
            return TextLiteral(token.start, token.end, token.text[1:-1].replace("''", "'"))
        if self.is_word("true", "false", "missing"):
            self.next()
            return WordLiteral(token.start, token.end, token.text)
        if self.takes("("):
            inside = self.expression()
            self.expect_sign(")")
            return inside
        if token.kind == "name" or self.is_call_of_a_word():
            return self.named()
        raise self.unexpected("a value")

    def is_call_of_a_word(self) -> bool:
        """Return whether `last(` follows: an aggregate, though `last` is a keyword in `over last n`."""
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        return self.is_word("last") and following.kind == "sign" and following.text == "("

    def duration_ms(self, token: Token) -> int:
        try:
            return parse_duration(token.text)
        except ValueError as error:
            raise ExpressionError(str(error), token.start, token.end) from None

    def named(self) -> Syntax:
        first = self.next()
        if self.is_sign("("):
            return self.call(first)
        name = self.dotted(first)
        if self.is_sign("[") and name.parts[0] == "tables":
            return self.lookup(name)
        if self.takes("of"):
            event = self.name("an event type after 'of'")
            return Of(name.start, event.end, name, event)
        return name

    def name(self, wanted: str) -> DottedName:
        if self.token.kind != "name":
            raise self.unexpected(wanted)
        return self.dotted(self.next())

    def dotted(self, first: Token) -> DottedName:
        parts = [first.text]
        indices = list[int]()
        end = first.end
        while self.is_sign(".") or (first.text in {"row", "item"} and self.is_sign("[")):
            if self.next().text == "[":
                token = self.next()
                if token.kind == "number" and len(parts) > 1 and _INDEX.fullmatch(token.text):
                    indices.append(len(parts))
                    parts.append(token.text)
                elif token.kind == "text":
                    parts.append(token.text[1:-1].replace("''", "'"))
                else:
                    self.at -= 1
                    raise self.unexpected("a column's name in single quotes, or an index of an array as row.items[0]")
                end = self.expect_sign("]").end
                continue
            if self.token.kind not in {"name", "word"}:
                raise self.unexpected("a name after '.'")
            token = self.next()
            parts.append(token.text)
            end = token.end
        return DottedName(first.start, end, tuple(parts), tuple(indices))

    def lookup(self, table: DottedName) -> Syntax:
        self.next()
        key = self.expression()
        self.expect_sign("]")
        self.expect_sign(".")
        if self.token.kind not in {"name", "word"}:
            raise self.unexpected("a column's name")
        column = self.next()
        return TableLookup(table.start, column.end, table, key, DottedName(column.start, column.end, (column.text,)))

    def listed(self, closing: str) -> tuple[Syntax, ...]:
        items: list[Syntax] = []
        while not self.is_sign(closing):
            items.append(self.expression())
            if not self.takes(","):
                break
        return tuple(items)

    def call(self, name: Token) -> Syntax:
        self.next()
        arguments = self.listed(")")
        via = up_to = where = None
        if self.is_name("via"):  # not a keyword: an event type may have this name
            self.next()
            via = self.expression()
            if self.is_name("up"):
                start = self.next().start
                self.expect_name("to", "up")
                up_to = Modifier(start, self.token.end, "up to", self.count("up to"))
        if self.takes("where"):
            where = self.expression()
        end = self.expect_sign(")").end
        modifiers: list[Modifier] = []
        while self.is_word(*_MODIFIERS):
            modifiers.append(self.modifier())
            end = modifiers[-1].end
        return FunctionCall(name.start, end, name.text, name.end, arguments, where, tuple(modifiers), via, up_to)

    def modifier(self) -> Modifier:
        word = self.next()
        if word.text == "including":
            return Modifier(word.start, self.expect_name("this", "including").end, "including this")
        if word.text == "of":
            self.expect_name("each", "of")
            return Modifier(word.start, self.expect_name("source", "of each").end, "of each source")
        if word.text == "since":
            return Modifier(word.start, self.expect_name("flag", "since").end, "since flag")
        if word.text == "matching":
            name = self.name("the matched field after 'matching'")
            return Modifier(word.start, name.end, "matching", name=name)
        if word.text == "over" and self.takes("last"):
            return Modifier(word.start, self.token.end, "over last", self.count("over last"))
        if self.token.kind != "duration":
            raise self.unexpected(f"a duration after {word.text!r}, such as 7d")
        token = self.next()
        amount = self.duration_ms(token)
        if word.text == "over" and amount == 0:
            raise ExpressionError("a window is longer than zero", word.start, token.end)
        return Modifier(word.start, token.end, word.text, amount)

    def count(self, after: str) -> int:
        """Parse n of `over last n` or `up to n`."""
        digits = self.token.text.replace("_", "")
        if self.token.kind != "number" or not digits.isdigit() or int(digits) < 1:
            raise self.unexpected(f"a whole number above zero after {after!r}")
        if int(digits) > LAST_MAX:
            raise ExpressionError(f"{after!r} takes at most {LAST_MAX:_}", self.token.start, self.token.end)
        self.next()
        return int(digits)


def joined(operator: str, left: Syntax, right: Syntax) -> Syntax:
    return Binary(left.start, right.end, operator, left, right)


def _levels(tree: Syntax) -> int:
    """Levels of operators and calls above the deepest leaf.

    Counted without recursion: the loops over operators of one precedence build trees of any height, and all later
    readers recurse.
    """
    levels = 0
    row: list[Span] = [tree]
    while row := [part for node in row for part in parts_of(node)]:
        levels += 1
    return levels
