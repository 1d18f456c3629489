"""The extension of the file to write decides its format; what contradicts it is refused."""

from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from tests.support import projects


@pytest.fixture
def bank(tmp_path, monkeypatch):
    for name, text in projects.FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"payment": {"id": "p1", "at": "2026-03-01T10:00:00Z", "card": "c", "amount": "5.00"}})
    )
    assert run(["ingest", "in.jsonl"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("d.parquet", []),
        ("d.PARQUET", []),
        ("d.parquet", ["--format", "parquet"]),
        ("d.csv", []),
        ("d.jsonl", []),
        ("d", []),
        ("d.txt", ["--format", "csv"]),
    ],
)
@pytest.mark.parametrize("what", ["decisions", "events"])
def test_the_extension_decides(bank, what, name, options):
    assert run(["export", what, "--out", name, *options]) == 0
    file, form = bank / name, "csv" if options[1:] == ["csv"] else name.lower().partition(".")[2] or "jsonl"
    if form == "parquet":
        assert pq.read_table(file).num_rows == 1
    elif form == "csv":
        assert len(list(csv.DictReader(file.read_text().splitlines()))) == 1
    else:
        assert json.loads(file.read_text())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "d.parquet", "--format", "csv"], "d.parquet ends in .parquet, and --format says csv"),
        (["--out", "d.csv", "--format", "parquet"], "d.csv ends in .csv, and --format says parquet"),
        (["--out", "d.jsonl.gz"], "this is never written as .gz (pack it afterwards)"),
        (["--out", "d.xlsx"], "is never written as .xlsx; name a file that ends in .jsonl or .csv or .parquet"),
    ],
)
def test_a_contradiction_is_refused(bank, capsys, options, words):
    assert run(["export", "decisions", *options]) == 2

    assert words in capsys.readouterr().err
    assert not (bank / options[1]).exists()


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl", "f.parquet.gz", "f.txt", "f.xlsx"])
def test_features_are_parquet_under_no_other_name(bank, capsys, name):
    assert run(["features", "--as", "payment", "--out", name]) == 2

    assert "name a file that ends in .parquet" in capsys.readouterr().err
