"""Reading an expression: strength of operators, places of mistakes, limits, hostile text."""

from __future__ import annotations

import pytest

from shroff.language.parser import DEPTH_MAX, LENGTH_MAX, parse, tokens
from shroff.language.syntax import (
    Binary,
    DottedName,
    DurationLiteral,
    ExpressionError,
    FunctionCall,
    MissingTest,
    NumberLiteral,
    Of,
    Syntax,
    TableLookup,
    TextLiteral,
    Unary,
    Within,
    WordLiteral,
)
from tests.support.effort import quickest_s

# Far above what a refusal takes (under 1 ms), since other programs share the machine, by processor time.
REFUSED_WITHIN_S = 0.1


def shape(tree: Syntax) -> str:
    """A tree with all its brackets."""
    match tree:
        case Binary():
            return f"({shape(tree.left)} {tree.operator} {shape(tree.right)})"
        case Unary():
            return f"({tree.operator} {shape(tree.operand)})"
        case MissingTest():
            return f"({shape(tree.operand)} is missing)"
        case Within():
            ends = f"{shape(tree.low)} .. {shape(tree.high)}" if tree.low and tree.high else str(tree.list)
            if tree.values is not None:
                ends = f"[{', '.join(map(shape, tree.values))}]"
            return f"({shape(tree.operand)} {'not in' if tree.negated else 'in'} {ends})"
        case FunctionCall():
            words = "".join(f" {modifier.word}" for modifier in tree.modifiers)
            where = f" where {shape(tree.where)}" if tree.where else ""
            return f"{tree.name}({', '.join(map(shape, tree.arguments))}{where}){words}"
        case TableLookup():
            return f"{tree.table}[{shape(tree.key)}].{tree.column}"
        case Of():
            return f"({tree.feature} of {tree.event})"
        case DottedName():
            return str(tree)
        case NumberLiteral():
            return tree.text
        case TextLiteral():
            return repr(tree.value)
        case DurationLiteral():
            return f"{tree.value_ms}ms"
        case WordLiteral():
            return tree.word


def refused(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    return caught.value


def at_fault(text: str) -> str:
    error = refused(text)
    return text[error.start : error.end]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a else b when c", "(a else (b when c))"),
        ("a when b else c", "((a when b) else c)"),
        ("a else b else c", "((a else b) else c)"),
        ("a when b or c", "(a when (b or c))"),
        ("a or b and not c == d", "(a or (b and (not (c == d))))"),
        ("not a and b", "((not a) and b)"),
        ("not not a", "(not (not a))"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b / c", "((a / b) / c)"),
        ("-a * b", "((- a) * b)"),
        ("2 - -a", "(2 - (- a))"),
        ("a + 1 in 1 + 1 .. 2 * 2", "((a + 1) in (1 + 1) .. (2 * 2))"),
        ("a not in ['x', b]", "(a not in ['x', b])"),
        ("not a in []", "(not (a in []))"),
        ("a in lists.blocked or b", "((a in lists.blocked) or b)"),
        ("a is missing or b", "((a is missing) or b)"),
        ("1..5 == 2", None),
        ("a in 1..5", "(a in 1 .. 5)"),
        ("tables.bins[a.b else 'x'].country == c", "(tables.bins[(a.b else 'x')].country == c)"),
        ("tables.t[k].since", "tables.t[k].since"),
        ("this.over + this.last", "(this.over + this.last)"),
        ("last(payment.at) over 7d", "last(payment.at) over"),
        ("sum(user.f of withdrawal) over 30d since flag including this", None),
        ("row['Type of ''x''']", "row.Type of 'x'"),
        ("join(row.file, ':', row.number)", "join(row.file, ':', row.number)"),
        ("'it''s'", '"it\'s"'),
        ("1_000.50", "1000.50"),
        ("182d12h", "15768000000ms"),
        ("f()", "f()"),
        ("f(a,)", "f(a)"),
    ],
)
def test_an_expression_is_read_by_the_strength_of_its_operators(text, wanted):
    if text.startswith("sum"):
        assert shape(parse(text)) == "sum((user.f of withdrawal)) over since flag including this"
    elif wanted is None:
        assert at_fault(text) == ".."
    else:
        assert shape(parse(text)) == wanted


@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        ("a ==", "", "expected a value, found the end"),
        ("a + * b", "*", "expected a value"),
        ("(a + b", "", "expected ')'"),
        ("a b", "b", "expected an operator or the end"),
        ("a < b < c", "a < b <", "do not chain"),
        ("a is missing is missing", "a is missing is", "do not chain"),
        ("a == b in [c]", "a == b in", "do not chain"),
        ("a is here", "here", "'missing' after 'is'"),
        ("a is not here", "here", "'missing' after 'is not'"),
        ("a is not missing is missing", "a is not missing is", "do not chain"),
        ("a in b", "b", "a list, a range"),
        ("a = 1", "=", "'=' is not an operator"),
        ('a == "x"', '"', "single quotes"),
        ("a == 'x", "'x", "does not close"),
        ("a == 'it''s", "'it''s", "does not close"),
        ("a ; b", ";", "no meaning"),
        ("a.5", ".5", None),
        ("a.", "", "a name after '.'"),
        ("row[0]", "0", "a column's name in single quotes"),
        ("tables.bins[a]", "", "'.'"),
        ("tables.bins[a].'x'", "'x'", "a column's name"),
        ("count(payment) over 7", "7", "a duration after 'over'"),
        ("count(payment) over 0d", "over 0d", "longer than zero"),
        ("count(payment) over last 0", "0", "above zero"),
        ("count(payment) over last 1.5", "1.5", "a whole number"),
        ("count(payment) over last 99999999999", "99999999999", "at most"),
        ("count(payment) including that", "that", "'this' after 'including'"),
        ("count(payment) since flags", "flags", "'flag' after 'since'"),
        ("count(payment) matching 'a'", "'a'", "the matched field"),
        ("count(payment where)", ")", "expected a value"),
        ("99999999999999999999d", "99999999999999999999d", "too long"),
        ("7dd", "dd", "expected an operator"),
        ("else", "else", "expected a value"),
        ("", "", "expected a value, found the end"),
    ],
)
def test_a_mistake_is_shown_at_its_place(text, fault, words):
    if text == "a.5":  # a number follows: the dot is where a name was wanted
        assert refused(text).start == 2
        return
    error = refused(text)

    assert text[error.start : error.end] == fault
    assert words in f"{error.message} {error.hint}"


def test_an_expression_has_at_most_2000_characters():
    longest = "a" * LENGTH_MAX

    assert shape(parse(longest)) == longest
    assert "2001 characters; at most 2000" in refused(longest + "a").message


def test_an_expression_has_at_most_40_levels_of_brackets():
    assert shape(parse("(" * DEPTH_MAX + "a" + ")" * DEPTH_MAX)) == "a"
    assert "more than 40 levels" in refused("(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1)).message


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("f(", ")"), ("-", ""), ("not ", ""), ("tables.t[", "].c"), ("a in [", "]"), ("1 + (", ")")],
)
def test_an_expression_has_at_most_40_levels_of_any_kind(opening, closing):
    assert parse(opening * DEPTH_MAX + "a" + closing * DEPTH_MAX)
    assert "more than 40 levels" in refused(opening * (DEPTH_MAX + 1) + "a" + closing * (DEPTH_MAX + 1)).message


@pytest.mark.parametrize("operator", ["+", "*", "and", "or", "else", "when"])
def test_an_expression_has_at_most_40_operators_one_inside_the_other(operator):
    chain = f" {operator} ".join("a" * (DEPTH_MAX + 1))

    assert parse(chain)
    assert "more than 40 levels" in refused(f"{chain} {operator} a").message


def test_levels_of_brackets_and_of_operators_cannot_be_multiplied():
    # 20 signs and brackets around chains of 39 operators: 800 levels in 2,000 characters,
    # more than Python's own stack would bear when the tree is read.
    text = "a"
    for _ in range(20):
        text = f"-({text}{'+a' * 39})"

    assert "more than 40 levels" in refused(text).message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1_000_000,
        "[" * 1_000_000,
        "9" * 1_000_000,
        "'" * 1_000_001,
        "a." * 500_000,
        "not " * 250_000,
        "(" * LENGTH_MAX,
        "-" * LENGTH_MAX,
        "f(" * (LENGTH_MAX // 2),
        "'" * (LENGTH_MAX - 1),
        "''" * (LENGTH_MAX // 2) + "'",
        "1d" * (LENGTH_MAX // 2 - 1) + "_",
        "9" * (LENGTH_MAX - 1) + "d",
        "a " * (LENGTH_MAX // 2),
        "1." * (LENGTH_MAX // 2),
    ],
    ids=lambda text: f"{text[:4]}x{len(text)}",
)
def test_hostile_text_is_refused_at_once(text):
    assert quickest_s(lambda: refused(text)) < REFUSED_WITHIN_S
    assert len(str(refused(text))) < 3 * LENGTH_MAX


@pytest.mark.parametrize(
    ("text", "start"),
    [("a == ٣", 5), ("a\u200bb", 1), ("a == “x”", 5), ("\ufeffa", 0), ("a\0", 1), ("\ud800", 0), ("🙂", 0)],
)
def test_signs_and_digits_of_other_scripts_have_no_meaning(text, start):
    error = refused(text)

    assert (error.start, error.end) == (start, start + 1)
    assert "no meaning" in error.message


def test_a_name_may_be_of_any_script_and_places_count_characters():
    assert shape(parse("größe + 'ü'")) == "(größe + 'ü')"
    assert refused("'🙂🙂' + ;").start == 7


def test_tokens_have_their_kind_and_place():
    found = [(token.kind, token.text, token.start, token.end) for token in tokens("a.b>=7d")]

    assert found == [
        ("name", "a", 0, 1),
        ("sign", ".", 1, 2),
        ("name", "b", 2, 3),
        ("sign", ">=", 3, 5),
        ("duration", "7d", 5, 7),
        ("end", "", 7, 7),
    ]
