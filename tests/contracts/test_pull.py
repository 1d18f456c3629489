"""The contract of pulled sources, bound to each place that rows come from; what each says of its mistakes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Numeric, Table, Text, delete, insert, text

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.adapters.pull.files import BucketFiles, Folder, UrlList, files_at
from shroff.errors import TransientError, UsageError
from shroff.streams.pull import PulledSource, PullPlace
from shroff_plugins.connectors.amplitude import AmplitudeExport
from shroff_plugins.connectors.settings import TABLE
from shroff_plugins.connectors.table import TableRows
from tests.contracts.test_lake_places import bucket_of
from tests.support.contracts.pull import PullContract, Row, numbers, rows
from tools.amplitude import API_KEY, SECRET_KEY, amplitude

NOW_MS = 1_780_000_000_000


def place(folder: Path, taken: Sequence[str] = ()) -> PullPlace:
    return PullPlace("nightly", folder / "downloads", lambda: NOW_MS, lambda: taken)


def lines(some: Sequence[Row]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in some)


class TestFolder(PullContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        (tmp_path / "in").mkdir()

    def opened(self, taken: Sequence[str]) -> PulledSource:
        return Folder(self.folder / "in", place(self.folder, taken), settled_ms=0)

    def put(self, number: int, rows: Sequence[Row]) -> None:
        (self.folder / "in" / f"{number:04}.jsonl").write_bytes(lines(rows))


def test_a_link_out_of_a_folder_is_not_read_and_named(tmp_path: Path):
    inside, secret = tmp_path / "in", tmp_path / "key.json"
    (inside / "..data").mkdir(parents=True)
    secret.write_bytes(lines(rows([1])))
    (inside / "..data" / "b.jsonl").write_bytes(lines(rows([2])))
    (inside / "a.jsonl").symlink_to(secret)
    (inside / "b.jsonl").symlink_to("..data/b.jsonl")  # as Kubernetes has it
    (inside / "c.jsonl").write_bytes(lines(rows([3])))
    folder = Folder(inside, place(tmp_path), settled_ms=0)

    assert folder.names() == ["b.jsonl", "c.jsonl"]
    assert folder.remark.startswith("a.jsonl: links out of the folder are not read.")
    assert numbers(folder, "b.jsonl") == [2]
    (inside / "c.jsonl").unlink()
    (inside / "c.jsonl").symlink_to(secret)
    with pytest.raises(TransientError, match="became a link out"), folder.opened("c.jsonl"):
        pass
    (inside / "a.jsonl").unlink()
    (inside / "c.jsonl").unlink()
    assert (folder.names(), folder.remark) == (["b.jsonl"], "")


class TestUrlList(TestFolder):
    unsupported: ClassVar[dict[str, str]] = {
        "shows that a file has changed": "whoever lists a file says that it is complete"
    }

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}/files.txt"
            (tmp_path / "files.txt").touch()
            yield
            server.shutdown()
            thread.join()

    def opened(self, taken: Sequence[str]) -> PulledSource:
        return UrlList(self.url, place(self.folder, taken))

    def put(self, number: int, rows: Sequence[Row]) -> None:
        super().put(number, rows)
        names = sorted(path.name for path in (self.folder / "in").iterdir())
        (self.folder / "files.txt").write_text("".join(f"in/{name}\n" for name in names))


def test_a_list_that_leads_to_another_server_has_it_asked_nothing(tmp_path: Path):
    asked: list[str] = []

    class Leading(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host'].partition(':')[0]}{self.path}")
            leads_to = {"/old": "/new", "/inside": f"http://localhost:{server.server_port}/new"}.get(self.path)
            self.send_response(302 if leads_to else 200)
            self.send_header("Location", leads_to or "")
            self.end_headers()
            self.wfile.write(b"a.jsonl\n")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Leading) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            assert UrlList(f"{url}/old", place(tmp_path)).names() == ["a.jsonl"]
            with pytest.raises(UsageError, match="leads to another server, http://localhost"):
                UrlList(f"{url}/inside", place(tmp_path)).names()
        finally:
            server.shutdown()
            thread.join()

    assert asked == ["127.0.0.1/old", "127.0.0.1/new", "127.0.0.1/inside"]


class TestBucket(PullContract):
    @pytest.fixture(autouse=True, params=["s3", "gcs", "azure"])
    def _bucket(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        opened = bucket_of(request.getfixturevalue(request.param))
        self.folder, self.objects = tmp_path, opened(f"pull-{uuid.uuid4().hex[:12]}")

    def opened(self, taken: Sequence[str]) -> PulledSource:
        return BucketFiles(self.objects, place(self.folder, taken))

    def put(self, number: int, rows: Sequence[Row]) -> None:
        name = f"day=1/{number:04}.jsonl"
        self.objects.delete(name)
        self.objects.put(name, lines(rows))

    def test_a_name_that_a_lake_would_not_have_is_read(self) -> None:
        self.objects._obstore.put(self.objects._store, "a b/c %2F#.jsonl", lines(rows([7])))
        source = self.opened([])
        (name,) = source.names()

        assert (name, numbers(source, name)) == ("a b/c %2F#.jsonl", [7])

    def test_with_markers_an_object_waits_for_its_own(self) -> None:
        self.put(1, rows([1]))
        self.put(2, rows([2]))
        self.objects.put("day=1/0002.jsonl.done", b"")
        source = BucketFiles(self.objects, place(self.folder), has_markers=True)

        assert {name: source.is_complete(name) for name in source.names()} == {
            "day=1/0001.jsonl": False,
            "day=1/0002.jsonl": True,
        }
        self.objects.put("day=1/_SUCCESS", b"")
        assert all(map(source.is_complete, source.names()))

    def test_an_object_that_is_gone_leads_nowhere(self) -> None:
        self.put(1, rows([1]))
        source = self.opened([])
        (name,) = source.names()
        self.objects.delete(name)

        with source.opened(name) as path:
            assert not path.exists()


class TestAmplitude(PullContract):
    unsupported: ClassVar[dict[str, str]] = {
        "shows that a file has changed": "a day that was taken is asked for again only by its name"
    }

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        self.folder, self.days = tmp_path, 0
        with amplitude() as self.server:
            yield

    def opened(self, taken: Sequence[str]) -> PulledSource:
        now_ms = int(datetime(2026, 3, 1 + self.days, 3, tzinfo=UTC).timestamp() * 1_000)
        keys = {"api_key": API_KEY, "secret_key": SECRET_KEY, "from": "2026-03-01", "url": self.server.url}
        return AmplitudeExport(keys, PullPlace("app", self.folder / "downloads", lambda: now_ms, lambda: taken))

    def put(self, number: int, rows: Sequence[Row]) -> None:
        self.server.events[f"202603{number:02}T07"] = rows
        self.days = max(self.days, number)


class TestTable(PullContract):
    @pytest.fixture(autouse=True, params=["sqlite", "postgres", "mariadb"])
    def _table(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        self.folder, self.name = tmp_path, f"rows_{uuid.uuid4().hex[:12]}"
        is_file = request.param == "sqlite"
        self.url = f"sqlite:///{tmp_path}/t.db" if is_file else request.getfixturevalue(request.param).address
        self.database = SqlDatabase(self.url, "a test")
        whole = BigInteger().with_variant(Integer(), "sqlite")
        columns = [Column("n", whole), Column("file", whole), Column("text", Text), Column("amount", Numeric(12, 2))]
        self.table = Table(self.name, MetaData(), *columns, Column("at", DateTime))
        with closing(self.database):
            self.database.make_table(self.table)
            yield

    def opened(self, taken: Sequence[str], **options: Any) -> PulledSource:
        return TableRows({"url": self.url, "table": self.name, "by": "n", **options}, place(self.folder, taken))

    def put(self, number: int, rows: Sequence[Row]) -> None:
        with self.database.begun() as connection:
            connection.execute(delete(self.table).where(self.table.c.file == number))
            beside = {"file": number, "amount": Decimal("12.30")}
            at = [datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=row["n"]) for row in rows]
            connection.execute(
                insert(self.table), [{**row, **beside, "at": at_} for row, at_ in zip(rows, at, strict=True)]
            )

    def test_stretches_are_so_long_as_asked_but_for_rows_of_one_value(self) -> None:
        self.put(1, [*rows(range(5)), *rows([4, 4]), *rows([9])])
        taken: list[str] = []
        found = []
        for _ in range(4):
            with closing(self.opened(taken, rows=3, overlap="0")) as source:
                name = source.names()[-1]
                found.append((name, numbers(source, name)))
                taken.append(name)

        assert found[:3] == [("~2", [0, 1, 2]), ("2~4", [3, 4, 4, 4]), ("4~9", [9])]
        assert found[3] == found[2], "the last one is looked at again"

    def test_a_column_of_times_grows_as_well_and_rows_that_come_late_are_read(self) -> None:
        self.put(1, rows([0, 100]))
        with closing(self.opened([], by="at", overlap="1m")) as source:
            (first,) = source.names()
        self.put(2, rows([90, 150]))

        with closing(self.opened([first], by="at", overlap="1m")) as source:
            _, second = source.names()
            assert (first, second) == ("~2026-03-01T12:01:40", "2026-03-01T12:01:40~2026-03-01T12:02:30")
            assert numbers(source, second) == [90, 100, 150]

    def test_values_keep_their_digits_and_times_are_of_utc(self) -> None:
        self.put(1, rows([5]))
        with closing(self.opened([])) as source, source.opened("~5") as path:
            found = json.loads(path.read_bytes())

        assert found == {"n": 5, "file": 1, "text": "row 5", "amount": "12.30", "at": "2026-03-01T12:00:05Z"}

    def test_a_value_that_cannot_be_converted_stops_no_other_row(self) -> None:
        odd = {
            "sqlite": ["amount = 'x.1', at = 'soon'", "text = CAST(x'61ff' AS text)"],
            "postgresql": ["at = 'infinity'", "at = '0044-03-15 BC'", "clock = '24:00'"],
            "mysql": [],  # which refuses them itself
        }[self.database.dialect]
        self.put(1, rows(range(len(odd) + 1)))
        with self.database.begun() as connection:
            connection.execute(text(f"ALTER TABLE {self.name} ADD COLUMN clock TIME"))
            if self.database.dialect == "postgresql":
                connection.execute(text(f"ALTER TABLE {self.name} ADD COLUMN doc xml"))
            for number, values in enumerate(odd):
                connection.execute(text(f"UPDATE {self.name} SET {values} WHERE n = {number}"))
        with closing(self.opened([])) as source, source.opened("~9") as path:
            *found, last = path.read_bytes().splitlines()

        assert json.loads(last)["at"] == f"2026-03-01T12:00:0{len(odd)}Z"
        if self.database.dialect == "sqlite":
            assert (json.loads(found[0])["amount"], json.loads(found[0])["at"]) == ("x.1", "soon")
            assert b'"a\xff"' in found[1], "its own bytes, which are refused as no UTF-8"
        elif odd:
            values = [json.loads(line) for line in found]
            assert (values[0]["at"], values[2]["clock"]) == ("infinity", "24:00:00")
            assert values[1]["at"] == "0044-03-15 00:00:00 BC"

    def test_a_time_behind_which_none_comes_is_told_when_all_rows_before_it_are_read(self) -> None:
        if self.database.dialect != "postgresql":
            return  # the others have no such time
        self.put(1, rows([1, 2]))
        with self.database.begun() as connection:
            connection.execute(text(f"UPDATE {self.name} SET at = 'infinity' WHERE n = 2"))
        with closing(self.opened([], by="at")) as source:
            assert source.names() == ["~2026-03-01T12:00:01"]
        source, words = (
            self.opened(["~2026-03-01T12:00:01"], by="at"),
            "at has infinity, where no time follows: correct",
        )
        with closing(source), pytest.raises(UsageError, match=words):
            source.names()

    def test_a_table_that_begins_again_below_what_was_read_is_told(self) -> None:
        self.put(1, rows([30]))
        with closing(self.opened(["~20", "20~30"], overlap="5")) as source:
            assert source.names() == ["20~30"]
        self.put(1, rows([16]))
        with closing(self.opened(["~20", "20~30"], overlap="5")) as source:
            assert source.names() == ["20~30"], "the last one is read again, and 16 is in it"
        self.put(1, rows([1]))
        words = "ends at n 1, and 30 was read. If it was restored or begun again, rename the source nightly"
        with closing(self.opened(["~20", "20~30"], overlap="5")) as source, pytest.raises(UsageError, match=words):
            source.names()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"table": "nowhere"}, "there is no table nowhere; there is "),
            ({"by": "m"}, "has no column m; it has n, file, text, amount, at"),
            ({"by": "text"}, r"text is of the type \w+.*: name a column of whole numbers or times"),
        ],
    )
    def test_what_is_not_there_is_told_with_what_is(self, options: dict[str, str], words: str) -> None:
        with closing(self.opened([], **options)) as source, pytest.raises(UsageError, match=words):
            source.names()

    def test_an_overlap_of_the_wrong_kind_is_told(self) -> None:
        self.put(1, rows([1]))

        words = "'overlap' of n is a whole number, not 5m"
        with closing(self.opened([], overlap="5m")) as source, pytest.raises(UsageError, match=words):
            source.stamp("1~2")
        words = "by another column than n: rename the source"
        with closing(self.opened(["~2026-03-01T12:01:40"])) as source, pytest.raises(UsageError, match=words):
            source.names()


def test_a_relative_file_of_sqlite_is_in_the_projects_folder(tmp_path: Path):
    assert TABLE.settled({"url": "sqlite:///core.db"}, tmp_path)["url"] == f"sqlite:///{tmp_path}/core.db"


def test_a_database_that_is_away_is_worth_another_try(tmp_path: Path):
    options = {"url": "postgresql://reader:s3cret@127.0.0.1:1/x", "table": "t", "by": "n"}

    with pytest.raises(TransientError, match="the table t cannot be read") as raised:
        TableRows(options, place(tmp_path)).names()
    assert "s3cret" not in str(raised.value)


class Forgetful(Folder):
    def stamp(self, name: str) -> Any:
        return (0, 0)


class Backwards(Folder):
    def names(self) -> list[str]:
        return super().names()[::-1]


class Renaming(Folder):
    def names(self) -> list[str]:
        found = super().names()
        return [f"{len(found)}/{name}" for name in found]

    def opened(self, name: str) -> Any:
        return super().opened(name.partition("/")[2])


BROKEN = {
    Forgetful: "test_a_file_that_has_changed_has_another_stamp",
    Backwards: "test_each_row_comes_in_order_and_then_nothing",
    Renaming: "test_a_process_that_goes_on_finds_the_same_file_with_the_same_rows",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_the_contract_rejects_a_source_that_breaks_it(kind: type[Folder], tmp_path: Path):
    class Broken(TestFolder):
        def opened(self, taken: Sequence[str]) -> PulledSource:
            return kind(self.folder / "in", place(self.folder, taken), settled_ms=0)

    broken = Broken()
    broken.folder = tmp_path
    (tmp_path / "in").mkdir()
    with pytest.raises(AssertionError):
        getattr(broken, BROKEN[kind])()


def test_a_place_that_is_none_is_told(tmp_path: Path):
    for address, words in {
        "ftp2://host/in": "no ftp2://",
        str(tmp_path / "gone"): "there is no folder",
        "s3://Not A Bucket": "is not a name of a bucket",
    }.items():
        with pytest.raises(UsageError, match=words):
            files_at({"from": address}, place(tmp_path))
