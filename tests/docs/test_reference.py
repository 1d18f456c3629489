"""The reference: made pages are fresh, nothing of the language lacks its place, values are as shown."""

from __future__ import annotations

import re

import pytest

from docs.made import REFERENCE, made_pages, value_of
from shroff.cli.main import COMMANDS, PLANNED
from shroff.language import parser
from shroff.language.aggregation import AGGREGATES
from shroff.language.functions import FUNCTIONS
from shroff.language.parser import DEPTH_MAX, LAST_MAX, LENGTH_MAX
from shroff.language.types import NAMES, PLACES_MAX
from tests.docs.pages import ROOT

LANGUAGE = (REFERENCE / "language.md").read_text(encoding="utf-8")
GRAMMAR = (REFERENCE / "grammar.md").read_text(encoding="utf-8")
MADE = made_pages()


def values_shown() -> list[tuple[str, str]]:
    """The lines of `values` blocks: an expression and what the page says it is."""
    lines = [
        line
        for block in re.findall(r"^```values\n(.*?)^```$", LANGUAGE, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    return [(text.strip(), value.strip()) for text, value in (re.split(r"\s{2,}is ", line) for line in lines)]


@pytest.mark.parametrize("page", MADE, ids=lambda page: page.name)
def test_a_made_page_is_what_the_program_gives(page):
    assert page.read_text(encoding="utf-8") == MADE[page], "stale: run `make docs`"


@pytest.mark.parametrize(("text", "value"), values_shown())
def test_an_expression_has_the_value_that_the_page_shows(text, value):
    shown = value_of(text)

    assert shown == value or (value[:1].isdigit() and _as_float(shown) == f"{float(value):.6g}")


def _as_float(shown: str) -> str:
    """What is shown of a real has six digits."""
    try:
        return f"{float(shown):.6g}"
    except ValueError:
        return shown


def test_the_page_shows_values():
    assert len(values_shown()) > 30


@pytest.mark.parametrize("word", sorted(parser._KEYWORDS))
def test_every_word_of_the_language_stands_in_its_reference(word):
    words = re.search(r"```words\n(.*?)```", GRAMMAR, re.DOTALL)

    assert words is not None
    assert word in words[1].split()
    assert f'"{word}"' in GRAMMAR.replace(words[0], "")


def test_every_sign_of_the_grammar_is_read_and_the_other_way_round():
    in_grammar = set(re.findall(r'"([^"\w\s]+)"', GRAMMAR)) - {"'", "''"}
    read = {sign for sign in in_grammar if [token.kind for token in parser.tokens(sign)] == ["sign", "end"]}

    assert read == in_grammar
    assert set("== != <= >= .. < > + - * / ( ) [ ] , .".split()) == in_grammar


@pytest.mark.parametrize("name", NAMES)
def test_every_type_stands_in_the_reference(name):
    assert f"| `{name}" in LANGUAGE


@pytest.mark.parametrize(
    ("page", "names"),
    [("functions.md", FUNCTIONS), ("aggregates.md", AGGREGATES)],
)
def test_every_function_and_aggregate_has_its_row(page, names):
    rows = re.findall(r"^\| `(\w+)\(", MADE[REFERENCE / page], re.MULTILINE)

    assert sorted(rows) == sorted(names)


@pytest.mark.parametrize("name", [*COMMANDS, *PLANNED])
def test_every_command_stands_in_the_reference(name):
    text = MADE[REFERENCE / "commands.md"]

    assert f"\n## {name}\n" in text if name in COMMANDS else f"| `shroff {name}` |" in text


@pytest.mark.parametrize("limit", [LENGTH_MAX, DEPTH_MAX, PLACES_MAX, LAST_MAX])
def test_the_limits_stand_in_the_grammar(limit):
    assert f"| {limit:,} |" in GRAMMAR


def test_every_decision_is_linked_from_its_index():
    index = (ROOT / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    pages = sorted(page.name for page in (ROOT / "docs" / "decisions").glob("0*.md"))

    assert [name for name in pages if name not in index] == []
