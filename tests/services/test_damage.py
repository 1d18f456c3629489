"""A log whose bytes have changed: each command says in words that the file is damaged, and what to do."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from operator import attrgetter

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.tables.sums import decision_sum
from shroff.cli.main import run
from shroff.errors import StorageError
from shroff.monitoring.doctor import OK, WRONG, look_at_rows
from tests.support.effort import long_after
from tests.support.log_rows import everything
from tests.support.projects import FILES

CSV = ["--format", "csv"]
COMMANDS = [
    ["verify"],
    ["verify", "--engines", "naive"],
    ["explain", "p2"],
    ["replay", "p2"],
    ["export", "decisions", *CSV],
    ["export", "events", *CSV],
    ["export", "labels"],
    ["export", "flags"],
    ["label", "--pending"],
    ["quarantine", "list"],
    ["doctor"],
    ["ingest", "p.jsonl"],
]


@pytest.fixture
def bank(tmp_path, monkeypatch, capsys):
    """A log with payments, a label, a label that waits and a line that was refused."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    fields = {"at": "2026-03-01T12:00:00Z", "card": "Käte", "amount": "500.00"}
    events = [{"payment": {"id": f"p{number}", **fields}} for number in range(1, 4)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(event) + "\n" for event in [*events, {"payment": {}}]))
    assert run(["ingest", "p.jsonl"]) == 4
    for event in ("p1", "p9"):
        assert run(["label", f"payment/{event}", "fraud", "--known-at", "2026-03-02T12:00:00Z"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def change(bank):
    """Change the log as a damaged disk would: with no check of what is put there."""

    def changed(sql):
        connection = sqlite3.connect(bank / ".shroff" / "log.db")
        connection.create_function("sum_of", 6, lambda *row: decision_sum(*row[:-1], row[-1].encode()))
        connection.execute(sql)
        connection.commit()
        connection.close()

    return changed


@pytest.mark.slow
# Commands tell of damage in one place.
@pytest.mark.parametrize(
    "sql, words",
    long_after(10, [
        ("UPDATE decisions SET document = CAST(x'7bff7d' AS TEXT) WHERE seq = 3", ["verify"]),
        ("UPDATE decisions SET document = CAST(x'7bff7d' AS TEXT) WHERE seq = 3", ["export", "decisions"]),
        ("UPDATE decisions SET document = '{\"event\":1' WHERE seq = 3", ["explain", "p2"]),
        ("UPDATE decisions SET document = replace(document, '\"rules\"', '\"rulez\"')", ["explain", "p2"]),
        ("UPDATE decisions SET document = replace(document, '\"seq\"', '\"sep\"')", ["export", "decisions", *CSV]),
        ("UPDATE decisions SET document = replace(document, '\"0.00', '\"O.00')", ["explain", "p2"]),
        ("UPDATE events SET body = replace(body, 'p2', CAST(x'ff' AS TEXT)) WHERE id = 'p2'", ["verify"]),
        ("UPDATE events SET body = 'nothing' WHERE id = 'p2'", ["verify"]),
        ("UPDATE events SET body = replace(body, '\"at\"', '\"bt\"') WHERE id = 'p2'", ["verify"]),
        ("UPDATE events SET body = 'nothing' WHERE kind = 'label'", ["verify"]),
        ("UPDATE events SET body = replace(body, 'import', 'impurt') WHERE kind = 'label'", ["verify"]),
        ("UPDATE events SET body = replace(body, 'known_at\":\"2026', 'known_at\":\"2O26')", ["verify"]),
        ("UPDATE events SET body = 'nothing' WHERE kind = 'label'", ["export", "labels"]),
        ("UPDATE events SET body = '{}' WHERE kind = 'control'", ["verify"]),
        ("UPDATE events SET body = '{}' WHERE kind = 'control'", ["ingest", "p.jsonl"]),
        ("UPDATE events SET body = replace(body, 'count(pay', 'coUnt(pay') WHERE kind = 'control'", ["verify"]),
        ("UPDATE events SET id = CAST(x'ff' AS TEXT) WHERE id = 'p2'", ["export", "events"]),
        ("UPDATE events SET time_ms = 'noon' WHERE id = 'p2'", ["verify"]),
        ("UPDATE flags SET reason = x'00'", ["export", "flags"]),
        ("UPDATE hits SET rule = x'00'", ["verify"]),
        ("UPDATE waiting_labels SET body = '{}'", ["label", "--pending"]),
        ("UPDATE waiting_labels SET body = replace(body, 'fraud', 'Fraud')", ["label", "--pending"]),
        ("UPDATE quarantine SET reason = CAST(x'ff' AS TEXT)", ["quarantine", "list"]),
    ]),
)  # fmt: skip
def test_damaged_content_is_told_with_what_to_do(sql, words, change, bank, capsys):
    change(sql)

    assert run(words) == 3
    said = capsys.readouterr().err
    assert "damaged" in said
    assert "restore the last backup" in said
    assert "bug in shroff" not in said


@pytest.mark.parametrize("sql", ["UPDATE watermark SET time_ms = 'noon'", "DELETE FROM watermark"])
def test_a_damaged_watermark_is_told_and_no_connection_stays_open(sql, change, bank, monkeypatch):
    change(sql)
    path, connect, opened = bank / ".shroff" / "log.db", sqlite3.connect, []

    def connected(*given, **options):
        opened.append(connect(*given, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    with pytest.raises(StorageError, match="damaged"), closing(SqliteLog(path, read_only=True)) as log:
        log.watermark_ms()

    assert opened
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_feature_that_no_version_has_is_a_mismatch(bank, change, capsys):
    change("UPDATE decisions SET document = replace(document, 'card.frauds', 'card.freuds')")
    change(
        "UPDATE decisions SET crc = sum_of(seq, 'payment', (SELECT id FROM events WHERE events.seq = decisions.seq), "
        "outcome, receipt, document)"
    )

    assert run(["verify", "--engines", "naive", "--json"]) == 1
    assert "card.freuds" in json.loads(capsys.readouterr().out)["first_mismatch"]["recorded"]


@pytest.mark.slow
# Each seed draws other bits.
@pytest.mark.parametrize("seed", long_after(3, range(8)))
def test_a_bit_that_flips_anywhere_is_never_taken_for_a_mistake_of_the_program(seed, bank, capsys):
    log = bank / ".shroff" / "log.db"
    clean, random_ = log.read_bytes(), random.Random(seed)
    filled = [at for at, byte in enumerate(clean) if byte]
    codes = set()
    for words in COMMANDS:
        flipped = bytearray(clean)
        flipped[random_.choice(filled)] ^= 1 << random_.randrange(8)
        log.write_bytes(flipped)
        codes.add(run(words))

    assert codes <= {0, 1, 2, 3, 4}
    assert "Traceback" not in capsys.readouterr().err


def test_a_bit_that_flips_is_told_by_doctor_or_changes_nothing_that_is_read(bank):
    fields = {"at": "2026-03-01T12:00:00Z", "card": "Käte", "amount": "500.00"}
    (bank / "more.jsonl").write_text("".join(f"{json.dumps({'id': f'q{at}', **fields})}\n" for at in range(200)))
    assert run(["ingest", "more.jsonl", "--as", "payment"]) == 0
    path, random_, told = bank / ".shroff" / "log.db", random.Random(1), 0
    with closing(SqliteLog(path)) as log:
        log._connection.sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = rows_of(log)
        assert look_at_rows(log, 1).state == OK
    clean = path.read_bytes()
    filled = [at for at in range(8_192, len(clean)) if clean[at]]
    for at in random_.sample(filled, 24):
        path.write_bytes(clean[:at] + bytes([clean[at] ^ 1 << random_.randrange(8)]) + clean[at + 1 :])
        try:
            with closing(SqliteLog(path, read_only=True)) as log:
                is_told = look_at_rows(log, 1).state == WRONG
                assert is_told or rows_of(log) == before
        except StorageError:
            is_told = True
        told += is_told
    assert told > 15  # the others lie in what was let go of, and in letters that have still to leave


def rows_of(log):
    names = "read", "decisions.after", "flags.after", "hits.after", "lines", "decisions.outcome_lines"
    return [list(attrgetter(name)(log)()) for name in names]


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("UPDATE events SET body = replace(body, 'amount', 'amounu') WHERE seq = 5", "read"),
        ("UPDATE events SET body = replace(body, 'amount', 'amounu') WHERE seq = 5", "lines"),
        ("UPDATE events SET type = 'paymenu' WHERE seq = 5", "lines"),
        ("UPDATE events SET time_ms = time_ms + (1 << 34) WHERE seq = 5", "read"),
        ("UPDATE events SET decided = 0 WHERE seq = 5", "lines"),
        ("UPDATE events SET id = 'p-6x' WHERE seq = 5", "decisions.after"),
        ("UPDATE decisions SET outcome = 'decline' WHERE seq = 5", "decisions.after"),
        ("UPDATE decisions SET receipt = x'00' WHERE seq = 5", "decisions.after"),
        ("UPDATE flags SET key = 'c2'", "flags.after"),
        ("UPDATE hits SET key = 'c2'", "hits.after"),
    ],
)
def test_a_changed_row_is_never_given_out(sql, name, tmp_path):
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        for first in (1, 4):
            log.append(everything(first))
        log._connection.sqlite.execute(sql)

        with pytest.raises(StorageError, match=r"differs? from (the one|those) that"):
            list(attrgetter(name)(log)())


def test_lines_are_held_against_their_sums_behind_what_was_pruned(tmp_path):
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        for first in (1, 4, 7, 10):
            log.append(everything(first))
        whole = b"".join(log.lines()).splitlines(keepends=True)
        for after in range(12):
            assert b"".join(log.lines(after, size=4)).splitlines(keepends=True) == whole[after:]
        log.prune(8)
        for after in range(8, 12):
            assert b"".join(log.lines(after, size=2)).splitlines(keepends=True) == whole[after:]
        log._connection.sqlite.execute("UPDATE events SET body = replace(body, 'amount', 'amounu') WHERE seq = 11")
        for after in (8, 9, 10):
            with pytest.raises(StorageError, match="differs from the one that was written"):
                list(log.lines(after))
        assert b"".join(log.lines(11)) == whole[11]


def test_what_sqlite_says_in_bytes_that_are_no_text_is_damage(tmp_path):
    # SQLite quotes the damaged statement of a table, and Python cannot decode the quotation.
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    log.append(everything(1))
    log.close()
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE hits (\n    seq ", b"CREATE TABLE hits (\n   \xc1seq "))

    with pytest.raises(StorageError, match="damaged"):
        SqliteLog(path, read_only=True).last_seq()
