"""The pages say what they mean in the field's own terms, in sentences that are read once (see `wording`)."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from tests.architecture.sources import all_modules
from tests.docs.wording import (
    ROOT,
    WORDS_MEAN_MAX,
    hits,
    hits_in_texts,
    in_texts,
    pages_checked,
    sentence_lengths,
    words_mean,
)

ALLOWANCE = tomllib.loads((ROOT / "tests/docs/wording.toml").read_text())
ALLOWED = ALLOWANCE["phrases"]
PAGES = pages_checked()
DOCSTRINGS_MAX = 145  # phrases in them that name nobody
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_no_phrase_of_the_list_and_short_sentences(page):
    name, text = page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    found = hits(text)

    allowed = ALLOWED.get(name, 0)
    assert len(found) <= allowed, "\n".join(f"{name}:{item.line}: {item.phrase!r}: {item.instead}" for item in found)
    assert len(found) == allowed, f"{name} has {len(found)} now: python -m tests.docs.wording --record"
    assert words_mean(text) <= WORDS_MEAN_MAX


def test_the_list_names_pages_that_are_there():
    assert ALLOWED.keys() <= {page.relative_to(ROOT).as_posix() for page in PAGES}


def test_phrases_are_found_in_prose_and_nowhere_else():
    text = "Ask whoever has it.\n\n```sh\nwhoever\n```\nThe command `whoever` and [whoever](x.md).\n"

    assert [(hit.line, hit.phrase) for hit in hits(text)] == [(1, "whoever"), (6, "whoever")]


def test_sentences_end_at_points_paragraphs_and_cells():
    text = "One two three four. Five six seven eight nine.\n\n- ten eleven twelve thirteen\n\n| a b c d | e f g h i |\n"

    assert sentence_lengths(text) == [4, 5, 4, 4, 5]
    assert words_mean(text) == 4.4


@pytest.mark.slow
def test_messages_screens_and_mails_have_no_phrase_of_the_list():
    found, allowed = in_texts(), ALLOWANCE["texts"]

    more = [
        f"{name}:{line.line}: {line.phrase!r}: {line.instead}"
        for name, said in found.items()
        if len(said) > allowed.get(name, 0)
        for line in said
    ]
    assert not more, "\n".join(more)
    counts = {name: len(said) for name, said in found.items()}
    assert counts == allowed, "some have fewer now: python -m tests.docs.wording --record"


def test_docstrings_name_the_person_or_the_program_and_what_happens():
    """Fewer is always allowed: the number shrinks with the docstrings that are left."""
    pattern = re.compile(r"\bwho(so)?ever\b|\b(is|are|was|were|be) told\b", re.IGNORECASE)
    nodes = (node for module in all_modules() for node in module.nodes)
    said = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, DOCUMENTED)]

    assert sum(len(pattern.findall(text)) for text in said) <= DOCSTRINGS_MAX


def test_a_sentence_about_a_number_of_things_can_be_about_one():
    """`many(count, 'event is', 'events are')` can; bounds, and what others are a part of, are more."""
    pattern = re.compile(r"(?<!of )(?<!first )\{[a-z][^{}\n]*:,\} \w+s( that)? (are|were|have|that|say|name)\b")
    found = [f"{module.name}: {hit[0]}" for module in all_modules() for hit in pattern.finditer(module.text)]

    assert pattern.search("{events:,} events are left")
    assert not found


def test_texts_of_the_program_are_its_literals_without_docstrings_comments_and_code():
    code = '"""In force."""\n\nwords = f"it is in force, at place {seq}"  # in force\nin_force = "in_force"\n'
    page = '<p aria-label="in force">{{ in_force }} {% if x %}Mend it{% endif %}</p>\n'

    assert [(text.line, text.phrase) for text in hits_in_texts("a.py", code)] == [(3, "in force"), (3, "at place")]
    assert [text.phrase for text in hits_in_texts("a.html", page)] == ["in force", "Mend"]
