"""Phone numbers are personal texts, whatever their column is called and however they are written."""

from __future__ import annotations

import pytest

from tests.public_cases import planned
from tests.support.beside import SHARED

FOLDER = SHARED / "files" / "35-phone-numbers"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.csv")), ids=lambda path: path.stem)
def test_a_phone_is_a_text(tmp_path, file):
    plans, _ = planned(file.read_text(), tmp_path)

    assert plans["phone"].type == "text? personal"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("msisdn", "+4915112345{:03}"),
        ("contact", "+91 98765 43{:03}"),
        ("tel", "0049151{:05}"),
        ("mobile", "+1-555-0{:03}-222"),
        ("customer_phone", "4915112345{:03}"),
        ("caller", "+44201234{:03}"),
    ],
)
def test_phones_of_other_names_and_forms(tmp_path, name, form):
    rows = [f"p{n},2026-03-01T10:00:{n:02}Z,{form.format(n)},{n}.50" for n in range(1, 13)]
    plans, _ = planned("\n".join([f"id,at,{name},amount", *rows]), tmp_path)

    assert plans[name].type == "text? personal"
