"""Two texts held against each other: nothing is left out, and no text of anybody takes long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.web.pages.rules import diffs
from shroff.web.pages.rules.diffs import diff

LINES = st.lists(st.text("ab ", max_size=6), max_size=12)


def lines_of(found: list[diffs.DiffLine], *kinds: str) -> list[str]:
    return ["".join(text for text, _ in item.parts) for item in found if item.kind in kinds]


@pytest.mark.parametrize("pairs_max", [0, 5, diffs.PAIRS_MAX])
def test_what_is_gone_new_and_the_same_makes_both_texts(pairs_max: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diffs, "AROUND", 100)
    monkeypatch.setattr(diffs, "PAIRS_MAX", pairs_max)

    @given(LINES, LINES)
    def holds(old: list[str], new: list[str]) -> None:
        found = diff("\n".join([*old, "."]), "\n".join([*new, "."]))
        if old == new:
            assert found == []
        else:
            assert lines_of(found, "gone", "same") == [*old, "."]
            assert lines_of(found, "new", "same") == [*new, "."]

    holds()


def test_one_changed_line_between_many_equal_ones_is_found():
    before = "a\n" * 5_000 + "b\n" + "a\n" * 5_000

    found = diff(before, before.replace("b", "c"))

    assert [item.kind for item in found] == ["skip", "same", "same", "gone", "new", "same", "same"]


def test_texts_that_are_too_much_alike_are_all_gone_and_all_new():
    found = diff("x\n" + "a\n" * 250 + "y\n", "y\n" + "a\n" * 250 + "x\n")

    assert {item.kind for item in found} == {"gone", "new"}
    assert len(found) == 504


@pytest.mark.parametrize("before", ["", "b\n" * 1_000, "".join(f"b-{number}\n" for number in range(5_000))])
def test_of_very_many_lines_the_first_are_shown_and_the_others_counted(before: str):
    after = "".join(f"a-{number}\n" for number in range(20_000))
    *found, last = diff(before, after)

    shown = [line for line in found if line.kind != "skip"]
    assert len(shown) <= 2 * diffs.LINES_MAX
    left = before.count("\n") + after.count("\n") - len(shown)
    assert (last.kind, last.parts) == ("more", [(f"and {left:,} more lines", False)])


def test_lines_of_many_equal_words_are_all_gone_and_all_new():
    before, after = ("[" + ", ".join(f"{letter}{number}" for number in range(2_000)) + "]" for letter in "ab")

    gone, new = diff(before, after)

    assert [gone.parts[0][0], new.parts[0][0]] == ["[", "["]
    assert [len(gone.parts), len(new.parts)] == [3, 3]
