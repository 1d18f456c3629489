"""Items of an array have ids and invented times of their own."""

from __future__ import annotations

import json

import pytest

from shroff.cli.main import run
from tests.public_cases import mapping_of, proposed
from tests.support.beside import beside
from tests.support.effort import long_after


def test_a_hash_names_each_item(tmp_path):
    project, _ = proposed(beside("files", "38-items-share-an-id", "txlist.json"), tmp_path / "p")

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


def explorer(n, item):
    return {"hash": f"0x{n}{item:04x}", "timeStamp": f"{1_772_000_000 + 60 * (7 * n + item)}", "from": f"0xa{item % 3}"}


def plain(n, item):
    return {"at": f"2026-03-0{n + 1}T10:{item:02d}:00Z", "card": f"c{item % 3}", "amount": f"{item + 1}.50"}


def with_own_id(n, item):
    return {"payment_id": f"p{n}-{item}", **plain(n, item)}


def with_numbers(n, item):
    """Numbers that begin anew in each message are no ids."""
    return {"id": item, **plain(n, item)}


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 4])
@pytest.mark.parametrize("around", long_after(1, ["data.payments", "result", "batch.entries.items"]))
@pytest.mark.parametrize(
    ("make", "id_of"),
    [
        (explorer, lambda n, item: f"0x{n}{item:04x}"),
        (plain, lambda n, item: f"f.jsonl:{n + 1}#{item + 1}"),
        (with_own_id, lambda n, item: f"p{n}-{item}"),
        (with_numbers, lambda n, item: f"f.jsonl:{n + 1}#{item + 1}"),
    ],
)
def test_each_item_of_an_array_has_an_id_of_its_own(tmp_path, make, id_of, around, lines):
    messages = []
    for n in range(lines):
        message = [make(n, item) for item in range(8)]
        for name in reversed(around.split(".")):
            message = {name: message}
        messages.append({"id": f"m{n}", "status": "1", **message})
    file = tmp_path / "f.jsonl"
    file.write_text("".join(f"{json.dumps(message)}\n" for message in messages))
    project, _ = proposed(file, tmp_path / "p")
    kept = project.features("payment")["id"].to_pylist()

    wanted = [id_of(n, item) for n in range(lines) for item in range(8)]
    if make is with_numbers and lines == 1:  # in one message they are different
        wanted = [f"{item}" for item in range(8)]
    assert kept == wanted
