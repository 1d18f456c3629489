"""Files as a source: read to their end, each from where it was left."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from shroff.adapters.sources.files import FileSource
from shroff.errors import StateError, UsageError
from shroff.streams.source import PolledMessages


def lines_of(count: int, first: int = 0) -> bytes:
    return b"".join(b'{"n": %d}\n' % number for number in range(first, first + count))


def read(source: FileSource, limit: int = 10) -> list[PolledMessages]:
    found: list[PolledMessages] = []
    while taken := source.poll(limit, 0.0):
        found += taken
    return found


def numbers(found: list[PolledMessages]) -> list[object]:
    return [line.columns["n"] for item in found for line in item.lines if line.columns is not None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.jsonl"
    found.write_bytes(lines_of(25))
    return found


@pytest.mark.parametrize("limit", [1, 10, 4_096])
def test_files_come_one_after_the_other_and_then_nothing_more(path, tmp_path, limit):
    (tmp_path / "b.jsonl").write_bytes(lines_of(3, 25))
    source = FileSource([path, tmp_path / "b.jsonl"])
    source.start({})
    found = read(source, limit)

    assert numbers(found) == list(range(28))
    assert all(len(item.lines) <= limit for item in found)
    assert source.health().lag == 0
    assert source.poll(limit, 0.0) == []


def test_reading_goes_on_exactly_behind_any_offset(path):
    source = FileSource([path])
    source.start({})
    for row in read(source, 4):
        other = FileSource([path])
        other.start({"a.jsonl": row.offset})

        assert numbers(read(other)) == list(range(row.lines[-1].number, 25))


def test_to_start_again_gives_again_what_was_polled_since(path):
    source = FileSource([path])
    source.start({})
    (first,) = source.poll(10, 0.0)
    source.poll(10, 0.0)
    source.start({"a.jsonl": first.offset})

    assert numbers(read(source)) == list(range(10, 25))


def test_a_file_that_got_longer_is_read_on(path):
    source = FileSource([path])
    source.start({})
    offset = read(source)[-1].offset
    path.write_bytes(lines_of(27))
    source.start({"a.jsonl": offset})

    assert numbers(read(source)) == [25, 26]


CSV = b"id,amount\na,1.00\nb,2.00\n"


@pytest.mark.parametrize(
    ("name", "before", "more", "anew"),
    [
        ("a.csv", CSV + b"c,1", b"00.00\nd,4.00\n", ["c,100.00", "d,4.00"]),  # a value that is whole by itself
        ("a.csv", CSV + b"c", b",3.00\nd,4.00\n", ["c,3.00", "d,4.00"]),
        ("a.csv", CSV + b"c,3.00", b"\n", []),
        ("a.csv", CSV + b"c,3.00", b"\nd,4.00\n", ["d,4.00"]),
        ("a.csv", CSV + b"c,3.00\r", b"\n", []),
        ("a.csv", CSV + b'c,"3\nx,y', b'"\nd,4.00\n', ['c,"3\nx,y"', "d,4.00"]),  # several lines, one record
        ("a.csv", CSV + b'c,"3\n', b'x"\nd,4.00\n', ['c,"3\nx"', "d,4.00"]),
        ("a.jsonl", b'{"n": 1}\n{"n"', b': 2}\n{"n": 3}\n', ['{"n": 2}', '{"n": 3}']),
        ("a.jsonl", b'{"n": 1}\n{"n": 2}', b'\n{"n": 3}\n', ['{"n": 3}']),
        ("a.json", b'[\n{"n": 1},\n{"n": 2}', b',\n{"n": 3}]', ['{"n":1}', '{"n":2}', '{"n":3}']),
    ],
)
@pytest.mark.parametrize("limit", [10, 1])  # lines of one record may come in several polls
def test_a_last_line_that_went_on_is_read_anew(tmp_path, name, before, more, anew, limit):
    path, told = tmp_path / name, list[str]()
    path.write_bytes(before)
    source = FileSource([path], tell=told.append)
    source.start({})
    offset = read(source, limit)[-1].offset
    assert bool(told) == (name == "a.csv" and not before.endswith(b"\n"))
    told.clear()
    path.write_bytes(before + more)
    source.start({name: offset})

    assert [line.raw.decode().rstrip() for item in read(source, limit) for line in item.lines] == anew
    assert bool(told) == (anew[:1] not in ([], ["d,4.00"], ['{"n": 3}']))


@pytest.mark.parametrize("limit", [10, 1])
def test_a_record_that_grew_over_several_runs_is_read_whole(tmp_path, limit):
    path, offsets, lines = tmp_path / "a.csv", dict[str, str](), list[str]()
    for more in (CSV + b'c,"3\n4\n', b"5\n6\n", b'7"\nd,4.00\n', b"e,5.00\n"):
        with path.open("ab") as file:
            file.write(more)
        source = FileSource([path])
        source.start(offsets)
        taken = read(source, limit)
        offsets = {"a.csv": taken[-1].offset}
        lines = [line.raw.decode().rstrip() for item in taken for line in item.lines if line.error is None]
        if more.startswith(b"7"):
            assert lines == ['c,"3\n4\n5\n6\n7"', "d,4.00"]

    assert lines == ["e,5.00"]


@pytest.mark.parametrize("begin", [b'[\n{"n":0}', b'[{"n":0}', b'{"count": 2, "n":\n[0'])
@pytest.mark.parametrize(("count", "limit"), [(2, 1), (1_000, 300), (1_000, 4_096)])
def test_a_document_that_a_writer_was_in_the_middle_of_is_read_whole(tmp_path, begin, count, limit):
    path, offsets, is_list = tmp_path / "a.json", dict[str, str](), begin.startswith(b"[")
    item = b',\n{"n":%d}' if is_list else b",\n%d"
    middle = b"".join(item % number for number in range(1, count))
    for more in (begin, middle, item % count * 2 + (b"]" if is_list else b"]}")):  # the last but one is as before
        with path.open("ab") as file:
            file.write(more)
        source = FileSource([path])
        source.start(offsets)
        taken = read(source, limit)
        offsets = {"a.json": taken[-1].offset}

    whole = [*range(count + 1), count]
    assert numbers(taken) == (whole if is_list else [whole])


@pytest.mark.parametrize("begin", [[b"# by till 7\n"], [b"# by till 7\n", lines_of(1)], [lines_of(1)]])
def test_json_lines_that_cannot_become_a_document_are_read_anew_from_the_last_line_of_a_run(tmp_path, begin):
    path, offsets, taken = tmp_path / "a.json", dict[str, str](), list[PolledMessages]()
    for more in (*begin, lines_of(500, 1), b'{"n": ', b"501}\n"):
        with path.open("ab") as file:
            file.write(more)
        source = FileSource([path])
        source.start(offsets)
        taken = read(source)
        offsets = {"a.json": taken[-1].offset}

    assert [line.columns for item in taken for line in item.lines] == [{"n": 500}, {"n": 501}]


@pytest.mark.parametrize("offset", ["25:9:ab:1:x", "25@[25, 9]x"])
def test_an_offset_of_another_form_is_refused_and_named(path, offset):
    words = f"the offset 'files, a.jsonl' of the log cannot be read: {offset.removeprefix('25@')!r}"
    with pytest.raises(StateError, match=re.escape(words)):
        FileSource([path]).start({"a.jsonl": offset})


def test_another_file_of_the_same_name_is_read_from_its_first_line(path):
    source = FileSource([path])
    source.start({})
    offset = read(source)[-1].offset
    path.write_bytes(lines_of(2, 100))
    source.start({"a.jsonl": offset})

    assert numbers(read(source)) == [100, 101]


def test_a_csv_tells_its_columns_and_goes_on_behind_its_head(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n,m\n1,2\n3,4\n5,6\n")
    source = FileSource([path], "payment")
    source.start({})
    (first,) = source.poll(2, 0.0)
    source.start({"a.csv": first.offset})

    assert (first.type, first.format, first.columns) == ("payment", "csv", ("n", "m"))
    assert [(line.columns, line.place) for line in source.poll(9, 0.0)[0].lines] == [
        ({"n": "5", "m": "6"}, "4 (row 3)")
    ]


def test_what_could_be_read_of_a_file_that_is_cut_off_comes_before_the_error(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(lines_of(20_000))[:-2_000])
    source = FileSource([path])
    source.start({})
    found = source.poll(1_000_000, 0.0)
    count = len(numbers(found))

    assert 0 < count < 20_000
    assert numbers(found) == list(range(count))
    with pytest.raises(UsageError, match=r"a\.jsonl\.gz"):
        source.poll(10, 0.0)


def test_two_files_of_one_name_are_refused(path, tmp_path):
    with pytest.raises(UsageError, match="same name"):
        FileSource([path, tmp_path / "other" / "a.jsonl"])


def test_closing_twice_does_nothing(path):
    source = FileSource([path])
    source.start({})
    source.poll(1, 0.0)
    source.close()
    source.close()
