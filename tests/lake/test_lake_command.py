"""`shroff lake`, and the lake of an opened project."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from tests.support.projects import FILES

LAKE = "lake: ./lake\n"
DOCUMENTS = """
lake:
  to: ./lake
  layout: both
  documents:
    transaction: { of: payment, file: '{id}_transaction' }
    fraud_confirmation: { of: labels, sources: [chargeback] }
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A project with ten payments and a chargeback."""
    folder = tmp_path / "bank"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "shroff.yaml").write_text(FILES["shroff.yaml"] + LAKE)
    lines = [
        {"payment": {"id": f"p{n}", "at": f"2026-03-01T12:{n:02d}:00Z", "card": "c", "amount": f"{50 * n}.00"}}
        for n in range(10)
    ]
    label = {"event": "payment/p3", "verdict": "fraud", "source": "chargeback", "known_at": "2026-03-02T00:00:00Z"}
    text = "\n".join(json.dumps(line) for line in [*lines, {"label": label}])
    (tmp_path / "events.jsonl").write_text(text)
    app.open(folder).ingest(tmp_path / "events.jsonl")
    return folder


def answer(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert run(["-C", str(folder), "lake", *words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_lake_is_written_put_together_checked_and_listed(bank: Path, capsys: pytest.CaptureFixture[str]):
    written = answer(capsys, bank, "write")
    assert {name: written[name] for name in ("lake", "upto", "commits", "documents")} == {
        "lake": str(bank / "lake"), "upto": 12, "commits": 1, "documents": {}
    }  # fmt: skip
    assert written["rows"] == {
        "controls": 1, "decisions": 10, "events": 10, "features": 10, "flags": 7, "hits": 7, "labels": 1
    }  # fmt: skip
    assert answer(capsys, bank, "write")["commits"] == 0
    assert answer(capsys, bank, "check") == {
        "lake": str(bank / "lake"), "ok": True, "upto": 12, "files": written["files"], "rows": 46,
        "documents": 0, "documents_unchecked": 0, "bytes": written["bytes"], "problems": []
    }  # fmt: skip
    listed = answer(capsys, bank, "files", "events/type=payment")
    assert [(file["rows"], file["first"], file["last"]) for file in listed["files"]] == [(10, 2, 11)]
    assert Path(listed["files"][0]["file"]).is_file()
    assert answer(capsys, bank, "compact") == {
        "lake": str(bank / "lake"), "merged": 0, "made": 0, "removed": 0, "damaged": []
    }  # fmt: skip


def test_people_are_told_in_sentences(bank: Path, capsys: pytest.CaptureFixture[str]):
    run(["-C", str(bank), "lake", "write"])
    assert "the log up to sequence number 12.\n  7 files of " in capsys.readouterr().out
    run(["-C", str(bank), "lake", "write"])
    assert "There was nothing to write." in capsys.readouterr().out
    run(["-C", str(bank), "lake", "files", "labels"])
    assert capsys.readouterr().out.startswith(f"{bank}/lake/labels/date=2026-03-02/000000000001-")
    run(["-C", str(bank), "lake", "check"])
    assert "nothing is wrong." in capsys.readouterr().out


def test_a_damaged_file_is_found_and_the_answer_is_no(bank: Path, capsys: pytest.CaptureFixture[str]):
    answer(capsys, bank, "write")
    damaged = next((bank / "lake" / "events").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")

    report = answer(capsys, bank, "check", status=1)
    assert not report["ok"]
    assert report["problems"][0].startswith(damaged.relative_to(bank / "lake").as_posix())
    assert "its checksum does not fit" in report["problems"][0]


def test_documents_come_as_shroff_yaml_says(bank: Path, capsys: pytest.CaptureFixture[str]):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + DOCUMENTS)

    assert answer(capsys, bank, "write")["documents"] == {"transaction": 10, "fraud_confirmation": 1}
    assert json.loads((bank / "lake" / "transaction" / "p3_transaction.json").read_text())["amount"] == "150.00"
    assert len(list((bank / "lake" / "fraud_confirmation").iterdir())) == 1
    assert answer(capsys, bank, "check")["documents"] == 11


def test_a_document_that_is_gone_is_found_and_the_answer_is_no(bank: Path, capsys: pytest.CaptureFixture[str]):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + DOCUMENTS)
    answer(capsys, bank, "write")
    (bank / "lake" / "transaction" / "p3_transaction.json").unlink()

    report = answer(capsys, bank, "check", status=1)
    assert report["problems"] == ["transaction/p3_transaction.json: the document is not there"]
    run(["-C", str(bank), "lake", "check"])
    assert "11 documents" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, words",
    [
        ("layout: json", "layout json needs documents"),
        ("documents: { t: { of: payment } }", "documents are for layout json or both"),
        ("layout: both\n  documents: { events: { of: payment } }", "cannot be in a folder 'events'"),
        ("layout: both\n  documents: { t: { of: payment, sources: [import] } }", "sources are for labels"),
    ],
)
def test_settings_that_make_no_lake_are_refused(bank: Path, options: str, words: str):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + f"lake:\n  to: ./lake\n  {options}\n")

    with pytest.raises(UsageError, match=words), app.open(bank).lake.open():
        pass
    assert not (bank / "lake").exists()


@pytest.mark.parametrize("to", ["ftp://host/x", "http://host/x", "file:///tmp/x", "S3://bucket"])
def test_an_address_of_no_known_kind_is_refused(bank: Path, to: str):
    with (
        pytest.raises(UsageError, match="a lake is in a folder, at s3://, gs:// or az://, not at"),
        app.open(bank).lake.open(to),
    ):
        pass


def test_without_a_lake_the_command_says_where_to_name_one(bank: Path, capsys: pytest.CaptureFixture[str]):
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"])

    assert run(["-C", str(bank), "lake", "write"]) == 2
    assert "no lake is named. Add 'lake: ./lake'" in capsys.readouterr().err


def test_a_program_reads_the_lake_as_the_log(bank: Path):
    project = app.open(bank)
    with project.lake.open() as lake, project.log.reading() as log:
        lake.write()
        reader = lake.reader()
        assert list(chain(*reader.records())) == list(chain(*log.read()))
        assert list(chain(*reader.decisions())) == list(chain(*log.decisions.after()))
        with pytest.raises(UsageError, match="at least 2 files are needed to merge"):
            lake.compact(files_min=1)
        with pytest.raises(UsageError, match="the grace period: 'soon'"):
            lake.compact(grace="soon")
