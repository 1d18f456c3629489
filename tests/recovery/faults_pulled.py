"""Worlds of `shroff sources sync`: objects of a folder or a bucket, and rows of a table, each taken whole and once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, insert

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.runtime.values import replace
from tools.servers.keep import Kept
from tools.servers.objects import S3

from . import faults_files
from .faults_files import FileWorld
from .faults_input import Line
from .faults_process import Stable
from .faults_strike import Fault

NAME: Final = "nightly"
SOURCE: Final = f"pulled/{NAME}"
OVERLAP: Final = 200  # rows that are read again: what a broken worker loses comes with them, so it has none
FEW: Final = 10  # lines with which none comes late
SERVERS: Final = {  # at which there are sources, and the kind of server that each needs
    "folder": "",
    "bucket": "s3",
    "table": "",
    "table of PostgreSQL": "postgres",
    "table of MariaDB": "mariadb",
}
COLUMNS: Final = ("payment_id", "paid_at", "card", "merchant", "terminal", "amount", "country", "channel", "device")


class ObjectWorld(FileWorld):
    """Files of a folder, each there at once as a whole; the newest one may grow."""

    def __init__(self, folder: Path, seed: str, stable: Stable, broken: str = "") -> None:
        self._objects: list[bytes] = []
        super().__init__(folder, seed, stable, broken)
        self.command = ["sources", "sync", NAME]

    def systems(self) -> str:
        self._inbox = self.folder / "inbox"
        self._inbox.mkdir()
        return f"sources: {{ {NAME}: {{ files: {{ from: '{self._inbox}', settled: 0s }} }} }}\n"

    def _deliver(self, given: Sequence[Line]) -> None:
        if not self._objects or self.chance.random() < 0.7:
            self._objects.append(b"")
        name, first = f"{len(self._objects):05}.jsonl", self._objects[-1].count(b"\n") + 1
        self._objects[-1] += b"".join(line.raw for line in given)
        self.sent.deliveries |= {(f"{SOURCE}/{name}", str(first + at), line.raw) for at, line in enumerate(given)}
        self._n_written += len(given)
        self._put(name, self._objects[-1])

    def _put(self, name: str, data: bytes) -> None:
        begun = self._inbox / f".{name}"
        begun.write_bytes(data)
        begun.replace(self._inbox / name)


class BucketWorld(ObjectWorld):
    """Objects of a bucket.

    Args:
        server: Speaks S3.
    """

    def __init__(self, folder: Path, seed: str, stable: Stable, server: Kept, broken: str = "") -> None:
        self._server = server
        super().__init__(folder, seed, stable, broken)
        self.env = {name.upper(): value for name, value in server.details.items()}

    def systems(self) -> str:
        from obstore.store import S3Store

        bucket = S3.create_at(self._server.address, f"faults-{abs(hash(self.folder))}")
        options = {"aws_endpoint": self._server.address, "aws_allow_http": "true", **self._server.details}
        self._store: Any = S3Store(bucket, **options)
        files = f"{{ from: 's3://{bucket}/in', endpoint: '{self._server.address}', region: us-east-1 }}"
        return f"sources: {{ {NAME}: {{ files: {files} }} }}\n"

    def _put(self, name: str, data: bytes) -> None:
        self._store.put(f"in/{name}", data)


class TableWorld(FileWorld):
    """Rows of a table by a number that grows. Some of them are committed behind later ones.

    Args:
        url: The database; by default a file of SQLite.
    """

    def __init__(self, folder: Path, seed: str, stable: Stable, broken: str = "", url: str = "") -> None:
        self.url, self._n_rows, self._late = url or f"sqlite:///{folder}/core.db", 0, list[dict[str, Any]]()
        whole = BigInteger().with_variant(Integer(), "sqlite")
        columns = [Column(name, Text) for name in COLUMNS]
        self._table = Table(f"faults_{abs(hash(folder))}", MetaData(), Column("n", whole, primary_key=True), *columns)
        super().__init__(folder, seed, stable, broken)
        self._database = SqlDatabase(self.url, "a test")
        self._database.make_table(self._table)
        self.command = ["sources", "sync", NAME]

    def systems(self) -> str:
        overlap = 0 if self.broken else OVERLAP
        table = f"{{ url: '{self.url}', table: {self._table.name}, by: n, rows: 60, overlap: {overlap} }}"
        return f"sources: {{ {NAME}: {{ table: {table}, events: [payment] }} }}\n"

    def fresh(self, count: int) -> list[Line]:
        """Payments with the bytes of their rows; what is broken is a row without most of its values."""
        return [self._as_row(line) for line in islice((item for item in self._lines if item.kind != "label"), count)]

    def _as_row(self, line: Line) -> Line:
        try:
            (fields,) = msgspec.json.decode(line.raw).values()
        except msgspec.DecodeError:
            fields = {"merchant": line.raw.decode().strip()}
        self._n_rows += 1
        row = {**dict.fromkeys(self._table.c.keys()), **fields, "n": self._n_rows}
        return replace(line, raw=msgspec.json.encode(row) + b"\n")

    def send(self, given: Sequence[Line]) -> None:
        """Rows are not sent twice: the source reads them again itself."""
        super().send([line for line in given if line.number not in self.sent.lines])

    def _deliver(self, given: Sequence[Line]) -> None:
        rows = [msgspec.json.decode(line.raw) for line in given]
        now, late = self._late + rows, list[dict[str, Any]]()
        if len(given) > FEW and not self.broken:
            late = self.chance.sample(rows, FEW)
            now = [row for row in now if row not in late]
        self._late = late
        with self._database.begun() as connection:
            connection.execute(insert(self._table), now)
        self.sent.deliveries |= {(SOURCE, str(row["n"]), msgspec.json.encode(row) + b"\n") for row in now}
        self._n_written += len(now)

    def close(self) -> None:
        with closing(self._database), self._database.begun() as connection:
            self._table.drop(connection)
        super().close()


def world_at(
    place: str, folder: Path, seed: str, stable: Stable, server: Kept | None = None, broken: str = ""
) -> FileWorld:
    """The world at a place of `SERVERS`, with the server that it needs."""
    if place == "folder":
        return ObjectWorld(folder, seed, stable, broken)
    if place == "bucket":
        assert server is not None
        return BucketWorld(folder, seed, stable, server, broken)
    return TableWorld(folder, seed, stable, broken, "" if server is None else server.address)


def faults_of(place: str) -> list[Fault]:
    """What strikes whoever takes a file, at another place; kills come first."""
    return [replace(fault, name=fault.name.replace("file", place, 1)) for fault in faults_files.FAULTS]
