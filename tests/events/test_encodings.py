"""Bytes to lines: CSV, JSON lines and Parquet, and what is said where they are broken."""

from __future__ import annotations

import bz2
import gzip
import io
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from shroff.errors import UsageError
from shroff.events.formats import csv_records, encodings
from shroff.events.formats.encodings import file_format, json_columns, read_lines, read_stream
from shroff.events.formats.lines import Lines, line_and_row
from shroff.events.raw_values import (
    DEPTH_MAX,
    Float32,
    Instant,
    LocalTime,
    Number,
    RawDuration,
    canonical_json,
    inside,
    text_of,
)
from shroff.events.readers import read_text

PAYSIM = (  # the first lines of paysim_first19998.csv
    b"step,type,amount,nameOrig\r\n1,PAYMENT,9839.64,C1231006815\r\n1,TRANSFER,181,C1305486145\r\n"
)
ATM = (  # of creditcarddata_atm_usa_2429.csv, which is windows-1252
    b"Transaction ID,Amount,Bank\r\n#3580 308,\xa3349,Barclays\r\n#2550 318,,Barlcays\r\n"
)
EXTRACT = (  # of creditcarddata_extract_50.csv, which begins with a byte order mark
    b"\xef\xbb\xbfTransaction ID,Amount,Bank\n#3577 209,\xc2\xa35,RBS\n"
)
AMPLITUDE = (  # of amplitude_export_sample.jsonl
    b'{"$insert_id": "google-ad-1", "city": null, '
    b'"event_properties": {"ad_metrics.cost": 0.528957, "ad_id": 643022056303}}\n'
)
DEEP = b"[" * 700 + b"]" * 700
DEEPER = b"[" * 5_000 + b"]" * 5_000  # than the decoder goes


def csv_of(content: bytes) -> Lines:
    return read_stream(io.BytesIO(content), "csv", name="f.csv")


def json_of(content: bytes) -> Lines:
    return read_stream(io.BytesIO(content), "jsonl")


def errors_of(lines: Lines) -> list[str | None]:
    return [line.error for line in lines]


def test_csv_lines_have_their_number_their_columns_and_their_bytes():
    lines = csv_of(PAYSIM)
    first, second = lines

    assert lines.columns == ("step", "type", "amount", "nameOrig")
    assert (first.number, first.raw) == (1, b"1,PAYMENT,9839.64,C1231006815\r\n")
    assert (second.number, second.columns) == (
        2,
        {"step": "1", "type": "TRANSFER", "amount": "181", "nameOrig": "C1305486145"},
    )


def test_csv_is_utf_8_with_a_mark_or_windows_1252():
    assert [line.columns["Amount"] for line in csv_of(ATM)] == ["£349", ""]
    assert [line.columns for line in csv_of(EXTRACT)] == [
        {"Transaction ID": "#3577 209", "Amount": "£5", "Bank": "RBS"}
    ]


def test_the_first_line_that_is_not_ascii_decides_for_the_file():
    is_utf8 = csv_of("a\nplain\n£\n".encode() + b"\xa3\n" + "é\n".encode())
    is_latin = csv_of(b"a\nplain\n\xa3\n" + "£".encode() + b"\n")

    assert [line.error or line.columns["a"] for line in is_utf8] == [
        "plain",
        "£",
        "the line is not UTF-8, as the lines before it are",
        "é",
    ]
    assert [line.columns["a"] for line in is_latin] == ["plain", "£", "Â£"]


def test_quoted_texts_may_hold_commas_quotes_and_line_ends():
    (line, last) = csv_of(b'a,b\n"1,\r\n2","say ""hi"""\nx,y\n')

    assert line.columns == {"a": "1,\r\n2", "b": 'say "hi"'}
    assert line.raw == b'"1,\r\n2","say ""hi"""\n'
    assert (last.number, last.raw) == (2, b"x,y\n")


@pytest.mark.parametrize(
    ("header", "separator", "columns"),
    [
        (b"a,b", ",", ("a", "b")),
        (b"a;b", ";", ("a", "b")),
        (b"a\tb", "\t", ("a", "b")),
        (b"a|b", "|", ("a", "b")),
        (b"only", ",", ("only",)),
        (b"Amount, net;Amount;Fee", ";", ("Amount, net", "Amount", "Fee")),
        (b'a,"b;c;d"', ",", ("a", "b;c;d")),
        (b"a;b,c", ",", ("a;b", "c")),  # as many of both: a comma
        (b"\xef\xbb\xbfa;b", ";", ("a", "b")),
        (b"\n\na;b", ";", ("a", "b")),
    ],
)
def test_columns_are_parted_by_the_sign_that_the_header_has_most_often(header, separator, columns):
    values = [f"{number},5" if separator != "," else f"{number};5" for number in range(len(columns))]
    lines = csv_of(header + f"\n{separator.join(values)}\n".encode())
    (line,) = lines

    assert (lines.separator, lines.columns) == (separator, columns)
    assert line.columns == dict(zip(columns, values, strict=True))


def test_after_a_stray_quotation_mark_columns_are_parted_as_before():
    first, broken, last = csv_of(b'a;b\n1;2\n3;"4"x\n5;6\n')

    assert (first.columns, broken.columns, last.columns) == ({"a": "1", "b": "2"}, None, {"a": "5", "b": "6"})


def test_blank_lines_are_no_data_and_a_last_line_needs_no_end():
    assert [(line.number, line.columns) for line in csv_of(b"\na\n\n1\n\r\n2")] == [(1, {"a": "1"}), (2, {"a": "2"})]


@pytest.mark.parametrize(
    "line, words",
    [
        (b"1,2,3,4", "has 4 columns, the header has 3"),
        (b"1", "has 1 column, the header has 3"),
        (b'1,"2"x,3', "text follows a closing quotation mark; write a quotation mark inside a text twice"),
    ],
)
def test_a_broken_line_of_csv_is_an_error_of_that_line(line, words):
    before, broken, after = csv_of(b"a,b,c\n1,2,3\n" + line + b"\n4,5,6\n")

    assert before.columns == {"a": "1", "b": "2", "c": "3"}
    assert (broken.number, broken.error, broken.columns, broken.raw) == (2, words, None, line + b"\n")
    assert (after.number, after.columns) == (3, {"a": "4", "b": "5", "c": "6"})


def test_json_lines_keep_the_digits_of_numbers():
    (line,) = json_of(AMPLITUDE)

    assert line.columns["city"] is None
    assert line.columns["event_properties"] == {"ad_metrics.cost": Number("0.528957"), "ad_id": 643_022_056_303}
    assert type(line.columns["event_properties"]["ad_metrics.cost"]) is Number
    assert line.raw == AMPLITUDE


@pytest.mark.parametrize(
    "line, words",
    [
        (b'{"a": 1', "the line is not JSON"),
        (b"{'a': 1}", "the line is not JSON"),
        (b'{"a": 1} {"b": 2}', "the line is not JSON"),
        (b'{"a": NaN}', "the line is not JSON"),
        (b'{"a": "\\ud800"}', "the line is not JSON"),
        (b'{"a": "\xa3"}', "the line is not UTF-8"),
        (b"[1]", "expected a JSON object, found a list"),
        (b"4111.5", "expected a JSON object, found a number"),
        (b'"4111"', "expected a JSON object, found a text"),
        (b"null", "expected a JSON object, found null"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "the line is nested too deep"),
        (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), "the line is nested too deep"),
    ],
)
def test_a_broken_line_of_json_is_an_error_of_that_line(line, words):
    before, broken, after = json_of(b'\xef\xbb\xbf{"n": 1}\r\n\n' + line + b'\n{"n": 3}')

    assert (before.number, before.columns) == (1, {"n": 1})
    assert (broken.number, broken.columns, broken.raw) == (2, None, line + b"\n")
    assert broken.error.startswith(words)
    assert (after.number, after.columns) == (3, {"n": 3})


@pytest.mark.parametrize(
    "content, found",
    [
        (b'{\n  "id": "p1",\n  "amount": 1.10\n}\n', [{"id": "p1", "amount": "1.10"}]),
        (b'[\n  {"id": "p1"},\n  {"id": "p2"}\n]\n', [{"id": "p1"}, {"id": "p2"}]),
        (b'[{"id": "p1"}, 7]', [{"id": "p1"}, "expected a JSON object, found a number"]),
        (b'[{"a": %s}, {"id": "p2"}]' % DEEP, ["the line is nested too deep", {"id": "p2"}]),
        (b'[%s, {"id": "p2"}]' % DEEP, ["the line is nested too deep", {"id": "p2"}]),
        (b'[\n{"a": %s},\n{"a": 2}]' % DEEPER, ["the line is nested too deep", {"a": 2}]),
        (b'{"id": "p1"}\n{"id": "p2"}\n', [{"id": "p1"}, {"id": "p2"}]),
        (b'\n{"id": "p1"}\n{"id": "p2"}\n', [{"id": "p1"}, {"id": "p2"}]),
        (b'{"id": \n{"id": "p2"}\n', ["the line is not JSON", {"id": "p2"}]),
        (b"", []),
        (
            b'[{"id": "p1"},\n{"id": "p2" "a": 1}, {"id": "}\\"]"}]\n',
            [{"id": "p1"}, "the line is not JSON: JSON is malformed: expected", {"id": '}"]'}],
        ),
        (
            b'[{"id": "p1"}, {"id": NaN}, {"a": ["\xff"]}, [{}], {"a": [1]}]',
            [{"id": "p1"}, *["the line is not"] * 2, "expected", {"a": [1]}],
        ),
        (b'[\n{"id": "p2"}\n', [{"id": "p2"}, "the line is not JSON: Input data was truncated"]),
        (b'[{"id": "p1"}, {"id": "p2"', [{"id": "p1"}, "the line is not JSON: Input data was truncated"]),
        (b'[{"id": "p1"}, {"id": ]}, {"id": "p3"}]', [{"id": "p1"}, *["the line is not JSON"] * 2]),
        (b'[{"id": "p1"}] [{"id": "p2"}]', [{"id": "p1"}, "expected a JSON object, found a list"]),
        (b'["\xff"]', ["the line is not UTF-8"]),
    ],
)
def test_a_json_file_is_json_lines_or_one_document(tmp_path, content, found):
    path = tmp_path / "events.json"
    path.write_bytes(content)
    lines = list(read_lines(path))

    assert [line.number for line in lines] == list(range(1, len(found) + 1))
    for line, expected in zip(lines, found, strict=True):
        assert line.columns == expected if isinstance(expected, dict) else line.error.startswith(expected)


@pytest.mark.parametrize("bad", ['{"id": "bad", "note": "5" pipe"}', '{"id": "bad", "note": "cut}', '{"id": bad}'])
def test_a_stray_quotation_mark_in_an_element_changes_no_other_line(tmp_path, bad):
    elements = [f'{{"id": "p{number}"}}' for number in range(1_000)]
    path = tmp_path / "events.json"
    path.write_text("[" + ",\n".join([*elements[:2], bad, *elements[2:]]) + "]")

    lines = list(read_lines(path))

    assert [line.columns["id"] for line in lines if line.error is None] == [f"p{number}" for number in range(1_000)]
    assert [line.raw.decode() for line in lines if line.error is not None] == [bad]


@pytest.mark.parametrize(
    "bad",
    [
        '{"id": "bad", "n": 1',
        '{"id": "bad", "card": {"n": 1}',
        '{"id": "bad", "card": {"n": 1',
        '{"id": "bad", "items": [{"n": 1}, {"n": 2}',
        '{"id": "bad", "items": [{"n": 1, {"n": 2}]}',
        '{"id": "bad", "items": [1, 2}',
    ],
)
@pytest.mark.parametrize("at", [0, 2, 5])
def test_an_element_without_its_closing_bracket_changes_no_other_line(tmp_path, bad, at):
    elements = [f'{{"id": "p{number}", "card": {{"items": [{{"n": {number}}}]}}}}' for number in range(5)]
    path = tmp_path / "events.json"
    path.write_text("[" + ",\n".join([*elements[:at], bad, *elements[at:]]) + "]")
    lines = list(read_lines(path))

    if "[{" in bad and not bad.endswith("}]}"):  # the elements behind it could be items of its array
        assert [line.columns["id"] for line in lines[:at]] == [f"p{number}" for number in range(at)]
        assert all(line.error for line in lines[at:])
        return
    assert [line.columns["id"] for line in lines if line.error is None] == [f"p{number}" for number in range(5)]
    assert [(line.number, line.raw.decode()) for line in lines if line.error is not None] == [(at + 1, bad)]


def test_items_of_an_array_that_lacks_its_beginning_are_no_elements(tmp_path):
    path = tmp_path / "events.json"
    path.write_text('[{"id": "p1"}, {"id": "p2", "items": 1, {"id": "item"}]}, {"id": "p3"}]')

    assert [line.columns for line in read_lines(path) if line.error is None] == [{"id": "p1"}]


def test_a_json_list_may_be_one_line_and_says_what_to_do_where_it_is_too_long(tmp_path, monkeypatch):
    path, content = tmp_path / "events.json", b'[{"id": "p1"}, {"id": "p2"}]'
    path.write_bytes(content)
    monkeypatch.setattr(encodings, "LINE_BYTES_MAX", 20)

    assert [line.columns for line in read_lines(path)] == [{"id": "p1"}, {"id": "p2"}]
    monkeypatch.setattr(encodings, "DOCUMENT_BYTES_MAX", len(content) - 1)
    (cut,) = read_lines(path)
    assert len(cut.raw) == 21
    assert "at most 64 MiB; otherwise write one object on each line" in cut.error


@pytest.mark.parametrize("read", [lambda raw: (None, next(json_of(raw)).error), json_columns])
def test_only_a_line_of_a_file_on_which_a_list_begins_says_how_lists_are_read(read):
    words = [read(raw)[1].partition(":")[0].partition(".")[0] for raw in (b'[{"a": 1},', b'[{"a": 1},]', b'["\xff"]')]
    is_file = read is not json_columns

    assert words[0] == ("this list has no end on its line" if is_file else "the line is not JSON")
    assert words[1:] == ["the line is not JSON", "the line is not UTF-8"]


def test_an_element_of_a_json_list_has_its_canonical_form_as_its_bytes(tmp_path):
    path = tmp_path / "events.json"
    path.write_bytes(b'[ {"b": 1.10, "a": "x"} ]')

    assert [line.raw for line in read_lines(path)] == [b'{"a":"x","b":1.10}']


@pytest.mark.parametrize("make, head", [(json_of, b""), (csv_of, b"a\n")])
def test_a_line_without_end_does_not_fill_the_memory(make, head, monkeypatch):
    for module in (encodings, csv_records):
        monkeypatch.setattr(module, "LINE_BYTES_MAX", 20)
    long, after = make(head + b'{"a": "' + b"x" * 100 + b'"}\n{"a": 1}\n')

    assert long.error == "the line is longer than 20 bytes"
    assert len(long.raw) == 21
    assert (after.number, after.error) == (2, None)


def test_a_compressed_file_is_read_like_any_other(tmp_path):
    path = tmp_path / "march.csv.gz"
    path.write_bytes(gzip.compress(PAYSIM))

    assert [line.columns["amount"] for line in read_lines(path)] == ["9839.64", "181"]


def test_a_compressed_file_that_ends_too_early_says_so_after_its_last_whole_line(tmp_path):
    path = tmp_path / "lines.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1_000, mtime=0)[:-12])
    lines = read_lines(path)

    with pytest.raises(UsageError, match=r"lines\.jsonl\.gz is not whole"):
        list(lines)


def table(tmp_path, **columns):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_rows_keep_what_their_columns_say(tmp_path):
    path = table(
        tmp_path,
        TRANSACTION_ID=pa.array([0, 1], pa.int32()),
        TX_DATETIME=pa.array([1_522_540_831_000, None], pa.timestamp("ms")),
        fine=pa.array([-1, 1_999_999], pa.timestamp("ns", tz="Europe/Berlin")),
        TX_AMOUNT=pa.array([57.16, None]),
        narrow=pa.array([0.1, None], pa.float32()),
        exact=pa.array([Decimal("1.10"), None]),
        day=pa.array([date(2026, 3, 1), None]),
        kind=pa.array(["a", None]).dictionary_encode(),
        nested=pa.array([{"a": [1]}, None]),
    )
    lines = read_lines(path)
    first, second = lines

    assert lines.columns[:2] == ("TRANSACTION_ID", "TX_DATETIME")
    assert first.columns["TX_DATETIME"] == Instant(1_522_540_831_000)
    assert first.columns["fine"] == Instant(-1)  # cut off towards the past
    assert [
        type(first.columns[name]) for name in ("TX_DATETIME", "TX_AMOUNT", "narrow", "exact", "kind", "nested")
    ] == [LocalTime, float, Float32, Number, str, dict]
    assert second.columns["fine"] == Instant(1)
    assert [second.columns[name] for name in ("TX_DATETIME", "TX_AMOUNT", "narrow", "exact", "kind", "nested")] == [
        None
    ] * 6
    assert first.raw == (
        b'{"TRANSACTION_ID":0,"TX_AMOUNT":57.16,"TX_DATETIME":"2018-04-01T00:00:31Z","day":"2026-03-01","exact":1.10,'
        b'"fine":"1969-12-31T23:59:59.999Z","kind":"a","narrow":0.1,"nested":{"a":[1]}}'
    )


def test_a_text_of_parquet_that_is_no_utf_8_keeps_its_bytes_and_costs_its_own_row(tmp_path):
    texts = pa.array([b"a", b"\xe2\x82", b"\xc3\xa9"], pa.binary()).view(pa.string())
    first, broken, last = read_lines(
        table(
            tmp_path,
            text=texts,
            kind=texts.dictionary_encode(),
            nested=pa.StructArray.from_arrays([texts, pa.array([[1], None, [2]])], ["t", "n"]),
        )
    )

    assert (first.columns["text"], last.columns["nested"]) == ("a", {"t": "é", "n": [2]})
    assert broken.raw == b'{"kind":"\xe2\x82","nested":{"n":null,"t":"\xe2\x82"},"text":"\xe2\x82"}'
    for found in (broken.columns["text"], broken.columns["kind"], text_of(broken.columns["nested"])):
        with pytest.raises(ValueError, match="not UTF-8"):
            read_text(found)


def test_views_of_parquet_are_read_like_what_they_are_views_of(tmp_path):
    texts = pa.array(["a", "é" * 20, None])
    path = table(
        tmp_path,
        text=texts.cast(pa.string_view()),
        binary=texts.cast(pa.binary()).cast(pa.binary_view()),
        nested=pa.array([{"t": ["a"]}, {"t": []}, None], pa.struct([("t", pa.list_(pa.string_view()))])),
    )

    assert [tuple(line.columns.values()) for line in read_lines(path)] == [
        ("a", b"a", {"t": ["a"]}),
        ("é" * 20, ("é" * 20).encode(), {"t": []}),
        (None, None, None),
    ]


def test_more_milliseconds_than_64_bits_hold_are_beyond_every_duration(tmp_path):
    rows = read_lines(table(tmp_path, span=pa.array([2**62, -(2**62), 5], pa.int64()).cast(pa.duration("s"))))
    far, before, near = (line.columns["span"] for line in rows)

    assert far > 2**62
    assert before < -(2**62)
    assert near == RawDuration(5_000)


def test_parquet_is_read_in_batches_and_numbered_through(tmp_path, monkeypatch):
    monkeypatch.setattr("shroff.events.formats.parquet.ROWS_AT_ONCE", 3)

    assert [(line.number, line.columns["n"]) for line in read_lines(table(tmp_path, n=list(range(8))))] == [
        (at + 1, at) for at in range(8)
    ]


@pytest.mark.parametrize(
    "name, format",
    [("a.csv", "csv"), ("a.CSV.gz", "csv"), ("a.ndjson", "jsonl"), ("a.json", "jsonl"), ("a.b.parquet", "parquet")],
)
def test_the_format_is_what_the_name_ends_in(tmp_path, name, format):
    assert file_format(tmp_path / name) == format


def test_a_named_format_is_taken_before_the_ending(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(PAYSIM)

    with read_lines(path, "jsonl") as lines:
        assert lines.format == "jsonl"
    with pytest.raises(UsageError, match=r"'jsnl' is no format. Did you mean jsonl\?"):
        read_lines(path, "jsnl")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(("name", "text"), [("a.csv", "id,at\n1,2\n"), ("a.txt", "id;at\n"), ("a.csv", "金額,時間\n")])
def test_utf_16_without_a_mark_is_known_by_its_zeros(tmp_path, encoding, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))

    with pytest.raises(UsageError, match="is UTF-16; save it as UTF-8"), read_lines(path) as lines:
        list(lines)


def test_what_is_no_file_to_read_is_said_before_the_first_line(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 or not")
    (tmp_path / "wide.csv").write_bytes(b"\xff\xfea\x00\n\x00")
    (tmp_path / "double.csv").write_bytes(b"a,b,a\n1,2,3\n")
    (tmp_path / "packed.csv").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (tmp_path / "classic.csv").write_bytes(b"a,b\r1,2\r")

    for name, words in [
        ("none.csv", "There is no file"),
        ("folder.csv", "is a folder"),
        ("broken.parquet", "cannot be read as Parquet"),
        ("wide.csv", "is UTF-16; save it as UTF-8"),
        ("double.csv", "has the column 'a' twice"),
        ("packed.csv", r"packed\.csv is compressed; give it a name that ends in \.gz"),
        (
            "classic.csv",
            r"header of classic\.csv cannot be read: a line ends in CR alone; save the file with LF or CR LF",
        ),
    ]:
        with pytest.raises(UsageError, match=words), read_lines(tmp_path / name) as lines:
            assert lines.columns is None


@pytest.mark.parametrize(
    ("ending", "pack"), [("bz2", bz2.compress), ("zst", zstandard.compress), ("gz", gzip.compress)]
)
def test_each_compression_is_read(tmp_path, ending, pack):
    content = b"id,at\n" + b"".join(b"%d,x\n" % number for number in range(30_000))
    path = tmp_path / f"a.csv.{ending}"
    path.write_bytes(pack(content))
    (tmp_path / "a.txt").write_bytes(pack(b"id;at\n1;2\n"))
    with read_lines(path) as lines:
        assert [line.columns["id"] for line in lines] == [str(number) for number in range(30_000)]
        assert lines.extent.read_bytes() == lines.extent.size_bytes == path.stat().st_size
    path.write_bytes(pack(content)[:-20])

    with pytest.raises(UsageError, match="is not whole"), read_lines(path) as lines:
        list(lines)
    with pytest.raises(UsageError, match=rf"is compressed; give it a name that ends in \.{ending}"):
        list(read_lines(tmp_path / "a.txt"))


TYPED = b'{"id":"1"}\n'


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.tsv", b"id\tat\n1\t2\n", "csv"),
        ("a.txt", b"id;at\n1;2\n", "csv"),
        ("a.TXT.gz", gzip.compress(b"id;at\n1;2\n", mtime=0), "csv"),
        ("a.txt", b"\xef\xbb\xbf \n" + TYPED, "jsonl"),
        ("a.txt", b"[" + TYPED + b"]", "jsonl"),
        ("a.dat", TYPED, "jsonl"),
        ("a", TYPED, "jsonl"),
        ("a.2026-03-01", TYPED, "jsonl"),
    ],
)
def test_a_file_whose_name_does_not_say_its_format_is_read_by_its_content(tmp_path, name, content, format):
    (tmp_path / name).write_bytes(content)

    with read_lines(tmp_path / name) as lines:
        assert lines.format == format
        assert len(list(lines)) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"PK\x03\x04", "is a spreadsheet; save the sheet as CSV"),
        ("a.xls", b"\xd0\xcf\x11\xe0", "is a spreadsheet; save the sheet as CSV"),
        ("a.csv", b"PK\x03\x04more", "is a spreadsheet; save the sheet as CSV"),
        ("a.zip", b"PK\x03\x04", "is an archive; unpack it, and name the files in it"),
        ("a.csv.lz4", b"", "is compressed; unpack it, or compress it by gzip"),
        ("a.bin", b"a,b\n1,2\n", "its content does not show what it is; name it so. The commands ingest"),
        ("a.txt", b"", "its content does not show"),
        ("a.txt", b"\0\1", "its content does not show"),
    ],
)
def test_a_file_of_no_format_says_what_to_do(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=re.escape(words)), read_lines(tmp_path / name) as lines:
        assert lines.columns is None


@pytest.mark.parametrize("size", [19, 20, 21, 22, 42])
@pytest.mark.parametrize("read", [csv_of, json_of])
def test_a_line_of_any_length_near_the_limit_takes_no_other_with_it(monkeypatch, read, size):
    for module in (encodings, csv_records):
        monkeypatch.setattr(module, "LINE_BYTES_MAX", 20)
    lines = list(read(b"[]\n" + b"x" * size + b"\n[1]\n[2]\n"))

    assert [line.raw.strip() for line in lines][-2:] == [b"[1]", b"[2]"]


def test_a_line_that_is_cut_off_in_a_character_does_not_make_its_file_latin_1(monkeypatch):
    for module in (encodings, csv_records):
        monkeypatch.setattr(module, "LINE_BYTES_MAX", 20)
    long, after = csv_of("a\n{}\nBüro\n".format("é" * 30).encode())

    assert long.error == "the line is longer than 20 bytes"
    assert after.columns == {"a": "Büro"}


def test_a_column_that_is_too_long_is_said_to_be_that():
    lines = csv_of(b"a,b\n1," + b"x" * 200_000 + b"\n2,3\n")

    assert errors_of(lines) == ["a column has more than 131,072 characters", None]


def test_an_empty_csv_file_has_no_header_and_one_with_a_header_only_no_lines():
    with pytest.raises(UsageError, match=r"f\.csv is empty; a CSV file begins with a line of column names"):
        csv_of(b"").columns  # noqa: B018 (reads it)

    assert list(csv_of(b"a,b\n")) == []
    assert list(json_of(b"")) == []


def test_a_stream_gives_each_line_as_soon_as_it_is_there():
    class Slow(io.BytesIO):
        def readline(self, size=-1):
            asked.append(size)
            return super().readline(size)

    asked: list[int] = []
    lines = read_stream(Slow(b'{"a": 1}\n{"a": 2}\n'), "jsonl")

    assert next(lines).columns == {"a": 1}
    assert len(asked) == 1


def test_a_stream_is_closed_at_its_end():
    stream = io.BytesIO(b'{"a": 1}\n')
    list(read_stream(stream, "jsonl"))

    assert stream.closed


def test_a_file_that_is_left_early_is_closed():
    stream = io.BytesIO(b'{"a": 1}\n{"a": 2}\n')
    with read_stream(stream, "jsonl") as lines:
        next(lines)

    assert stream.closed


def test_formats_that_need_more_than_a_stream_are_refused():
    for format in ("parquet", "avro"):
        with pytest.raises(UsageError, match=f"{format.capitalize()} cannot be read from a stream"):
            read_stream(io.BytesIO(), format)


@pytest.mark.parametrize("following", [1, 500])
def test_a_stray_quotation_mark_costs_its_own_line_and_not_the_file(tmp_path, following):
    path = tmp_path / "f.csv"
    rows = "".join(f"p{number},x\n" for number in range(following))
    path.write_text(f'id,name\np,"x\n{rows}', encoding="utf-8")
    first, *rest = read_lines(path)

    assert first.columns is None
    assert "does not end" in (first.error or "")
    assert first.raw == b'p,"x\n'
    assert [line.columns for line in rest] == [{"id": f"p{number}", "name": "x"} for number in range(following)]


# ---- where a line stands


def places(folder: Path, name: str, text: str) -> list[tuple[int, str]]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    with read_lines(path) as lines:
        return [(line.number, line.place) for line in lines]


def test_a_place_is_the_line_that_an_editor_shows_and_the_number_among_data_lines(tmp_path):
    #  line    1    2     3     4 and 5        6     7
    #          a,b  1,2         3,"x           "     5,6
    text = 'a,b\n1,2\n\n3,"x\ny"\n5,6\n'

    assert places(tmp_path, "in.csv", text) == [(1, "2 (row 1)"), (2, "4 (row 2)"), (3, "6 (row 3)")]


def test_empty_lines_above_a_header_and_a_stray_quotation_mark_count_too(tmp_path):
    text = '\n\na,b\n1,"2\n3,4\n5,6,7\n'

    assert places(tmp_path, "in.csv", text) == [(1, "4 (row 1)"), (2, "5 (row 2)"), (3, "6 (row 3)")]


def test_of_json_lines_the_place_is_the_number_unless_lines_are_empty(tmp_path):
    assert places(tmp_path, "in.jsonl", '{"a":1}\nno\n') == [(1, "1"), (2, "2")]
    assert places(tmp_path, "in.jsonl", '\n{"a":1}\n  \n{"a":2}\n') == [(1, "2 (row 1)"), (2, "4 (row 2)")]
    assert places(tmp_path, "in.json", '[{"a":1},\n\n{"a":2}]') == [(1, "1"), (2, "2")]


@pytest.mark.parametrize(("place", "found"), [("9 (row 8)", ("9", 8)), ("8", ("8", 8)), ("p/1", ("p/1", None))])
def test_a_place_gives_its_line_and_its_row_again(place, found):
    assert line_and_row(place) == found


def test_what_is_as_deep_as_a_line_may_be_is_written_and_a_text_that_is_deeper_holds_nothing():
    at_most = b'{"a":' * DEPTH_MAX + b"1" + b"}" * DEPTH_MAX
    columns, words = json_columns(at_most)

    assert words is None
    assert canonical_json(columns).encode() == at_most
    assert inside(DEEP.decode(), 0) is None


@pytest.mark.parametrize(
    ("content", "library"),
    [
        (":20:START\r\n:25:37040044/0532013000\r\n", "mt-940"),
        ("\n{1:F01BANKDEFF}{2:O940}{4:\n:20:START\n", "mt-940"),
        ("OFXHEADER:100\nDATA:OFXSGML\n", "ofxtools"),
        ('<?OFX OFXHEADER="200"?><OFX>', "ofxtools"),
        ("!Type:Bank\nD01/05/2026\n", "quiffen"),
    ],
)
@pytest.mark.parametrize("name", ["a.sta", "a.txt", "a.ofx"])
def test_a_bank_statement_is_refused_with_the_page_that_turns_it_into_lines(tmp_path, content, library, name):
    path = tmp_path / name
    path.write_text(content, newline="")
    with pytest.raises(UsageError, match=rf"pip install {library}, .*docs/howto/map-a-csv.md, Bank statements"):
        read_lines(path)
