"""Shapes of the API that a Python type describes too: both have the same fields, in the same order."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from shroff.engine import decision
from shroff.web.http import schemas

BESIDE = {  # what only an answer over HTTP has
    "Decision": ["experiments", "answered", "explanation"],
    "Reason": ["contribution", "inputs"],
}


@pytest.mark.parametrize(
    ("shape", "type_"),
    [
        (schemas.Decision, decision.DrawnConvertedDecision),
        (schemas.Reason, decision.Reason),
        (schemas.Drawn, decision.Exploration),
        (schemas.Undecided, decision.Undecided),
    ],
)
def test_a_shape_has_the_fields_of_its_type(shape: Any, type_: Any):
    beside = BESIDE.get(shape.__name__, [])

    assert list(shape.__annotations__) == [field.name for field in fields(type_)] + beside
