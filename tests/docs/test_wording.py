"""Sentences are read once: the pages keep them short, and a count agrees with its noun (see `wording`)."""

from __future__ import annotations

import re

import pytest

from tests.architecture.sources import all_modules
from tests.docs.wording import ROOT, WORDS_MEAN_MAX, pages_checked, sentence_lengths, words_mean


@pytest.mark.parametrize("page", pages_checked(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_short_sentences(page):
    assert words_mean(page.read_text(encoding="utf-8")) <= WORDS_MEAN_MAX


def test_sentences_end_at_points_paragraphs_and_cells():
    text = "One two three four. Five six seven eight nine.\n\n- ten eleven twelve thirteen\n\n| a b c d | e f g h i |\n"

    assert sentence_lengths(text) == [4, 5, 4, 4, 5]
    assert words_mean(text) == 4.4


def test_code_addresses_and_tags_are_no_words_of_a_sentence():
    text = "Ask `a b c d` now, or <b>see</b> [that page](a/b.md).\n\n```sh\none two three four\n```\n"

    assert sentence_lengths(text) == [7]


def test_a_sentence_about_a_number_of_things_can_be_about_one():
    """`many(count, 'event is', 'events are')` can; bounds, and what others are a part of, are more."""
    pattern = re.compile(r"(?<!of )(?<!first )\{[a-z][^{}\n]*:,\} \w+s( that)? (are|were|have|that|say|name)\b")
    found = [f"{module.name}: {hit[0]}" for module in all_modules() for hit in pattern.finditer(module.text)]

    assert pattern.search("{events:,} events are left")
    assert not found
