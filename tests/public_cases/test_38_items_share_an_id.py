"""Items of an array have ids and invented times of their own."""

from __future__ import annotations

import json

import pytest

from shroff.cli.main import run
from tests.public_cases import FILES, mapping_of, proposed


def test_a_hash_names_each_item(tmp_path):
    project, _ = proposed(FILES / "38-items-share-an-id" / "txlist.json", tmp_path / "p")

    assert "id: hash" in mapping_of(project)
    assert project.events("payment").num_rows == 6


@pytest.mark.parametrize("times", ["2026-03-01T10:00:00Z", None])
def test_without_an_id_file_line_and_item_are_it(tmp_path, times):
    items = [{"amount": "1.50", "card": f"c{n % 2}", "kind": "x", **({"at": times} if times else {})} for n in range(3)]
    file = tmp_path / "f.json"
    file.write_text(json.dumps([{"items": items}, {"items": items}]))
    project, _ = proposed(file, tmp_path / "p")
    rows = project.events("payment").to_pylist()

    assert [row["payment_id"] for row in rows] == [f"f.json:{line}#{item}" for line in (1, 2) for item in (1, 2, 3)]
    assert times or len({row["paid_at"] for row in rows}) == 6


def test_an_item_of_quarantine_keeps_its_id(tmp_path, capsys):
    items = [{"amount": amount, "card": "c", "at": "2026-03-01T10:00:00Z"} for amount in ("1.50", "x", "2.50")]
    file = tmp_path / "f.json"
    file.write_text(json.dumps([{"items": [{**item, "amount": "1.00"} for item in items]}]))
    project, _ = proposed(file, tmp_path / "p", is_ingested=False)
    file.write_text(json.dumps([{"items": items}]))
    assert project.ingest([file]).events.quarantined == 1
    events = tmp_path / "p" / "events.yaml"
    events.write_text(mapping_of(project).replace("amount: item.amount", "amount: replace(item.amount, 'x', '7')"))
    run(["-C", str(tmp_path / "p"), "quarantine", "retry"])
    capsys.readouterr()

    assert sorted(row["payment_id"] for row in project.events("payment").to_pylist()) == [
        "f.json:1#1",
        "f.json:1#2",
        "f.json:1#3",
    ]
