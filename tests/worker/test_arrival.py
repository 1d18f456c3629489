"""Files whose lines say when they arrived: they are taken in that order, and features see an event from then on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run as command
from shroff.log.writer import Answer
from shroff.services import project as app
from tests.support.projects import FILES, documents, write_files

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text hashed, amount: money }
  from: { arrived: row.loaded, zone: Europe/Berlin }
label: { from: { csv: { event: row.id, verdict: row.verdict, known_at: row.at } } }
entities: { card: { payment: card } }
"""
FEATURES = """
card:
  spent: sum(payment.amount) over 30d including this
  frauds: count(label where label.verdict == 'fraud') over 30d
"""
# p3 happened second, and came last but one; p5 does not say when it came.
FIRST = """id,at,card,amount,loaded
p1,2026-03-01T10:00:00Z,c,1,2026-03-01 11:00:00
p3,2026-03-01T12:00:00Z,c,4,2026-03-05T00:00:00Z
p2,2026-03-02T10:00:00Z,c,2,2026-03-02T10:00:00Z
"""
SECOND = """id,at,card,amount,loaded
p4,2026-03-03T10:00:00Z,c,8,2026-03-03T10:00:00Z
p5,2026-03-06T10:00:00Z,c,16,
"""
LABELS = "id,verdict,at\np1,fraud,2026-03-04T10:00:00Z\n"
SPENT = {"p1": Decimal(1), "p2": Decimal(3), "p4": Decimal(11), "p3": Decimal(5), "p5": Decimal(31)}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    settings = f"{FILES['shroff.yaml']}lateness: 30d\n"
    folder = write_files(tmp_path / "bank", {"shroff.yaml": settings, "events.yaml": EVENTS, "features.yaml": FEATURES})
    (folder / "first.csv").write_text(FIRST)
    (folder / "second.csv").write_text(SECOND)
    (folder / "labels.csv").write_text(LABELS)
    return folder


@pytest.mark.slow
def test_records_are_in_order_of_arrival_and_labels_come_between(bank):
    project, answers = app.open(bank), list[Answer]()
    files = [bank / "first.csv", bank / "second.csv"]
    project.taking.ingest(files, as_type="payment", labels=bank / "labels.csv", on_batch=answers.extend)

    with project.log.reading() as log:
        kinds = [
            record.kind if record.kind == "label" else record.id
            for records in log.read(0)
            for record in records
            if record.kind in {"event", "label"}
        ]
    assert kinds == ["p1", "p2", "p4", "label", "p3", "p5"]
    features: dict[Any, Any] = {document["id"]: document["features"] for document in documents(answers)}
    assert {id_: Decimal(found["card.spent"]) for id_, found in features.items()} == SPENT
    # Known on the 4th: p3 came later, but happened earlier.
    assert [features[id_]["card.frauds"] for id_ in ("p4", "p3", "p5")] == [0, 0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["naive", "online", "batch"])
def test_features_of_files_are_those_in_order_of_arrival(engine, bank):
    files = [str(bank / "first.csv"), str(bank / "second.csv")]
    out = bank / "out.parquet"

    assert command(["-C", str(bank), "features", *files, "--as", "payment", "--out", str(out), "--engine", engine]) == 0
    assert {row["id"]: row["card.spent"] for row in pq.read_table(out).to_pylist()} == SPENT


@pytest.mark.slow
def test_a_line_whose_arrival_is_no_time_is_refused_and_keeps_it_for_a_retry(bank, capsys):
    (bank / "first.csv").write_text(FIRST.replace("2026-03-05T00:00:00Z", "05.03.2026"))
    project = app.open(bank)
    assert project.ingest(bank / "first.csv", as_type="payment").events.quarantined == 1
    assert command(["-C", str(bank), "quarantine", "list"]) == 0
    assert "arrived: expected a time with its offset" in capsys.readouterr().out

    (bank / "events.yaml").write_text(EVENTS.replace("row.loaded", "\"time(row.loaded, '%d.%m.%Y')\""))
    assert command(["-C", str(bank), "quarantine", "retry"]) == 0
    assert "1 accepted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrived", "words"),
    [
        ("money(row.amount)", "arrived is a time, or a column that holds one; this is money."),
        ("loaded", "'loaded' is not known in a mapping"),
    ],
)
def test_an_arrival_that_is_no_time_is_refused_with_its_place(arrived, words, bank, capsys):
    (bank / "events.yaml").write_text(EVENTS.replace("row.loaded", arrived))

    assert command(["-C", str(bank), "check"]) == 1
    out = capsys.readouterr().out
    assert "events.yaml:7:" in out
    assert words in out


def test_files_that_come_too_late_by_their_arrival_are_stopped_with_the_cure(bank, capsys):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"])

    files = [str(bank / "first.csv"), str(bank / "second.csv")]

    assert command(["-C", str(bank), "ingest", *files, "--as", "payment"]) == 2
    assert "allow more lateness in shroff.yaml" in capsys.readouterr().err
