"""The pages say what they mean in the field's own terms, in sentences that are read once (see `wording`)."""

from __future__ import annotations

import tomllib

import pytest

from tests.docs.wording import ROOT, WORDS_MEAN_MAX, hits, pages_checked, sentence_lengths, words_mean

ALLOWED = tomllib.loads((ROOT / "tests/docs/wording.toml").read_text())["phrases"]
PAGES = pages_checked()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_no_phrase_of_the_list_and_short_sentences(page):
    name, text = page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    found = hits(text)

    allowed = ALLOWED.get(name, 0)
    assert len(found) <= allowed, "\n".join(f"{name}:{one.line}: {one.phrase!r}: {one.instead}" for one in found)
    assert len(found) == allowed, f"{name} has {len(found)} now: python -m tests.docs.wording --record"
    assert words_mean(text) <= WORDS_MEAN_MAX


def test_the_list_names_pages_that_are_there():
    assert ALLOWED.keys() <= {page.relative_to(ROOT).as_posix() for page in PAGES}


def test_phrases_are_found_in_prose_and_nowhere_else():
    text = "Ask whoever has it.\n\n```sh\nwhoever\n```\nThe command `whoever` and [whoever](x.md).\n"

    assert [(one.line, one.phrase) for one in hits(text)] == [(1, "whoever"), (6, "whoever")]


def test_sentences_end_at_points_paragraphs_and_cells():
    text = "One two three four. Five six seven eight nine.\n\n- ten eleven twelve thirteen\n\n| a b c d | e f g h i |\n"

    assert sentence_lengths(text) == [4, 5, 4, 4, 5]
    assert words_mean(text) == 4.4
