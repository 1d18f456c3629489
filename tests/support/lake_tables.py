"""Table formats of a lake as tests look at them: what a table is by the words of its format, and by its own readers."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa

from shroff.adapters.lake.iceberg import CatalogSettings, IcebergTables
from shroff.lake.delta import DeltaTables
from shroff.lake.publication import TableFormat, table_of
from shroff.streams.lake import RetriedObjects
from tests.support.objects import FaultyObjects, MemoryObjects


class KilledError(BaseException):
    """What ends a program in the middle."""


class Killing(FaultyObjects):
    """Objects whose program is killed at the n-th change, before or after it is done."""

    left, is_done = 1 << 30, False

    def counted(self, work: Callable[[], Any]) -> Any:
        self.left -= 1
        answer = work() if self.left or self.is_done else None
        if self.left == 0:
            raise KilledError
        return answer

    def put(self, name: str, data: bytes) -> bool:
        return self.counted(lambda: MemoryObjects.put(self, name, data))

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return self.counted(lambda: MemoryObjects.replace(self, name, data, version))

    def delete(self, name: str) -> None:
        self.counted(lambda: MemoryObjects.delete(self, name))


def patient(objects: Any) -> RetriedObjects:
    return RetriedObjects(objects, lambda _s: None)


class Published:
    """The tables of a lake in memory, in one format; `folder` is where its objects lie for readers."""

    def __init__(self, objects: Killing, folder: Path) -> None:
        self.objects, self.folder = objects, folder

    @abstractmethod
    def tables(self) -> TableFormat: ...

    @abstractmethod
    def active(self) -> dict[str, set[str]]:
        """The files of each table."""

    @abstractmethod
    def transactions(self, table: str) -> dict[str, int]:
        """What the last commit of a table says of its lakes."""

    @abstractmethod
    def streamed(self) -> int:
        """The rows that a stream of each table gets: those of commits that bring new rows alone."""

    @abstractmethod
    def spoil(self, table: str) -> None:
        """A commit of another program."""

    @abstractmethod
    def remove(self, table: str) -> None: ...

    @abstractmethod
    def rows(self, table: str) -> pa.Table:
        """A table by the format's own reader, from the files in the folder."""

    def close(self) -> None: ...

    def read(self, table: str) -> pa.Table:
        for name, (data, _) in self.objects.objects.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(data)
        return self.rows(table)


class Delta(Published):
    def tables(self) -> DeltaTables:
        return DeltaTables(patient(self.objects))

    def _actions(self, table: str = "") -> list[tuple[str, dict[str, Any]]]:
        """Each action of each commit, version by version, with its table."""
        names = (name for name in self.objects.objects if "/_delta_log/" in name and name.endswith(".json"))
        return [
            (name.partition("/_delta_log/")[0], json.loads(line))
            for name in sorted(names)
            if name.startswith(table) and not name.endswith("checkpoint.json")
            for line in self.objects.objects[name][0].splitlines()
        ]

    def active(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for table, action in self._actions():
            files = found.setdefault(table, set())
            if "remove" in action:
                files.remove(f"{table}/{action['remove']['path']}")
            if "add" in action:
                assert f"{table}/{action['add']['path']}" not in files
                files.add(f"{table}/{action['add']['path']}")
        return found

    def transactions(self, table: str) -> dict[str, int]:
        told = (action["txn"] for _, action in self._actions(f"{table}/") if "txn" in action)
        return {notice["appId"]: notice["version"] for notice in told}

    def streamed(self) -> int:
        actions = [action for _, action in self._actions()]
        assert not any(action["remove"]["dataChange"] for action in actions if "remove" in action)
        added = (action["add"] for action in actions if action.get("add", {}).get("dataChange"))
        return sum(json.loads(row["stats"])["numRecords"] for row in added)

    def spoil(self, table: str) -> None:
        foreign = b'{"commitInfo":{"engineInfo":"Apache-Spark/4.0","operation":"OPTIMIZE"}}\n'
        self.objects.put(f"{table}/_delta_log/{1:020d}.json", foreign)

    def remove(self, table: str) -> None:
        for name in [name for name in self.objects.objects if name.startswith(f"{table}/_delta_log/")]:
            self.objects.delete(name)

    def rows(self, table: str) -> pa.Table:
        return deltalake.DeltaTable(str(self.folder / table)).to_pyarrow_table()


class Iceberg(Published):
    def __init__(self, objects: Killing, folder: Path) -> None:
        super().__init__(objects, folder)
        self._settings = CatalogSettings("test", "lake", {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db"})
        self._made: list[IcebergTables] = []
        self.catalog = self.tables()._catalog

    def tables(self) -> IcebergTables:
        """Each with a connection of its own; a program may be killed at each commit of the catalog."""
        made = IcebergTables(patient(self.objects), self._settings, f"file://{self.folder}")
        self._made.append(made)
        if len(self._made) > 1:
            made._opened = self.catalog
        else:
            catalog, commit = made._catalog, made._catalog.commit_table
            catalog.commit_table = lambda *words: self.objects.counted(lambda: commit(*words))
        return made

    def close(self) -> None:
        self.catalog.close()

    def table(self, table: str) -> Any:
        kind, _, of = table.partition("/")
        return self.catalog.load_table(("lake", kind + (f"_{of.partition('=')[2]}" if of else "")))

    def _all(self) -> list[Any]:
        if not self.catalog.namespace_exists("lake"):
            return []
        return [self.catalog.load_table(table) for table in self.catalog.list_tables("lake")]

    def active(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for table in self._all():
            files = [task.file.file_path.removeprefix(f"file://{self.folder}/") for task in table.scan().plan_files()]
            assert len(files) == len(set(files))
            for file in files:
                found.setdefault(table_of(file), set()).add(file)
        return found

    def transactions(self, table: str) -> dict[str, int]:
        told = self.table(table).current_snapshot().summary.additional_properties
        return {name: int(value) for name, value in told.items() if name.startswith("shroff-lake-")}

    def streamed(self) -> int:
        snapshots = [snapshot.summary for table in self._all() for snapshot in table.metadata.snapshots]
        return sum(
            int(snapshot.additional_properties.get("added-records", 0))
            for snapshot in snapshots
            if snapshot.operation.value == "append"
        )

    def spoil(self, table: str) -> None:
        with self.table(table).transaction() as foreign:
            foreign.update_snapshot().fast_append().commit()

    def remove(self, table: str) -> None:
        self.catalog.drop_table(self.table(table).name())

    def rows(self, table: str) -> pa.Table:
        return self.table(table).scan().to_arrow()


FORMATS: dict[str, type[Published]] = {"delta": Delta, "iceberg": Iceberg}
