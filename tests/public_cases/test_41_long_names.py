"""Names that are too long for the language, or the same, are made short and different."""

from __future__ import annotations

import json

import pytest

from tests.public_cases import proposed
from tests.support.beside import beside

LONG = "a question of " * 12


def test_a_statement_is_proposed(tmp_path):
    project, _ = proposed(beside("files", "41-long-names", "camt.jsonl"), tmp_path / "p")

    assert project.events("payment")["amt"].to_pylist()[:2] == project.events("payment")["amt"].to_pylist()
    assert len(project.events("payment").column_names) > 10


@pytest.mark.parametrize(
    "columns",
    [
        [LONG + "age", LONG + "town"],
        ["المبلغ", "الوصف", "العميل"],
        ["x" * 300, "x" * 299 + "y"],
        [f"{'n' * 99} {part}" for part in "abc"],
    ],
)
def test_each_column_has_a_name_of_its_own(tmp_path, columns):
    file = tmp_path / "f.csv"
    file.write_text(
        ",".join(["id", "at", *columns])
        + "\n"
        + "".join(
            f"p{n},2026-03-0{n}T10:00:00Z{''.join(f',v{n}{at}' for at in range(len(columns)))}\n" for n in range(1, 6)
        )
    )
    project, _ = proposed(file, tmp_path / "p")
    row = project.events("payment").to_pylist()[0]

    assert {f"v1{at}" for at in range(len(columns))} <= set(map(str, row.values()))


def test_nested_columns_of_one_end_differ(tmp_path):
    deep = {"x" * 40: {"y" * 40: {"z" * 40: "1"}}}
    file = tmp_path / "f.jsonl"
    file.write_text(
        "".join(
            json.dumps(
                {"id": f"p{n}", "at": f"2026-03-0{n}T10:00:00Z", "a": {**deep, "z": "t"}, "b": {**deep, "z": "u"}}
            )
            + "\n"
            for n in range(1, 6)
        )
    )
    project, _ = proposed(file, tmp_path / "p")

    assert len(project.events("payment").column_names) >= 6
