"""The guide's own inputs of a model are expressions; texts in double quotes are refused with the cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from shroff.language.parser import ExpressionError, parse
from tests.support.beside import beside

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "bring-a-model.md"


def test_the_inputs_of_the_page_are_expressions():
    (block,) = re.findall(r"```yaml\n(amt: .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    inputs = yaml.safe_load(block)

    assert {"amt", "is_web"} <= inputs.keys()
    for value in inputs.values():
        parse(value["input"] if isinstance(value, dict) else value)


def test_the_file_of_the_case_is_refused_with_the_cure():
    inputs = yaml.safe_load(beside("files", "46-example-of-one-hot", "inputs.yaml").read_text())
    with pytest.raises(ExpressionError, match="single quotes"):
        parse(inputs["is_web"])


@pytest.mark.parametrize(
    "text", ['payment.channel != "web"', '"web" == payment.channel', 'payment.kind in ["a"]', 'upper("x")']
)
def test_double_quotes_anywhere(text):
    with pytest.raises(ExpressionError, match="single quotes"):
        parse(text)
