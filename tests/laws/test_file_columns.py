"""The law of files as columns: the same events are taken, with the same places and values, as event by event."""

from __future__ import annotations

import json
import tempfile
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import shroff
from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.features.frames import Dictionary
from shroff.language.columns import values_of
from shroff.log.columns import files as columnar
from shroff.log.columns.files import Arrivals, Coder, file_columns
from shroff.log.columns.ids import TAKEN, ascend, hash_texts
from shroff.log.state.feature_events import LeftOut, file_batches
from shroff.project.definitions import load_definitions
from shroff.runtime.progress import ahead
from tests.support.effort import examples

LAW = settings(max_examples=examples(150))
PROJECT = load_definitions(
    {
        "shroff.yaml": "shroff: 1\nname: test\nmoney: EUR\nlateness: 50ms\n",
        "events.yaml": """
payment:
  id: payment_id
  time: paid_at
  decide: true
  fields: { payment_id: text, paid_at: time, card: text hashed, country: text?, amount: money }
""",
    }
).or_raise()
COMPUTED = load_definitions(
    {
        "shroff.yaml": "shroff: 1\nname: test\nmoney: EUR\nlateness: 50ms\n",
        "events.yaml": """
payment:
  id: payment_id
  time: paid_at
  decide: true
  fields: { payment_id: text, paid_at: time, card: text, country: text?, amount: money }
  from:
    parquet: { payment_id: "join(row.payment_id, '-', row.number)" }
""",
    }
).or_raise()
MIXED = load_definitions(
    {
        "shroff.yaml": "shroff: 1\nname: test\nmoney: EUR\nlateness: 50ms\n",
        "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money? }
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text? }
  from:
    csv: { when: row.kind == 'login' }
    parquet: { when: row.kind == 'login' }
entities: { card: { payment: card, login: card } }
""",
        "features.yaml": "card: { logins: count(login) over 90ms, payments: count(payment) }\n",
    }
).or_raise()
KEY = (np.uint64(1), np.uint64(2))


def hasher(value: str) -> str:
    return f"hashed of {value}"


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e", "f", "7", "9", "12", None]),
        st.integers(0, 200),
        st.sampled_from([1, 2, 3, 4]),
        st.sampled_from(["de", "", None, "fr"]),
        st.sampled_from([1.0, 2.5, 2.125, float("nan")]),
    ),
    max_size=12,
)


def table_of(rows: list[Any]) -> Any:
    ids, times, cards, countries, amounts = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return pa.table(
        {
            "payment_id": pa.array(ids, pa.string()),
            "paid_at": pa.array(times, pa.int64()).cast(pa.timestamp("ms")),
            "card": pa.array(cards, pa.int64()),
            "country": pa.array(countries, pa.string()),
            "amount": pa.array(amounts, pa.float64()),
        }
    )


def written(folder: Path, tables: list[Any], *, is_csv: bool) -> list[Path]:
    paths = []
    for number, table in enumerate(tables):
        if is_csv and number == 1:
            paths.append(folder / "1.csv")
            times = table["paid_at"].cast(pa.int64())
            pyarrow.csv.write_csv(table.set_column(1, "paid_at", times), paths[-1])
        else:
            paths.append(folder / f"{number}.parquet")
            pq.write_table(table, paths[-1], row_group_size=5)
    return paths


def by_events(paths: list[Path], definitions: Any, left: LeftOut | None = None) -> list[Any]:
    lines = ((path.name, read_lines(path)) for path in paths)
    batches = file_batches(lines, definitions, hasher, "payment", left)
    return [(seq, *event.values) for batch in batches for seq, event in batch]


def by_columns(
    paths: list[Path], definitions: Any, as_of_ms: int | None = None, left: LeftOut | None = None
) -> list[Any]:
    type_ = definitions.events.types["payment"]
    found: list[Any] = []
    for taken in file_columns(paths, definitions, hasher, "payment", as_of_ms, left):
        frame = taken.frames["payment"]
        columns = [values_of(frame.field(field.name, field.type)) for field in type_.fields]
        assert taken.ids.to_pylist() == columns[0]
        assert frame.times.tolist() == columns[1]
        found += zip(taken.seqs.tolist(), *columns, strict=True)
    return found


@LAW
@given(
    st.lists(ROWS, min_size=1, max_size=3),
    st.integers(0, 2),
    st.booleans(),
    st.integers(1, 7),
    st.sampled_from([PROJECT, COMPUTED]),
)
@example(
    [[("", 1, 1, "de", 1.0), ("", 2, 1, "de", 1.0)], [(name, 3, 1, "de", 1.0) for name in "a8a"]], 1, False, 7, PROJECT
)
def test_files_give_the_same_events_by_columns(
    files: list[list[Any]], ascending: int, is_csv: bool, rows: int, definitions: Any
) -> None:
    """The ids of the first so many files count up, through 9 to 10."""
    ids = count(7)
    files = [[(f"{next(ids)}", *row[1:]) for row in file] for file in files[:ascending]] + files[ascending:]
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(columnar, "ROWS", rows),
        patch.object(columnar, "EVENTS", rows),
    ):
        paths = written(Path(folder), [table_of(file) for file in files], is_csv=is_csv)

        truth = by_events(paths, definitions, told := LeftOut())
        assert by_columns(paths, definitions, None, left := LeftOut()) == truth
        assert counts_of(left) == counts_of(told)
        assert by_columns(paths, definitions, 100) == [item for item in truth if item[2] <= 100]


def counts_of(left: LeftOut) -> tuple[int, ...]:
    assert len(left.first) == min(left.count, 10)
    return left.refused, left.too_late, left.doubled, left.untaken


MANY = st.lists(
    st.tuples(
        st.sampled_from(["payment", "login", "label", "other"]),
        st.sampled_from(["a", "b", "c", "d", ""]),
        st.integers(0, 150),
        st.sampled_from(["x", "y", None]),
    ),
    max_size=15,
)


def mixed(path: Path, rows: list[Any]) -> Path:
    """A file of events of several types: they name themselves in lines of JSON, a column does elsewhere."""
    names = ("id", "at", "card")
    if path.suffix == ".jsonl":
        events = [(kind, dict(zip(names, row, strict=True))) for kind, *row in rows]
        lines = [{kind: fields} if kind in {"login", "label"} else fields for kind, fields in events]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    types = (pa.string(), pa.string(), pa.int64(), pa.string())
    table = pa.table([pa.array(column, of) for column, of in zip(columns, types, strict=True)], ["kind", *names])
    pyarrow.csv.write_csv(table, path) if path.suffix == ".csv" else pq.write_table(table, path, row_group_size=4)
    return path


@LAW
@given(
    st.lists(st.tuples(st.sampled_from(["jsonl", "csv", "parquet"]), MANY), min_size=1, max_size=3), st.integers(1, 7)
)
def test_events_of_several_types_in_files_are_taken_alike_by_columns_and_by_events(files, rows):
    with tempfile.TemporaryDirectory() as folder, patch.object(columnar, "EVENTS", rows):
        paths = [mixed(Path(folder, f"{at}.{ending}"), content) for at, (ending, content) in enumerate(files)]
        lines = ((path.name, read_lines(path)) for path in paths)
        told, left = LeftOut(), LeftOut()
        truth = [
            (seq, event.type, *event.values)
            for batch in file_batches(lines, MIXED, hasher, "payment", told)
            for seq, event in batch
        ]

        found = []
        for taken in file_columns(paths, MIXED, hasher, "payment", None, left):
            whole: list[Any] = [None] * len(taken)
            for name, frame in taken.frames.items():
                type_ = MIXED.events.types[name]
                columns = [values_of(frame.field(field.name, field.type)) for field in type_.fields]
                for row, values in zip(frame.rows.tolist(), zip(*columns, strict=True), strict=True):
                    whole[row] = (name, *values)
            wanted = [len(found) + at + 1 for at, event in enumerate(whole) if event[0] == "payment"]
            assert taken.seqs.tolist() == wanted
            assert taken.ids.to_pylist() == [item[1] for item in whole if item[0] == "payment"]
            found += whole
        assert [(at, *event) for at, event in enumerate(found, start=1)] == truth
        assert counts_of(left) == counts_of(told)


@pytest.mark.parametrize("engine", ["batch", "online"])
def test_features_of_a_mixed_file_see_the_events_of_all_types(tmp_path, engine):
    for name in ("shroff.yaml", "events.yaml", "features.yaml"):
        (tmp_path / name).write_text(MIXED.files[name])
    events = [
        ("login", "l1", 10, "x"),
        ("payment", "p1", 20, "x"),
        ("login", "l2", 25, "y"),
        ("payment", "p2", 30, "y"),
    ]
    paths = [mixed(tmp_path / f"in.{ending}", events) for ending in ("jsonl", "csv", "parquet")]
    project = shroff.open(tmp_path)

    for path in paths:
        found = project.features("payment", files=path, engine=engine)
        assert found.select(["id", "seq", "card.logins"]).to_pylist() == [
            {"id": "p1", "seq": 2, "card.logins": 1},
            {"id": "p2", "seq": 4, "card.logins": 1},
        ]
        assert found.equals(project.features("payment", files=path, engine="naive"))


def test_many_events_are_taken_by_their_first_of_an_id_and_the_watermark():
    random = np.random.default_rng(7)
    ids = [f"{number}" for number in random.integers(0, 60_000, 100_000).tolist()]
    times = np.arange(100_000) - random.integers(0, 80, 100_000)
    arrivals, rows = Arrivals(50, KEY), []
    for first in range(0, 100_000, 30_000):
        batch = pa.array(ids[first : first + 30_000])
        fates = arrivals.take(arrivals.hashes("payment", batch), times[first : first + 30_000])
        rows += (first + np.flatnonzero(fates == TAKEN)).tolist()

    seen: set[str] = set()
    watermark, truth = -1_000, []
    for at, (name, time_ms) in enumerate(zip(ids, times.tolist(), strict=True)):
        if name not in seen and watermark - time_ms <= 50:
            seen.add(name)
            watermark = max(watermark, time_ms)
            truth.append(at)
    assert rows == truth
    assert 40_000 < len(rows) < 60_000


@pytest.mark.parametrize(
    ("ids", "ascends"), [("a b", 1), ("b aa ab", 1), ("a a", 0), ("b a", 0), ("aa b", 0), ("ab a", 0)]
)
def test_texts_ascend_by_their_lengths_and_then_by_their_bytes(ids, ascends):
    letters = np.frombuffer(ids.encode(), np.uint8)
    ends = np.append(np.flatnonzero(letters == ord(" ")), len(letters))

    assert ascend(letters, np.append(0, ends[:-1] + 1), ends) == ascends


@given(st.lists(st.lists(st.one_of(st.none(), st.text("ab", min_size=1, max_size=20)), max_size=30), max_size=5))
def test_codes_stand_for_the_texts_of_all_batches(batches: list[list[str | None]]) -> None:
    coder = Coder(KEY)
    found = [(coder.code(pa.array(batch, pa.string())), batch) for batch in batches]

    values = coder.dictionary.values
    assert len(set(values)) == len(values)
    for coded, batch in found:
        assert [None if code < 0 else values[code] for code in coded.codes.tolist()] == batch


def test_codes_stay_what_they_are_when_the_table_grows():
    coder, texts = Coder(KEY), [f"{number}" for number in range(20_000)]
    for first in range(0, 20_000, 1_000):
        coder.code(pa.array(texts[first : first + 1_000]))

    assert coder.code(pa.array(texts)).codes.tolist() == list(range(20_000))
    assert coder.dictionary.values == texts


@given(
    st.lists(
        st.one_of(
            st.lists(st.one_of(st.none(), st.text("12-", max_size=2), st.just(str(-(2**63)))), max_size=30).map(
                lambda values: pa.array(values, pa.string())
            ),
            st.lists(st.integers(-3, 12), max_size=30).map(lambda values: pa.array(values, pa.int8())),
            st.lists(st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1]), max_size=30).map(
                lambda values: pa.array(values, pa.int64())
            ),
            st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=30).map(
                lambda values: pa.array(values, pa.uint64())
            ),
        ),
        max_size=6,
    )
)
def test_integers_have_the_codes_of_their_digits(batches: list[Any]) -> None:
    """Texts and integers of several widths in turn, with missing ones or without."""
    coder = Coder(KEY)
    found = [(coder.code(batch), batch) for batch in batches]

    values = coder.dictionary.values
    assert len(set(values)) == len(values)
    for coded, batch in found:
        truth = batch.cast(pa.string()).to_pylist()
        assert [None if code < 0 else values[code] for code in coded.codes.tolist()] == truth


def test_codes_of_integers_stay_what_they_are_when_the_table_grows():
    coder, numbers = Coder(KEY), np.arange(20_000) * 2**40
    for first in range(0, 20_000, 1_000):
        coder.code(pa.array(numbers[first : first + 1_000]))

    assert coder.code(pa.array(numbers)).codes.tolist() == list(range(20_000))
    assert coder.dictionary.values == [str(number) for number in numbers.tolist()]


class Read(list[str]):
    """Texts that count how many of them were read."""

    count = 0

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        self.count += len(found) if isinstance(at, slice) else 1
        return found

    def __iter__(self) -> Any:
        self.count += len(self)
        return super().__iter__()


def test_a_dictionary_that_grows_reads_each_text_once_and_keeps_what_it_gave():
    dictionary, given, expected = Dictionary(Read()), [], []
    for size in (0, 1, 2, 3, 50, 51, 52, 200, 1_000):
        dictionary.values.extend(f"c{number}" for number in range(len(dictionary.values), size))
        codes = np.array([size - 1, -1, size // 2 - 1])
        given.append(values_of(dictionary.take(codes)))
        expected.append([f"c{code}" if code >= 0 else None for code in codes.tolist()])

    assert given == expected
    assert dictionary.values.count == 1_000


MASK = 2**64 - 1


def sip_13(data: bytes, key0: int, key1: int) -> tuple[int, int]:
    """SipHash-1-3 with 128 bits, as its authors write it down; the last bit of the second word is set."""
    v = [
        key0 ^ 0x736F6D6570736575,
        key1 ^ 0x646F72616E646F6D ^ 0xEE,
        key0 ^ 0x6C7967656E657261,
        key1 ^ 0x7465646279746573,
    ]

    def turned(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & MASK

    def rounds(count: int) -> int:
        for _ in range(count):
            for a, b, bits, turn in ((0, 1, 13, True), (2, 3, 16, False), (0, 3, 21, False), (2, 1, 17, True)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = turned(v[b], bits) ^ v[a]
                v[a] = turned(v[a], 32) if turn else v[a]
        return v[0] ^ v[1] ^ v[2] ^ v[3]

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for first in range(0, len(padded), 8):
        word = int.from_bytes(padded[first : first + 8], "little")
        v[3] ^= word
        rounds(1)
        v[0] ^= word
    v[2] ^= 0xEE
    low = rounds(3)
    v[1] ^= 0xDD
    return low, rounds(3) | 1


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, MASK), st.integers(0, MASK))
def test_texts_are_hashed_as_the_authors_of_the_hash_say(texts: list[bytes], key0: int, key1: int) -> None:
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    hashes = np.empty((len(texts), 2), np.uint64)
    letters = np.frombuffer(b"".join(texts) + b"-", np.uint8).copy()
    hash_texts(letters, ends[:-1], ends[1:], np.uint64(key0), np.uint64(key1), hashes)

    assert [tuple(map(int, digest)) for digest in hashes] == [sip_13(text, key0, key1) for text in texts]


def test_what_is_read_ahead_comes_in_order_and_so_does_an_error():
    def numbers() -> Any:
        yield from range(10)
        raise UsageError("damaged")

    read = ahead(numbers())

    assert [next(read) for _ in range(10)] == list(range(10))
    with pytest.raises(UsageError, match="damaged"):
        next(read)


def test_what_nobody_reads_to_its_end_is_left(tmp_path: Path) -> None:
    asked: list[int] = []

    def numbers() -> Any:
        for number in range(1_000):
            asked.append(number)
            yield number

    read = ahead(numbers())
    assert next(read) == 0
    read.close()

    assert len(asked) < 10


def test_a_file_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"payment_id": ["p"], "paid_at": [1], "card": ["c"]}), tmp_path / "f.parquet")

    with pytest.raises(UsageError, match=r"f\.parquet lacks the column amount"):
        by_columns([tmp_path / "f.parquet"], PROJECT)


@pytest.mark.parametrize("engine", ["batch", "online"])
def test_features_of_files_are_those_of_the_definition(tmp_path: Path, engine: str) -> None:
    (tmp_path / "shroff.yaml").write_text("shroff: 1\nname: test\nmoney: EUR\nlateness: 50ms\n")
    (tmp_path / "events.yaml").write_text(
        "payment:\n  id: payment_id\n  time: paid_at\n  decide: true\n"
        "  fields: { payment_id: text, paid_at: time, card: text, country: text?, amount: money }\n"
        "entities: { card: { payment: card }, country: { payment: country } }\n"
    )
    (tmp_path / "features.yaml").write_text(
        "card:\n"
        "  payments: count(payment) over 100ms\n"
        "  spent: sum(payment.amount) over 100ms including this\n"
        "  countries: distinct(payment.country)\n"
        "  last_country: last(payment.country) over 1s\n"
        "country:\n"
        "  largest: max(payment.amount) over last 5\n"
        "  is_large: this.amount > country.largest\n"
    )
    random = np.random.default_rng(3)
    rows = [
        (
            f"p{random.integers(0, 900)}",
            int(at + random.integers(-60, 1)),
            int(random.integers(0, 9)),
            [None, "", "de", "fr"][random.integers(0, 4)],
            [1.0, 2.5, 7.25, 2.125, 1.015, float("nan")][random.integers(0, 6)],
        )
        for at in range(100, 1_600)
    ]
    paths = written(tmp_path, [table_of(rows[:700]), table_of(rows[700:900]), table_of(rows[900:])], is_csv=True)
    project = shroff.open(tmp_path)

    with (
        patch.object(columnar, "ROWS", 100),
        patch.object(columnar, "EVENTS", 100),
        pytest.warns(UserWarning, match="no event") as told,
    ):
        found = project.features("payment", files=paths, engine=engine)
    with pytest.warns(UserWarning, match="no event") as by_definition:
        assert found.equals(project.features("payment", files=paths, engine="naive"))
    assert [str(notice.message) for notice in told] == [str(item.message) for item in by_definition]
    assert 400 < len(found) < 900
