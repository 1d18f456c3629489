"""Avro files: the same log as JSON lines of the same events give, and damage that costs no more than its block."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zlib import crc32

import pyarrow as pa
import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.events.avro import files as avro_files
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Intake
from shroff.streams.log import Record
from tests.support.avros import avro_file, project, record, taken

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 16, "scale": 2}
TIME = {"type": "long", "logicalType": "timestamp-millis"}
SCHEMA = record(
    *(("payment_id", "string"), ("paid_at", TIME), ("card", "string"), ("merchant", "string")),
    *(
        ("amount", MONEY),
        ("country", "string"),
        ("device", ["null", "string"]),
        ("channel", "string"),
        ("more", "long"),
    ),
)
NUMBERS = record(("n", "long"), ("text", "string"))


def payments(count):
    """Payments in the types of Avro, and as JSON has them."""
    rows: list[dict[str, Any]] = [
        {
            "payment_id": f"p-{number}",
            "paid_at": datetime(2026, 1, 5, 8, number // 60, number % 60, 7_000, UTC),
            "card": f"c{number % 7}",
            "merchant": "m1",
            "amount": Decimal(number * 37 % 5_000).scaleb(-2),
            "country": "DE",
            "device": ["d1", None][number % 2],
            "channel": "pos",
            "more": number,
        }
        for number in range(count)
    ]
    lines = [{**row, "paid_at": row["paid_at"].isoformat(), "amount": f"{row['amount']:.2f}"} for row in rows]
    return rows, "".join(json.dumps(line) + "\n" for line in lines)


def logged(folder) -> list[Record]:
    """The events of a log, without what put the project in force, which has the time of day in it."""
    with shroff.open(folder).log.reading() as log:
        return [item for batch in log.read() for item in batch if item.type != "control"]


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_an_avro_file_gives_the_log_that_json_lines_of_the_same_events_give(tmp_path, monkeypatch, capfd, codec):
    rows, lines = payments(200)
    found = []
    for name in ("avro", "jsonl"):
        folder = tmp_path / name
        assert run(["init", str(folder), "--template", "payments"]) == 0
        path = folder / f"rows.{name}"
        if name == "avro":
            avro_file(path, SCHEMA, rows, codec)
        else:
            path.write_text(lines, encoding="utf-8")
        capfd.readouterr()
        assert run(["-C", str(folder), "ingest", str(path), "--as", "payment", "--json"]) == 0
        document = json.loads(capfd.readouterr().out)
        found.append((document["appended"], document["quarantined"], document["by_outcome"]))
        found.append([(item.seq, item.type, item.id, item.time_ms, item.body) for item in logged(folder)])

    assert found[0][:2] == (200, 0)
    assert found[:2] == found[2:]


def test_columns_keep_what_the_schema_says_of_them(tmp_path):
    logical = {"type": "long", "logicalType": "timestamp-micros"}
    schema = record(
        *(("f", "float"), ("d", "double"), ("m", MONEY), ("t", logical), ("s", ["null", "string"])),
        *(("l", {"type": "array", "items": MONEY}), ("r", record(("x", "float"), name="inner"))),
    )
    at = datetime(2026, 3, 1, 10, 0, 0, 250_999, UTC)
    row = {"f": 0.1, "d": 0.1, "m": Decimal("-1.50"), "t": at, "s": None, "l": [Decimal("2.00")], "r": {"x": 0.7}}
    with read_lines(avro_file(tmp_path / "a.avro", schema, [row])) as lines:
        (line,) = lines

    assert line.raw == (b'{"d":0.1,"f":0.1,"l":[2.00],"m":-1.50,"r":{"x":0.7},"s":null,"t":"2026-03-01T10:00:00.250Z"}')
    assert lines.columns == ("f", "d", "m", "t", "s", "l", "r")


def test_a_file_may_hold_several_types_where_mappings_say_which(tmp_path):
    mapping = "  from: { avro: { when: row.kind == 'p', id: row.nr, amount: row.amount } }\n"
    events, settings = project("amount: money", mapping)
    schema = record(("kind", "string"), ("nr", "int"), ("at", TIME), ("amount", "float"))
    row = {"kind": "p", "nr": 7, "at": datetime(2026, 1, 1, tzinfo=UTC), "amount": 0.1}
    path = avro_file(tmp_path / "a.avro", schema, [row, {**row, "kind": "q"}])
    first, second = Intake(events, settings, None).submissions(read_lines(path), "a.avro")

    assert first.event.values[::2] == ("7", 10)
    assert (second.event, second.refusal) == (None, None)


def test_a_column_that_a_type_needs_is_asked_for_before_the_first_record(tmp_path):
    events, settings = project("amount: money")
    path = avro_file(tmp_path / "a.avro", record(("id", "string"), ("at", TIME), ("amout", "float")), [])

    with (
        read_lines(path) as lines,
        pytest.raises(UsageError, match=r"lacks the column amount, which payment needs\. Did you mean amout"),
    ):
        Intake(events, settings, None).submissions(lines, "a.avro", "payment")


# ---- damage


def numbers(path, count=2_000):
    """A file of some twenty blocks."""
    return avro_file(path, NUMBERS, [{"n": number, "text": "x" * 20} for number in range(count)])


def test_a_damaged_record_costs_the_rest_of_its_block_and_no_more(tmp_path):
    path = numbers(tmp_path / "a.avro")
    content = bytearray(path.read_bytes())
    at = content.index(b"x" * 20, len(content) // 2)
    content[at - 1] = 0xFF
    path.write_bytes(content)
    found = list(read_lines(path))
    broken = [line for line in found if line.columns is None]

    assert len(broken) == 1
    assert "the block is damaged here, and the" in broken[0].error
    lost = int(broken[0].error.split(" records")[0].rpartition(" ")[2])
    assert len(found) - 1 + lost == 2_000
    assert 0 < lost < 100
    assert found[-1].columns["n"] == 1_999
    assert [line.number for line in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("piece_bytes", [1 << 20, 23])
def test_a_block_whose_length_is_wrong_is_passed_over_to_the_next(tmp_path, monkeypatch, piece_bytes):
    monkeypatch.setattr(avro_files, "PIECE_BYTES", piece_bytes)
    path = numbers(tmp_path / "a.avro")
    content = bytearray(path.read_bytes())
    marker = bytes(content[-16:])
    first = content.index(marker) + 16
    second = content.index(marker, first) + 16
    content[second + 2 : second + 4] = b"\xff\xff"
    path.write_bytes(content)
    found = list(read_lines(path))

    assert sum(line.columns is None for line in found) == 1
    assert found[-1].columns["n"] == 1_999
    assert len(found) > 1_800


def test_bytes_behind_the_last_record_of_a_block_are_told(tmp_path):
    path = avro_file(tmp_path / "a.avro", NUMBERS, [{"n": 1, "text": "x"}, {"n": 2, "text": "y"}])
    content = path.read_bytes()
    marker = content[-16:]
    at = content.index(marker) + 16
    path.write_bytes(content[:at] + b"\x02" + content[at + 1 :])  # one record, and the bytes of two
    first, second = read_lines(path)

    assert first.columns == {"n": 1, "text": "x"}
    assert (second.error, second.raw) == ("3 bytes follow the last record of a block", b"\x04\x02y")


def test_a_file_that_ends_too_early_says_where(tmp_path):
    path = numbers(tmp_path / "a.avro")
    path.write_bytes(path.read_bytes()[:-700])

    with pytest.raises(UsageError, match=r"a\.avro is damaged behind byte [0-9,]+"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is not an Avro file"),
        (b"PAR1", "is not an Avro file"),
        (b"Obj\x01\xff\xff\xff", "its header is damaged"),
        (b'Obj\x01\x02\x16avro.schema\x0c{"a":}\x00', "its schema is not read: it is not JSON"),
    ],
)
def test_what_is_no_avro_file_says_so(tmp_path, content, words):
    path = tmp_path / "a.avro"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=words.replace("its schema", "The schema of .*")):
        read_lines(path)


def test_a_compression_that_is_not_read_names_those_that_are(tmp_path):
    path = numbers(tmp_path / "a.avro", 1)
    path.write_bytes(path.read_bytes().replace(b"\x14avro.codec\x08null", b"\x14avro.codec\x0clzfast"))

    with pytest.raises(UsageError, match="compressed by lzfast; write it with one of null, deflate, bzip2, xz, snappy"):
        read_lines(path)


def test_blocks_by_snappy_and_zstandard_are_read(tmp_path, monkeypatch):
    path = avro_file(tmp_path / "a.avro", NUMBERS, [{"n": n, "text": "x" * 50} for n in range(2_000)], "zstandard")
    content, unsnapped = b"abc" * 1_000, avro_files._CODECS["snappy"]
    packed = pa.compress(content, codec="snappy", asbytes=True)
    assert [line.columns["n"] for line in read_lines(path)] == list(range(2_000))
    assert unsnapped(packed + crc32(content).to_bytes(4)) == content
    with pytest.raises(ValueError, match="checksum"):
        unsnapped(packed + b"0000")
    monkeypatch.setattr(avro_files, "BLOCK_BYTES_MAX", 50)

    with pytest.raises(ValueError, match="too large"):
        unsnapped(packed + crc32(content).to_bytes(4))


def test_a_small_block_cannot_fill_the_memory(tmp_path, monkeypatch):
    path = avro_file(tmp_path / "a.avro", NUMBERS, [{"n": 1, "text": "x" * 100_000}], "deflate")
    monkeypatch.setattr(avro_files, "BLOCK_BYTES_MAX", 50_000)
    (line,) = read_lines(path)

    assert line.error == "a block of 1 records cannot be uncompressed"
    assert len(line.raw) < 1_000


@pytest.mark.slow
def test_what_was_refused_of_a_file_comes_back_by_the_same_mapping(tmp_path, capfd):
    folder = tmp_path / "bank"
    assert run(["init", str(folder), "--template", "payments"]) == 0
    rows, _ = payments(3)
    rows[1]["channel"] = "drone"
    path = avro_file(tmp_path / "rows.avro", SCHEMA, rows)
    assert run(["-C", str(folder), "ingest", str(path), "--as", "payment"]) == 4
    events = folder / "events.yaml"
    events.write_text(
        events.read_text("utf-8").replace("choice(pos, web, atm)", "choice(pos, web, atm, drone)"), "utf-8"
    )
    capfd.readouterr()

    assert run(["-C", str(folder), "quarantine", "retry", "--json"]) == 0
    assert [item.id for item in logged(folder) if item.type == "payment"] == ["p-0", "p-2", "p-1"]


def test_progress_of_a_file_is_told_by_its_bytes(tmp_path):
    path = numbers(tmp_path / "a.avro")
    with closing(read_lines(path)) as lines:
        next(lines)
        assert 0 < lines.extent.read_bytes() < lines.extent.size_bytes == path.stat().st_size
        list(lines)
        assert lines.extent.read_bytes() == path.stat().st_size


def test_typed_rows_of_a_file_become_the_events_that_messages_of_them_become(tmp_path):
    events, settings = project("amount: money, note: text?")
    path = avro_file(
        tmp_path / "a.avro",
        record(("id", "string"), ("at", TIME), ("amount", "float"), ("note", ["null", "string"])),
        [{"id": "p", "at": datetime(1970, 1, 1, tzinfo=UTC), "amount": 131_071.99, "note": None}],
    )
    (found,) = taken(read_lines(path), "avro", events, settings)

    assert found.event.values == ("p", 0, 13_107_199, None)
    assert found.raw() == b'{"amount":131071.99,"at":"1970-01-01T00:00:00Z","id":"p","note":null}'
