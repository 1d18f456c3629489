"""One changed byte in anything that a project keeps: it changes nothing, or doctor names it with its cure."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.errors import ShroffError
from shroff.runtime import contents
from shroff.services import project as app
from tests.project.test_table_files import TABLE, payment, written

CSV = "id,at,card,ip,amount\nr1,2026-03-01T12:00:00Z,c,192.0.2.1,none\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a stored table of two versions, an index of ids and of keys, a snapshot and a refused line."""
    folder = tmp_path_factory.mktemp("kept") / "bank"
    before = contents.STORED_BYTES_MIN
    contents.STORED_BYTES_MIN = 64
    try:
        written(folder, {"tables/ip.csv": TABLE, "refused.csv": CSV})
        for first, country in ((0, "DE"), (400, "FR")):
            (folder / "tables/ip.csv").write_text(TABLE.replace(",DE,", f",{country},"))
            lines = [json.dumps(payment(number)) for number in range(first, first + 400)]
            (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
            assert run(["-C", str(folder), "ingest", str(folder / "rows.jsonl"), "--as", "payment"]) == 0
        assert run(["-C", str(folder), "ingest", str(folder / "refused.csv"), "--as", "payment"]) == 4
        assert run(["-C", str(folder), "snapshot"]) == 0
    finally:
        contents.STORED_BYTES_MIN = before
    return folder


@pytest.fixture
def bank(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(contents, "STORED_BYTES_MIN", 64)
    monkeypatch.setattr(contents, "_STORES", {})
    shutil.copytree(made, tmp_path / "bank")
    return tmp_path / "bank"


@contextmanager
def changed(path: Path, random: Random) -> Iterator[int]:
    """A file with one bit of it flipped."""
    clean = path.read_bytes()
    place = random.randrange(len(clean))
    path.write_bytes(clean[:place] + bytes([clean[place] ^ 1 << random.randrange(8)]) + clean[place + 1 :])
    yield place
    path.write_bytes(clean)


def execute(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Change the database as a damaged disk would."""
    with closing(sqlite3.connect(folder / ".shroff/log.db")) as database, database:
        return database.execute(sql).fetchall()


def outcome(folder: Path) -> str:
    (decision,) = app.open(folder).score([payment(9_000)], as_type="payment")
    return str(decision.outcome)


def wrong(folder: Path) -> list[str]:
    return [f"{finding.words}: {finding.cure}" for finding in app.open(folder).health.doctor().of("wrong")]


def test_a_bit_that_flips_in_any_file_changes_no_decision_in_silence(bank):
    state, random = bank / ".shroff", Random(3)
    expected = outcome(bank)
    assert wrong(bank) == []
    files = [path for path in sorted(state.rglob("*")) if path.is_file() and path.stat().st_size]
    assert {path.parent.name for path in files} >= {"tables", "packed", "snapshots"}
    for path in files:
        for _ in range(3 if path.name != "log.db" else 8):
            with changed(path, random) as place:
                try:
                    found = outcome(bank)
                except ShroffError:
                    continue
                assert found == expected or wrong(bank), (path, place)


def test_doctor_names_a_damaged_table_of_each_version_and_a_missing_one(bank):
    store = bank / ".shroff/tables"
    active = sha256((bank / "tables/ip.csv").read_bytes()).hexdigest()
    (earlier,) = (path for path in store.glob("[0-9a-f]" * 64) if path.name != active)
    for path in (earlier, store / active):
        with changed(path, Random(1)):
            assert any(f"{path} is damaged" in words and "from the last backup" in words for words in wrong(bank))
    content = earlier.read_bytes()
    earlier.unlink()
    assert any(f"{earlier} is missing" in words for words in wrong(bank))
    earlier.write_bytes(content)
    assert wrong(bank) == []


def test_doctor_names_a_damaged_packed_table_that_a_service_may_have_open(bank):
    packed = bank / ".shroff/tables/packed"
    unused = packed / f"{'0' * 32}-{'1' * 16}"
    shutil.copyfile(next(packed.iterdir()), unused)
    with changed(unused, Random(1)):
        (words,) = wrong(bank)

    assert words.startswith(f"{unused} is damaged, the packed form of a table: Delete it, then restart the service")


def test_a_damaged_index_of_keys_is_built_again_by_the_command_that_doctor_names(bank, tmp_path):
    before = repr(app.open(bank).explain("p5"))
    execute(bank, "UPDATE key_parts SET data = zeroblob(length(data))")
    (words,) = wrong(bank)
    assert "index of keys differs" in words
    assert "shroff migrate --apply --compare-ids --at BACKUPS" in words
    assert run(["-C", str(bank), "verify", "--engines", "online"]) == 3

    assert run(["-C", str(bank), "migrate", "--apply", "--compare-ids", "--at", str(tmp_path / "backups")]) == 0
    app.open(bank).decide([payment(2_000)], as_type="payment")
    assert repr(app.open(bank).explain("p5")) == before
    assert wrong(bank) == []
    assert run(["-C", str(bank), "verify", "--engines", "online"]) == 0
    assert execute(bank, "SELECT count(*) FROM key_parts")[0][0] > 0


@pytest.mark.parametrize(
    "sql",
    [
        "raw = CAST(replace(raw, 'c,192', 'd,192') AS BLOB)",
        "header = replace(header, 'amount', 'bmount')",
        "header = replace(header, char(31), '?')",
        "header = replace(header, 'crc32', 'crc42')",
        "header = replace(header, char(31) || 'crc32=', '')",
        "type = 'paymenu'",
    ],
)
def test_a_refused_line_that_has_changed_is_named_and_decided_by_no_retry(bank, sql, capfd):
    rules = bank / "events.yaml"
    rules.write_text(rules.read_text().replace("amount: money", "amount: text"))
    ((number,),) = execute(bank, "SELECT number FROM quarantine")
    execute(bank, f"UPDATE quarantine SET {sql}")

    assert run(["-C", str(bank), "quarantine", "retry"]) == 3
    assert f"shroff quarantine drop {number}" in capfd.readouterr().err
    assert any("differs from the line that was refused" in words for words in wrong(bank))
    assert run(["-C", str(bank), "quarantine", "drop", str(number)]) == 0
    assert not any("line that was refused" in words for words in wrong(bank))
