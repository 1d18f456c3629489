"""Numbers in digits of other scripts are numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shroff.language.values import with_point
from tests.public_cases import mapping_of, proposed
from tests.support.beside import beside


def test_amounts_in_arabic_digits_are_money(tmp_path):
    project, _ = proposed(beside("files", "49-arabic-digits", "orders.csv"), tmp_path / "p")

    assert "amount: money" in mapping_of(project)
    assert project.events("payment")["amount"].to_pylist()[1] == Decimal("11.25")


@pytest.mark.parametrize(
    ("text", "mark", "value"),
    [
        ("١٬٢٣٤٫٥٠", ".", "1234.50"),
        ("۱۲۳٫۵", ",", "123.5"),
        ("１，２３４．５０", ".", "1234.50"),
        ("(१२.५)", ".", "-12.5"),
        ("\u200f-١٢", ".", "-12"),
        ("\u221212.50", ".", "-12.50"),
    ],
)
def test_digits_and_marks_of_other_scripts(text, mark, value):
    assert with_point(text, mark) == value


@pytest.mark.parametrize("text", ["١٢٫٥٫٠", "½", "二", "1٬23"])
def test_what_is_no_decimal_is_refused_as_it_was_written(text):
    with pytest.raises(ValueError, match=text):
        with_point(text, ".")
