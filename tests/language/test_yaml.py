"""The strict YAML reader: all scalars are text, every place is known, and slips are shown mended."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.errors import Problem, UsageError
from shroff.language.yaml import nodes
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence, read, whole_text
from tests.support.effort import examples, quickest_s


def good(text: str) -> Node:
    problems: list[Problem] = []
    node = read(text, "f.yaml", problems)

    assert problems == []
    assert node is not None
    return node


def bad(text: str) -> list[Problem]:
    problems: list[Problem] = []
    read(text, "f.yaml", problems)
    return problems


def only(text: str) -> Problem:
    problems = bad(text)

    assert len(problems) == 1, problems
    return problems[0]


def at(node: Node | None, *keys: str | int) -> Node:
    for key in keys:
        if isinstance(key, str):
            assert isinstance(node, Mapping)
            node = node.get(key)
        else:
            assert isinstance(node, Sequence)
            node = node.items[key]
    assert node is not None
    return node


def scalar(node: Node | None, *keys: str | int) -> Scalar:
    found = at(node, *keys)
    assert isinstance(found, Scalar)
    return found


def plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.entries}
    return [plain(item) for item in node.items]


def fast(text: str) -> list[Problem]:
    started = time.thread_time()
    problems = bad(text)

    # A second machine may be five times slower than the one this takes a tenth of it on, by processor time.
    assert time.thread_time() - started < 5
    return problems


# What is read


def test_words_and_numbers_stay_text():
    node = good("a: no\nb: 1000.10\nc: 010\nd: null\ne: ~\nf: 2026-01-01T10:00:00Z\ng: true\nh: 0x1f\n")

    assert plain(node) == {
        "a": "no",
        "b": "1000.10",
        "c": "010",
        "d": "null",
        "e": "~",
        "f": "2026-01-01T10:00:00Z",
        "g": "true",
        "h": "0x1f",
    }


def test_what_the_language_writes_inside_braces_is_read():
    node = good(
        "- { user: u1, at: 2026-01-01T10:00:00Z, amount: 1000.00 }\n"
        "- { score: { review_at: 0.60 } }\n"
        "- { device: text?, keys: [device, card] }\n"
        "- { id: d, on: payment, by: card, when: this.points == 1, effect: decline }\n"
        "- json: { when: row.eventType == 'SAVING' }\n"
        '- { id: text, channel: "choice(pos, web, atm)" }\n'
        "- { name: o'brien's card, key: lower(card), face: 'a, b' }\n"
    )

    assert plain(node) == [
        {"user": "u1", "at": "2026-01-01T10:00:00Z", "amount": "1000.00"},
        {"score": {"review_at": "0.60"}},
        {"device": "text?", "keys": ["device", "card"]},
        {"id": "d", "on": "payment", "by": "card", "when": "this.points == 1", "effect": "decline"},
        {"json": {"when": "row.eventType == 'SAVING'"}},
        {"id": "text", "channel": "choice(pos, web, atm)"},
        {"name": "o'brien's card", "key": "lower(card)", "face": "a, b"},
    ]


def test_what_the_language_writes_in_lines_is_read():
    node = good(
        "channel: choice(pos, web, atm)\n"
        "when: count(label where label.verdict == 'fraud') over 7d\n"
        'reason: "{card.n} x"\n'
        "verdict: \"'fraud' when row.Fraud == '1' else 'genuine' when row.Fraud == '0'\"\n"
        "amount: money(replace(row['Amount'], '£', ''))\n"
    )

    assert plain(node) == {
        "channel": "choice(pos, web, atm)",
        "when": "count(label where label.verdict == 'fraud') over 7d",
        "reason": "{card.n} x",
        "verdict": "'fraud' when row.Fraud == '1' else 'genuine' when row.Fraud == '0'",
        "amount": "money(replace(row['Amount'], '£', ''))",
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_is_none_without_a_problem(text):
    problems: list[Problem] = []

    assert read(text, "f.yaml", problems) is None
    assert problems == []


def test_a_key_without_a_value_is_empty_text_after_its_colon():
    node = good("a:   # later\nb:\n  - \n  - x\n")

    empty = scalar(node, "a")
    assert (empty.text, empty.style, empty.line, empty.column, empty.comment) == ("", "plain", 1, 3, "# later")
    item = scalar(node, "b", 0)
    assert (item.text, item.line, item.column) == ("", 3, 4)


def test_paths_and_places_of_nodes_and_keys():
    node = good("payment:\n  fields: { amount: money }\nrules:\n  - id: a\n  - when: b\n")

    amount = scalar(node, "payment", "fields", "amount")
    assert (amount.path, amount.line, amount.column) == ("payment.fields.amount", 2, 21)
    assert scalar(node, "rules", 1, "when").path == "rules[1].when"
    fields = at(node, "payment", "fields")
    assert isinstance(fields, Mapping)
    assert (fields.line, fields.column, fields.keys()) == (2, 11, ("amount",))
    assert (fields.entries[0][0].path, fields.entries[0][0].column) == ("payment.fields.amount", 13)
    rules = at(node, "rules")
    assert (rules.line, rules.column, rules.path) == (4, 3, "rules")
    assert scalar(good("- when: x\n"), 0, "when").path == "[0].when"


def test_a_missing_key_gives_none():
    node = good("a: 1\n")

    assert isinstance(node, Mapping)
    assert node.get("b") is None


def test_line_ends_of_other_systems_and_a_byte_order_mark_move_no_place():
    node = good("\ufeffa: 1\r\nb: 2\r\nc: 3\rd: 4")

    assert plain(node) == {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert (scalar(node, "d").line, scalar(node, "d").column) == (4, 4)


# Places of characters


@pytest.mark.parametrize(
    "text, offset, place",
    [
        ("a: plain", 2, (1, 6)),
        ("a: plain", 5, (1, 9)),
        ("a: 'it''s x'", 5, (1, 11)),
        ('a: "x"', 0, (1, 5)),
        ('a: "x"', 1, (1, 6)),
        (r'a: "q\"\\z"', 3, (1, 10)),
        (r'a: "\x41\u0042\U00000043d"', 1, (1, 9)),
        (r'a: "\x41\u0042\U00000043d"', 3, (1, 25)),
        ("a: one\n  two\n\n  three", 4, (2, 3)),
        ("a: one\n  two\n\n  three", 8, (4, 3)),
        ('a: "one\n  two\\\n  three"', 7, (3, 3)),
        ("a: 'one  \n\n\n    two'", 5, (4, 5)),
        ('a: "one\\   \n\n  two"', 5, (3, 3)),
        ("a: |\n  one\n   two\n", 5, (3, 4)),
        ("a: |2-\n   one\n  two\n", 5, (3, 3)),
        ("a: >\n  one\n  two\n\n  three\n\n    four\n", 4, (3, 3)),
        ("a: >\n  one\n  two\n\n  three\n\n    four\n", 8, (5, 3)),
        ("a: >-\n  one\n  two", 7, (3, 6)),
    ],
)
def test_the_place_of_a_character(text, offset, place):
    assert scalar(good(text), "a").place(offset) == place


def test_a_problem_stands_at_its_character():
    value = scalar(good('a:\n  - "x == \\"y\\""\n'), "a", 0)

    assert value.problem("no", "yes", offset=6) == Problem("f.yaml", 2, 13, "a[0]", "no", "yes")


@st.composite
def written_scalars(draw):
    """A mapping whose one value is a scalar of any style, over several lines."""
    words = st.lists(st.text("ab'é", min_size=1, max_size=4).map(lambda word: "w" + word), min_size=1, max_size=3)
    lines = draw(st.lists(words.map(" ".join) | st.just(""), min_size=1, max_size=5).filter(lambda made: bool(made[0])))
    style = draw(st.sampled_from(["plain", "single", "double", "|", "|-", "|+", ">", ">-", ">+"]))
    if style == "plain":
        return "k: " + "\n   ".join(lines) + "\nz: end\n"
    if style in {"single", "double"}:
        quote = "'" if style == "single" else '"'
        return f"k: {quote}" + "  \n    ".join(lines).replace("'", "''" if quote == "'" else "'") + f"{quote}\n"
    deeper = draw(st.lists(st.sampled_from(["", " "]), min_size=len(lines), max_size=len(lines)))
    deeper[0] = ""
    written = [extra + line if line else "" for extra, line in zip(deeper, lines, strict=True)]
    return f"k: {style}\n  " + "\n  ".join(written) + "\nz: end\n"


@settings(max_examples=examples(150))
@given(written_scalars())
def test_each_character_is_found_at_its_place(text):
    value = scalar(good(text), "k")
    lines = text.split("\n")
    found = []
    for offset, letter in enumerate(value.text):
        line, column = value.place(offset)
        if letter not in " \n":
            found.append((letter, lines[line - 1][column - 1]))

    assert [written for _, written in found] == [letter for letter, _ in found]
    assert len(found) == sum(letter not in " \n" for letter in value.text)


# Comments


def test_a_comment_after_a_plain_value_is_kept_apart():
    node = good("a: x   # why\nb: 'y' # no\nc: [u, v] # no\nd: p#q\n")

    assert scalar(node, "a").comment == "# why"
    assert scalar(node, "b").comment is None
    assert scalar(node, "c", 1).comment is None
    assert (scalar(node, "d").text, scalar(node, "d").comment) == ("p#q", None)


@pytest.mark.parametrize(
    "line, mended",
    [
        ("this.country == 'no #1'", "\"this.country == 'no #1'\""),
        ("this.country == 'no  #1'   # home", "\"this.country == 'no  #1'\""),
        ("x in ['a', #b", "\"x in ['a', #b\""),
        ("x == '\"\\ #1'", '"x == \'\\"\\\\ #1\'"'),
    ],
)
def test_an_expression_cut_by_a_hash_is_shown_mended(line, mended):
    problems: list[Problem] = []

    assert not whole_text(scalar(good(f"f: {line}\n"), "f"), problems, what="expression")
    assert mended in problems[0].message
    assert (problems[0].line, problems[0].path) == (1, "f")


@pytest.mark.parametrize("line", ["count(payment) over 1h   # last hour", "this.c == 'DE' # home", "'a' # it's", "x"])
def test_a_comment_after_a_whole_expression_is_a_comment(line):
    problems: list[Problem] = []

    assert whole_text(scalar(good(f"f: {line}\n"), "f"), problems, what="expression")
    assert problems == []


@pytest.mark.parametrize("line, mended", [("Payment #1 of it", '"Payment #1 of it"'), ("#1 of it", '"#1 of it"')])
def test_a_reason_with_any_comment_is_refused(line, mended):
    problems: list[Problem] = []

    assert not whole_text(scalar(good(f"reason: {line}\n"), "reason"), problems, what="reason")
    assert mended in problems[0].message


def test_a_quoted_reason_may_hold_a_hash_and_be_followed_by_a_comment():
    assert whole_text(scalar(good('reason: "no #1" # x\n'), "reason"), [], what="reason")


@pytest.mark.parametrize(
    "line, what, mended",
    [
        ("{this.amount}", "reason", '"{this.amount}"'),
        ("[large] #1 of it", "reason", '"[large] #1 of it"'),
        ("[a, b]   # two", "expression", '"[a, b]"'),
    ],
)
def test_braces_where_text_is_expected_are_shown_in_quotes(line, what, mended):
    problems: list[Problem] = []

    assert not whole_text(at(good(f"k: {line}\n"), "k"), problems, what=what)
    assert mended in problems[0].message


def test_lines_where_text_is_expected_are_refused():
    problems: list[Problem] = []

    assert not whole_text(at(good("k:\n  a: b\n"), "k"), problems, what="expression")
    assert problems == [Problem("f.yaml", 2, 3, "k", "expected an expression, and to YAML this is a mapping")]


# What is refused


@pytest.mark.parametrize(
    "text, line, column, words",
    [
        ("card:\n  n: 1\n  m: 2\n  n: 3\n", 4, 3, "'n'"),
        ("card: 1\nm: 2\ncard: 3\n", 3, 1, "'card'"),
        ("a: { n: 1, n: 2 }\n", 1, 12, "'n'"),
        ("card: &all\n  n: 1\n", 1, 7, "&all"),
        ("card: 1\nmerchant: *all\n", 2, 11, "*all"),
        ("card:\n  n: !!str count(payment)\n", 2, 6, "!!str"),
        ("card:\n  n: !!str count(payment)\n", 2, 6, '"!!str count(payment)"'),
        ("a: !x\n  b: 1\n", 1, 4, "!x"),
        ("<<: { a: 1 }\n", 1, 1, "<<"),
        ("%YAML 1.1\n---\na: 1\n", 1, 1, "%"),
        ("# x\n%TAG ! x\n---\na: 1\n", 2, 1, "%"),
        ("a: 1\n---\nb: 2\n", 2, 1, "document"),
        ("? [a]\n: b\n", 1, 3, "key"),
        ("a: x\x00y\n", 1, 5, "U+0000"),
        ("a: 1\nb: x\x1by\n", 2, 5, "U+001B"),
        ("a: x\u2028y\n", 1, 5, "U+2028"),
        ('a: "x\\0y"\n', 1, 6, "U+0000"),
        ('a: "\\ud800"\n', 1, 7, "escape"),
        ('a: "\\U99999999"\n', 1, 7, "escape"),
        ('a: "\\d"\n', 1, 5, "backslash"),
        ("card:\n\tn: 1\n", 2, 1, "tab"),
        ("- id: a\n\ton: b\n", 2, 1, "tab"),
        ("a: b\n  \tc: d\n", 2, 3, "tab"),
        ("a:\tb\n", 1, 3, "tab"),
        ("a: 1 \t# x\n", 1, 6, "tab"),
        ("reason: a\tb\n", 1, 10, "tab"),
        ('a: "b"\t\n', 1, 7, "tab"),
        ("-\tid: x\n", 1, 2, "tab"),
        ("- a\n-\tb\n", 2, 2, "tab"),
        ("a: 1\n...\nb: 2\n", 3, 1, "a second one begins here"),
        ('a: "\\xzz"\n', 1, 7, "escape"),
        ("a:\n  - b\n c: d\n", 3, 2, "indentation"),
        ("a: 1\nb c\nd: e\n", 2, 1, "': '"),
        ("a: 'x' # y\n  z: 1\n", 2, 3, "indentation"),
        (" a: b\nc: d\n", 2, 1, "indentation"),
    ],
)
def test_what_is_refused_is_said_at_its_place(text, line, column, words):
    problem = only(text)

    assert (problem.file, problem.line, problem.column) == ("f.yaml", line, column)
    assert words in problem.message


def test_a_doubled_key_keeps_its_first_value():
    problems: list[Problem] = []
    node = read("a: 1\na: 2\n", "f.yaml", problems)

    assert node is not None
    assert plain(node) == {"a": "1"}
    assert len(problems) == 1


@pytest.mark.parametrize("text", ['a: "x\ty" # c\td\n', "a: |\n  x\ty # \tz\nb: 1\n", "a: 1 # t\tu\n#\tx\nb: 'c\td'\n"])
def test_a_tab_in_a_quoted_text_a_block_or_a_comment_is_text(text):
    problems: list[Problem] = []

    assert read(text, "f.yaml", problems) is not None
    assert problems == []


def test_keys_that_are_aliases_are_refused_each_by_its_name():
    problems: list[Problem] = []
    read("*a : b\n*b : c\n", "f.yaml", problems)

    assert [problem.message.partition(";")[0] for problem in problems] == [
        "aliases are refused: *a",
        "aliases are refused: *b",
    ]


def test_a_parser_without_libyaml_is_refused_with_the_cure(monkeypatch):
    monkeypatch.setattr("yaml.__with_libyaml__", False)

    with pytest.raises(UsageError, match="--only-binary pyyaml"):
        read("a: b\n", "f.yaml", [])


def test_tabs_are_said_once_with_how_many_lines_have_them():
    problem = only("a:\n\tb: 1\n\tc: 2\n")

    assert (problem.line, problem.hint) == (2, "2 lines of this file begin with a tab.")


# Slips of plain YAML


@pytest.mark.parametrize(
    "text, line, mended",
    [
        (
            "card:\n  size: 'large' when this.amount >= 100 else 'small'\n",
            2,
            "\"'large' when this.amount >= 100 else 'small'\"",
        ),
        ("- id: a\n  reason: [large] {this.amount} at once\n  x: y\n", 2, '"[large] {this.amount} at once"'),
        ("- id: a\n  reason: {this.amount} at once\n  x: y\n", 2, '"{this.amount} at once"'),
        ("- id: a\n  reason: {part(a, '-', 1)} and {b}\n  x: y\n", 2, "\"{part(a, '-', 1)} and {b}\""),
        ("- id: a\n  reason: Large: {this.amount}\n  x: y\n", 2, '"Large: {this.amount}"'),
        ("- id: a\n  reason: Large:\n  x: y\n", 2, '"Large:"'),
        ("- reason: [a] b #1 of the day\n", 1, '"[a] b #1 of the day"'),
        ("a: 'x' when y   # a comment\nb: c\n", 1, "\"'x' when y\""),
        ("- hour(a)\n- 'x' when y\n", 2, "\"'x' when y\""),
        ('a: "x" or \\y\n', 1, '"\\"x\\" or \\\\y"'),
        ("a: 'x' when y\n  and z\nb: c\n", 1, "\"'x' when y and z\""),
        ("a: 'x\nb: y\n", 1, '"\'x"'),
        ("a: 'x\nb: this.c == 'y'\n", 1, '"\'x"'),
        ("a: [x\nb: y\n", 1, '"[x"'),
        ("a: > 5\n", 1, '"> 5"'),
        ("a: >5 x\n", 1, '">5 x"'),
        ("a: | x\n", 1, '"| x"'),
        ("a: !wow great\n", 1, '"!wow great"'),
        ("a: !x!y z\n", 1, '"!x!y z"'),
        ("a: * x\n", 1, '"* x"'),
        ("a: *b* x\n", 1, '"*b* x"'),
        ("a: *b\n", 1, '"*b"'),
        ("a: & x\n", 1, '"& x"'),
        ("a: &b x\n", 1, '"&b x"'),
        ("a: %x\n", 1, '"%x"'),
        ("a: @x\n", 1, '"@x"'),
        ("a: `x`\n", 1, '"`x`"'),
        ("a: - x\n", 1, '"- x"'),
        ("a: ? x\n", 1, '"? x"'),
        (
            "entities:\n  both: { payment: join(payment.card, ':', payment.device) }\n",
            2,
            "\"join(payment.card, ':', payment.device)\"",
        ),
        ("a: [device, part(a, '-', 1)]\n", 1, "\"part(a, '-', 1)\""),
        ("a: { b: part(x, '-', 1),\n     c: d }\n", 1, "\"part(x, '-', 1)\""),
        ("a: { c: d,\n     b: part(x, '-', 1) }\n", 2, "\"part(x, '-', 1)\""),
        ("a: {part(x, '-', 1)}\n", 1, "\"{part(x, '-', 1)}\""),
        ("- { when: this.a in ['x', 'y'], on: b }\n", 1, "\"this.a in ['x', 'y']\""),
        ("- { when: 'x' == this.a, on: b }\n", 1, "\"'x' == this.a\""),
        ("- { when: this.a == 'x, y', on: b }\n", 1, "\"this.a == 'x, y'\""),
        ("- { when: this.a == 'x #1', on: b }\n", 1, "\"this.a == 'x #1'\""),
        ("- { reason: Large: {this.a} now, on: b }\n", 1, '"Large: {this.a} now"'),
        ("- { a: { b: @x }, c: [d, 'e' or f] }\n", 1, '"@x"'),
    ],
)
def test_a_slip_is_shown_mended_at_its_line(text, line, mended):
    problem = bad(text)[0]

    assert problem.line == line
    assert mended in problem.message


def test_after_a_slip_the_file_is_read_on_as_mended():
    problems: list[Problem] = []
    node = read("a: 'x' when y\nb: @c\nd: { e: f(g, h), i: 'j' k }\nl: 1\nl: 2\n", "f.yaml", problems)

    assert node is not None
    assert plain(node) == {"a": "'x' when y", "b": "@c", "d": {"e": "f(g, h)", "i": "'j' k"}, "l": "1"}
    assert [(problem.line, problem.column, problem.path) for problem in problems] == [
        (1, 4, "a"),
        (2, 4, "b"),
        (3, 9, "d.e"),
        (3, 21, "d.i"),
        (5, 1, "l"),
    ]


def test_places_after_and_inside_a_mended_value_are_those_of_the_file():
    problems: list[Problem] = []
    node = read('- { a: f("x", 1), b: there }\n', "f.yaml", problems)

    assert len(problems) == 1
    assert scalar(node, 0, "a").text == 'f("x", 1)'
    assert scalar(node, 0, "a").place(7) == (1, 15)
    assert scalar(node, 0, "b").place(0) == (1, 22)


def test_a_slip_does_not_hide_a_file_that_cannot_be_read_further():
    problems = bad("a: 'x' when y\nb:\n  - c\n d: e\n")

    assert [(problem.line, problem.column) for problem in problems] == [(1, 4), (4, 2)]


# Hostile files


def test_a_file_of_a_thousand_lines_is_read_in_well_under_a_second():
    rule = "- id: r\n  when: count(payment) over 7d > 3  # c\n  tests:\n    - payment: { card: a, amount: 1.00 }\n"

    assert quickest_s(lambda: good(rule * 250)) < 1


def test_the_places_of_a_long_run_of_spaces_cost_its_length():
    value = scalar(good(f"a: '{'b' + ' ' * 30_000 + 'c'}'\n"), "a")

    def find() -> None:
        nodes._places_of.cache_clear()
        value.place(30_001)

    assert quickest_s(find) < 1
    assert value.place(30_001) == (1, 30_006)


def test_a_file_above_two_megabytes_is_refused_unread():
    problem = fast("a: " + "x" * 3_000_000)[0]

    assert "3000003 bytes" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000,
        "a: " + "{b: " * 10_000,
        "- " * 10_000,
        "[\n" * 10_000,
        "".join(" " * n + "a:\n" for n in range(99)),
    ],
)
def test_deep_nesting_is_refused(text):
    problems = fast(text)

    assert len(problems) == 1
    assert "40 levels" in problems[0].message


def test_forty_levels_are_read():
    assert good("[" * 40 + "]" * 40)
    assert "40 levels" in only("[" * 41 + "]" * 41).message


def test_many_anchors_end_after_a_hundred_problems():
    problems = fast("".join(f"k{n}: &a{n} v\n" for n in range(50_000)))

    assert len(problems) == 100
    assert "anchors are refused: &a0" in problems[0].message


def test_a_billion_laughs_are_not_laughed():
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    problems = fast("\n".join(lines))

    assert len(problems) == 100
    assert {problem.message.split(":")[0] for problem in problems} == {"anchors are refused", "aliases are refused"}


@pytest.mark.parametrize(
    "text",
    [
        "a:\n" + "#" * 50_000 + "\n" + "  - b\n",
        "a:\n  - b\n" + "#" * 50_000 + "\n" + "  c\n",
        "\t" * 100_000,
        "a: " + "'" * 50_001,
        "{" + 'a: "' * 10_000,
        "[" + "(" * 100_000 + "]",
        "[" + "'" * 20_001 + "]",
        "{ " + "a: f(b, c), " * 5_000 + "}",
        "a: [x\n" * 3_000,
        "a: @x\n" * 3_000,
        " " * 500_000 + ":",
        "\n".join(f"k{n}: 'x' y" for n in range(2_000)),
        "? " * 5_000,
        "&a " * 5_000,
        "!a " * 5_000,
    ],
)
def test_a_file_made_to_be_slow_is_answered(text):
    assert len(fast(text)) <= 100


@settings(max_examples=examples(300))
@given(st.text(alphabet="ab:-,[]{}'\"#&*!|>%@?(). \n\t\\1", max_size=60))
def test_any_text_gives_a_node_or_problems_with_places(text):
    problems: list[Problem] = []
    node = read(text, "f.yaml", problems)

    lines = text.split("\n")
    assert node is not None or problems or not any(line.partition("#")[0].strip(" \t-.") for line in lines)
    for problem in problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1


def test_importing_the_reader_does_not_import_the_yaml_library():
    code = "import sys, shroff.language.yaml.text; sys.exit('yaml' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
