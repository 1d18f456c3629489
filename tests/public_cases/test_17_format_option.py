"""A file whose name does not say its format is read by its content or by --format, in each command."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from tests.public_cases import project_of

CASE = "17-format-option"
LINES = 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    project = project_of(CASE, tmp_path)
    monkeypatch.chdir(project)
    return project


@pytest.mark.parametrize("options", [[], ["--format", "jsonl"]])
@pytest.mark.parametrize(
    "command",
    [
        ["check", "--with", "FILE", "--as", "payment"],
        ["score", "FILE", "--as", "payment"],
        ["features", "FILE", "--as", "payment", "--out", "out.parquet"],
        ["features", "FILE", "--as", "payment", "--out", "out.parquet", "--engine", "naive"],
        ["decide", "FILE", "--as", "payment"],
        ["ingest", "FILE", "--as", "payment"],
    ],
)
def test_each_command_reads_it(folder, capsys, command, options):
    name = "transactions.txt" if not options else "transactions.bin"
    if options:
        shutil.copy(folder / "transactions.txt", folder / name)

    assert run([name if item == "FILE" else item for item in command] + options) == 0
    assert "No such option" not in capsys.readouterr().err
    if command[0] == "features":
        assert pq.read_table("out.parquet").num_rows == LINES


@pytest.mark.parametrize(
    ("name", "words"), [("march.xlsx", "save the sheet as CSV"), ("march.zip", "is an archive; unpack it")]
)
@pytest.mark.parametrize("command", [["check", "--with"], ["ingest"], ["score"]])
def test_what_is_no_format_says_what_to_do(folder, capsys, command, name, words):
    (folder / name).write_bytes(b"PK\x03\x04")

    assert run([*command, name, "--as", "payment"]) == 2
    assert words in capsys.readouterr().err


def test_a_format_is_for_a_file(folder, capsys):
    assert run(["check", "--format", "csv"]) == 2

    assert "--format is for the lines of a file: add --with FILE" in capsys.readouterr().err
