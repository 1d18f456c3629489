"""The how-to *Begin with a file* has a cure for each question that a proposal asks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from shroff.services.proposals import amounts, project_text
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/howto/begin-with-a-file.md").read_text(encoding="utf-8")
MESSAGES = PAGE.partition("## Messages and what to do")[2]


def told() -> list[list[str]]:
    """The words of each message in the table, between its values."""
    first_cells = [line.split(" | ")[0] for line in MESSAGES.splitlines() if line.startswith("| `")]
    texts = chain.from_iterable(re.findall("`([^`]+)`", cell) for cell in first_cells)
    parts = (re.split(r"\.\.\.|\d+(?:\.\d+)?\??", text) for text in texts)
    return [[part.strip() for part in message if part.strip()] for message in parts]


def asked() -> Iterator[str]:
    """The words of each question, with a blank for each value: reasons, and guesses that have other units."""
    for module, names in ((project_text, {"reason"}), (amounts, {"guess"})):
        assert module.__file__ is not None
        tree: ast.AST = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        if module is project_text:
            tree = next(node for node in ast.walk(tree) if getattr(node, "name", "") == "_questions")
        for block in (node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)):
            plain = [node for node in block if isinstance(node, ast.Assign)]
            named = {ast.unparse(node.targets[0]).rpartition(".")[2]: node.value for node in plain}
            is_question = module is project_text or any("other_units" in ast.unparse(node) for node in plain)
            for name in names & named.keys() if is_question else ():
                parts = [node.value for node in ast.walk(named[name]) if isinstance(node, ast.Constant)]
                words = " ".join(f"{part}" for part in parts)
                if re.search("[a-z]{3}", words):
                    yield words


@pytest.mark.parametrize("words", sorted({*asked()}))
def test_each_question_has_its_cure(words):
    assert any(all(part in words for part in message) for message in told()), words


def test_what_the_table_cures_is_asked():
    assert len({*asked()}) >= 8
    assert all(told())
