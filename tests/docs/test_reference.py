"""The reference: made pages are fresh, nothing of the language lacks its place, values are as shown."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import fields
from importlib import resources

import pytest

from docs import made_errors
from docs.made import made_pages, value_of
from docs.made_files import EXAMPLES, INSIDE, REFERENCE, page_of, prose, tables_of
from shroff import Decision, Project, Reason
from shroff.cli.failures import KINDS
from shroff.language import parser
from shroff.language.aggregates import AGGREGATES
from shroff.language.functions import FUNCTIONS
from shroff.language.parser import DEPTH_MAX, LAST_MAX, LENGTH_MAX
from shroff.language.types import NAMES, PLACES_MAX
from shroff.operations.manifest import commands as all_commands
from shroff.project.definitions import Versions, load_definitions
from shroff.project.policy import OUTCOMES
from shroff.project.schema import project_files
from shroff.rules.keys import EFFECTS
from tests.docs.pages import ROOT
from tests.support import forks

LANGUAGE = (REFERENCE / "language.md").read_text(encoding="utf-8")
GRAMMAR = (REFERENCE / "grammar.md").read_text(encoding="utf-8")


def values_shown() -> list[tuple[str, str]]:
    """The lines of `values` blocks: an expression and what the page says it is."""
    lines = [
        line
        for block in re.findall(r"^```values\n(.*?)^```$", LANGUAGE, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    return [(text.strip(), value.strip()) for text, value in (re.split(r"\s{2,}is ", line) for line in lines)]


def test_the_made_pages_are_fresh(monkeypatch):
    for module, name, value in forks.IMPATIENT:
        monkeypatch.setattr(module, name, value)
    stale = [page.name for page, text in made_pages().items() if page.read_text(encoding="utf-8") != text]

    assert stale == [], "run `make docs`"


def test_arguments_that_a_call_leaves_to_its_command_have_the_help_of_that():
    def drift(event: str | None, *, recent: str, as_of: str, reading: object) -> None:
        """Measure drift.

        Args: as `shroff drift` has them, and
            as_of: Of this call.

        Raises: UsageError.
        """

    assert prose(drift).splitlines() == [
        "Measure drift.",
        "",
        "- `event`: Event type, if several have a model, active or in model.yaml.",
        "- `recent`: The length of the recent period.",
        "- `as_of`: Of this call.",
        "",
        "Raises: UsageError.",
    ]


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


@pytest.mark.parametrize(("page", "names"), [("functions.md", FUNCTIONS), ("aggregates.md", AGGREGATES)])
def test_every_function_and_aggregate_has_its_row(page, names):
    rows = re.findall(r"^\| `(\w+)\(", (REFERENCE / page).read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(rows) == sorted(names)


@pytest.mark.parametrize("name", all_commands())
def test_every_command_stands_in_the_reference(name):
    assert f"\n## {name}\n" in (REFERENCE / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("limit", [LENGTH_MAX, DEPTH_MAX, PLACES_MAX, LAST_MAX])
def test_the_limits_stand_in_the_grammar(limit):
    assert f"| {limit:,} |" in GRAMMAR


def test_every_decision_is_linked_from_its_index():
    index = (ROOT / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    pages = sorted(page.name for page in (ROOT / "docs" / "decisions").glob("0*.md"))

    assert [name for name in pages if name not in index] == []


# ---- files, errors, decisions, tables of the log


def test_the_examples_of_the_file_pages_make_a_project():
    files = {file.place.replace("*", "example"): EXAMPLES[file.kind] for file in project_files()}

    assert load_definitions(files).problems == []


@pytest.mark.parametrize("file", project_files(), ids=lambda file: file.kind)
def test_every_key_of_a_file_has_its_row(file):
    text = (REFERENCE / page_of(file)).read_text(encoding="utf-8")
    keys = {key.name for _, table in tables_of(file.shape, "") for key in table.keys}

    assert keys == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize("name", [*(field.name for field in fields(Decision)), *OUTCOMES, *EFFECTS])
def test_what_a_decision_can_hold_stands_on_its_page(name):
    assert f"`{name}`" in page("reference/decision.md")


@pytest.mark.parametrize("name", [*(field.name for field in fields(Reason)), *Versions.__struct_fields__])
def test_the_parts_of_a_decision_stand_on_its_page(name):
    assert f"`{name}`" in page("reference/decision.md")


def test_every_table_of_the_log_stands_on_the_page_about_sql():
    sql = resources.files("shroff.adapters").joinpath("log_sqlite.sql").read_text(encoding="utf-8")
    made = re.findall(r"^CREATE TABLE (\w+)", sql, re.MULTILINE)

    assert len(made) > 8
    assert sorted(made) == sorted(re.findall(r"^\| `(\w+)` \|", page("howto/read-the-log-with-sql.md"), re.MULTILINE))


def test_every_schema_stands_on_the_page_about_editors():
    text = page("reference/schema.md")

    assert [
        file.kind for file in project_files() if text.count(f"{file.schema_file}") < 3 or file.place not in text
    ] == []


@pytest.mark.slow
def test_every_kind_of_error_of_commands_and_service_has_its_meaning_and_cure():
    of_service = made_errors.raised()

    assert set(made_errors.COMMANDS) == {"internal-error", *(type_ for _, type_, _, _ in KINDS)}
    assert {*made_errors.EVENTS, *made_errors.REQUESTS, *made_errors.OBJECTS} == set(of_service)
    for kind in made_errors.COMMANDS.keys() | of_service:
        assert f"| `{kind}` |" in (REFERENCE / "errors.md").read_text(encoding="utf-8")


def test_a_kind_of_problem_that_the_source_does_not_write_out_is_refused():
    call = ast.parse("ProblemError(404, name, 'Not found', 'words')", mode="eval").body
    ((kind, status),) = made_errors._problem(call)

    assert made_errors._number(status) == 404
    with pytest.raises(TypeError, match="name: write its text there"):
        made_errors._texts(kind)


@pytest.mark.parametrize("name", ["features", "decide", "labels", *sorted(INSIDE)])
def test_a_call_of_a_project_is_described_unless_commands_alone_need_it(name):
    assert hasattr(Project, name)
    assert (f"\n### {name}\n" in (REFERENCE / "python.md").read_text(encoding="utf-8")) == (name not in INSIDE)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_adapter_stands_in_the_table_of_adapters():
    page = (REFERENCE / "adapters.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert set(re.findall(r"\| `([a-z]+\.[a-z0-9_]+)` \|", page)) == set(project["entry-points"]["shroff.adapters"])
    named = set(re.findall(r"`shroff\[([a-z]+)\]`", page))
    assert named <= set(project["optional-dependencies"])
