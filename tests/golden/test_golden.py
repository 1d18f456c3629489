"""What programs and people rely on is as the golden files say; `python -m tests.golden --write` renews them."""

from __future__ import annotations

import pytest

from tests.golden.answers import scenario, with_examples
from tests.golden.surfaces import SURFACES, compared, difference, leaves

#  Their answers do not end, or need a cluster.
LASTING = {("demo",), ("run",), ("serve",), ("summaries", "run"), ("jobs", "work")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SURFACES)
def test_what_others_rely_on_is_as_the_golden_file_says(name, tmp_path):
    assert (text := difference(name, tmp_path)) == "", text


def test_every_command_that_ends_by_itself_is_in_the_scenario():
    used = {words for words in leaves() for step in scenario() if step[: len(words)] == words}

    assert leaves() - used == LASTING


def test_an_operation_that_no_line_names_is_run_by_its_first_example():
    left_out = [step for step in scenario() if step[:2] != ("lists", "show")]

    assert with_examples(left_out) == [*left_out, ("lists", "show", "blocked_cards")]


def test_a_renamed_field_a_lost_one_and_another_value_are_seen():
    golden = "$ shroff x: exit 0\n  a = 1\n  b = <str>\n"

    assert compared("x", golden, '$ shroff x: exit 0\n  a = 1\n  b = "any"\n') == ""
    assert "+  c = 1" in compared("x", golden, '$ shroff x: exit 0\n  c = 1\n  b = "any"\n')
    assert "-  b = <str>" in compared("x", golden, "$ shroff x: exit 0\n  a = 1\n")
    assert "+  b = <int>" in compared("x", golden, "$ shroff x: exit 0\n  a = 1\n  b = 7\n")
    assert "+$ shroff x: exit 1" in compared("x", golden, '$ shroff x: exit 1\n  a = 1\n  b = "any"\n')
