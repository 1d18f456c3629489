"""Publish a lake as tables of an Apache Iceberg catalog, by pyiceberg.

The files stay in the lake; the catalog gets lists of them. A file is described from its manifest without reading it,
and the day of its folder is its partition, day(time). A compaction is one snapshot, which removes and adds files. The
properties of a table's newest snapshot have its position in the lake (see `lake.publication`).

Format: https://iceberg.apache.org/spec/, version 2. Importing pyiceberg takes two seconds, so it is imported at the
first use of a catalog.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import ShroffError, UsageError
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.lake.publication import TableChange, TableHead, TableNote, TablesAwayError, TableStoppedError
from shroff.runtime.values import FrozenStruct
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import File, LakeState

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table, Transaction

DAY = "time_day"  # name of the partition field
LAKE = "shroff.lake"  # property of a table: the address of its lake
NOTE = "shroff-note"  # property of a snapshot
METADATA_FOLDER = "iceberg"  # folder in the lake for metadata, if the catalog has no warehouse
# With more than twice this many snapshots, only this many are kept. Each costs every later commit 1 KiB and 1.5 ms.
SNAPSHOTS_KEPT = 25
_EPOCH = date(1970, 1, 1)
_TABLE = {
    # Without it each commit adds a manifest to the list, which every later commit writes again.
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
}


class CatalogSettings(FrozenStruct):
    """A catalog and a namespace in it; `properties` are added to those of pyiceberg's configuration."""

    catalog: str
    namespace: str
    properties: TextMapping


class IcebergTables:
    """The tables of a lake in one namespace of a catalog.

    Args:
        at: The address of the lake in Iceberg's form: `file:///srv/lake`, `s3://bucket/prefix`.
    """

    def __init__(self, objects: RetriedObjects, settings: CatalogSettings, at: str) -> None:
        self._objects = objects
        self._settings = settings
        self._at = at
        self._opened: Catalog | None = None
        self._tables: dict[str, Table] = {}
        self._lost: dict[str, int] = {}

    @property
    def name(self) -> str:
        return f"iceberg-{self._settings.catalog}-{self._settings.namespace}"

    @property
    def title(self) -> str:
        return f"Iceberg tables of {self._settings.catalog}.{self._settings.namespace}"

    def head(self, table: str, known_version: int) -> TableHead:
        with self._catalog_errors(table):
            iceberg_table = self._table(table)
            if iceberg_table is None:
                return TableHead()
            properties = self._snapshot_properties(table, iceberg_table)
            lakes = {name: int(value) for name, value in properties.items() if name.startswith("shroff-lake-")}
            return TableHead(
                iceberg_table.metadata.last_sequence_number, lakes, from_json(properties[NOTE], type=TableNote)
            )

    def commit(self, state: LakeState, table: str, head: TableHead, change: TableChange) -> TableHead | None:
        with self._catalog_errors(table):
            from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError

            new = head.note.unknown(self._objects, change.added.values())
            note = TableNote(sorted({*head.note.schemas, *(file.schema for file, _ in new)}))
            transactions = change.transactions(state, head)
            positions = {name: str(number) for name, number in transactions.items()}
            try:
                columns = [pa.schema([field.with_nullable(nullable=True) for field in schema]) for _, schema in new]
                version = self._commit(table, head, change, columns, positions | {NOTE: to_json(note).decode()})
            except (CommitFailedException, TableAlreadyExistsError) as error:
                if self._lost.get(table) == head.version:  # the table has not changed, so no other publisher was faster
                    raise TablesAwayError(
                        f"{table}: {self.title} refuses a commit: {self._first_line(error)}"
                    ) from None
                self._lost[table] = head.version
                return None
            return TableHead(version, transactions, note)

    def trouble(self) -> str:
        try:
            with self._catalog_errors(self._settings.namespace):
                self._catalog.list_namespaces()
        except ShroffError as error:
            return str(error)
        return ""

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    # ---- the catalog

    @property
    def _catalog(self) -> Catalog:
        """Raises: UsageError if pyiceberg is missing, or its settings are invalid."""
        if self._opened is None:
            try:
                from pyiceberg.catalog import load_catalog
                from pyiceberg.exceptions import NotInstalledError
            except ImportError:
                raise UsageError(f"{self.title} need pyiceberg: pip install 'shroff[iceberg]'.") from None
            try:
                self._opened = load_catalog(self._settings.catalog, **self._settings.properties)
            except (ValueError, ImportError, NotInstalledError) as error:
                raise UsageError(f"lake: catalog: {self._first_line(error)}.") from None
        return self._opened

    def _identifier(self, table: str) -> str:
        kind, _, type_name = table.partition("/")
        return f"{self._settings.namespace}.{kind}" + (f"_{type_name.partition('=')[2]}" if type_name else "")

    def _table(self, table: str) -> Table | None:
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        try:
            self._tables[table] = iceberg_table = self._catalog.load_table(self._identifier(table))
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        except FileNotFoundError:
            identifier = self._identifier(table)
            raise TableStoppedError(
                f"{table}: the metadata of {identifier} is not there. {self._drop_hint(identifier)}"
            ) from None
        return iceberg_table

    def _drop_hint(self, identifier: str) -> str:
        return (
            f"Drop {identifier} from catalog {self._settings.catalog}, without purging its files, then run "
            "'shroff lake publish'"
        )

    def _snapshot_properties(self, table: str, iceberg_table: Table) -> TextMapping:
        """Return the properties of the newest snapshot. Raises: TableStoppedError for a foreign table."""
        identifier = self._identifier(table)
        name = f"{table}: the Iceberg table {identifier}"
        hint = self._drop_hint(identifier)
        lake = iceberg_table.properties.get(LAKE)
        if lake != self._at:
            origin = f"has the files of {lake}" if lake else "was made by another program"
            raise TableStoppedError(f"{name} {origin}. {hint}, or name another namespace under 'catalog'")
        snapshot = iceberg_table.current_snapshot()
        summary = snapshot.summary if snapshot is not None else None
        properties = summary.additional_properties if summary is not None else {}
        if NOTE not in properties:
            raise TableStoppedError(
                f"{name} was changed by another program. Only shroff may write the tables of a lake. {hint}"
            )
        return properties

    # ---- one commit

    def _commit(
        self, table: str, head: TableHead, change: TableChange, columns: list[pa.Schema], properties: TextDict
    ) -> int:
        transaction = self._create_table(table, columns.pop(0)) if head.version < 0 else self._begin(table)
        for column in columns:
            _add_columns(transaction, column, table)
        update = transaction.update_snapshot(snapshot_properties=properties)
        snapshot = update.overwrite() if change.removed else update.merge_append()
        for data_file in self._removed_files(table, change.removed):
            snapshot.delete_data_file(data_file)
        metadata = transaction.table_metadata  # read once, as the property builds it at each use
        seq = metadata.schema().find_field("seq").field_id
        for path in sorted(change.added):
            snapshot.append_data_file(self._data_file(change.added[path], metadata.default_spec_id, seq))
        snapshot.commit()
        after = self._tables[table] = transaction.commit_transaction()
        _expire(after)
        return int(after.metadata.last_sequence_number)

    def _create_table(self, table: str, columns: pa.Schema) -> Transaction:
        from pyiceberg.transforms import DayTransform

        self._catalog.create_namespace_if_not_exists(self._settings.namespace)
        identifier = self._identifier(table)
        location = f"{self._at}/{METADATA_FOLDER}/{identifier.rpartition('.')[2]}"
        transaction: Transaction = self._catalog.create_table_transaction(
            identifier,
            columns,
            None if self._catalog.properties.get("warehouse") else location,
            properties=_TABLE | {LAKE: self._at},
        )
        transaction.update_spec().add_field("time", DayTransform(), DAY).commit()
        mapping = transaction.table_metadata.schema().name_mapping.model_dump_json()
        transaction.set_properties(
            {"schema.name-mapping.default": mapping}
        )  # columns by name, as the files have no column ids
        return transaction

    def _begin(self, table: str) -> Transaction:
        """Begin a transaction on the head that was read, without retries, which would add files twice."""
        iceberg_table = self._tables[table]
        iceberg_table.metadata.properties["commit.retry.num-retries"] = (
            "0"  # in memory only; the catalog does not get it
        )
        transaction: Transaction = iceberg_table.transaction()
        return transaction

    def _removed_files(self, table: str, paths: list[str]) -> Iterator[DataFile]:
        """Yield the files of a table that a change removes. Raises: TableStoppedError if it lacks one."""
        addresses = {f"{self._at}/{path}" for path in paths}
        if not addresses:
            return
        iceberg_table = self._tables[table]
        snapshot = iceberg_table.current_snapshot()
        for manifest in snapshot.manifests(iceberg_table.io) if snapshot is not None else ():
            for entry in manifest.fetch_manifest_entry(iceberg_table.io, discard_deleted=True):
                if entry.data_file.file_path in addresses:
                    addresses.remove(entry.data_file.file_path)
                    yield entry.data_file
        if addresses:
            raise TableStoppedError(
                f"{table}: {self._identifier(table)} lacks {min(addresses)}, which a compaction replaced"
            )

    def _data_file(self, file: File, spec: int, seq: int) -> DataFile:
        from pyiceberg.conversions import to_bytes
        from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
        from pyiceberg.typedef import Record
        from pyiceberg.types import LongType

        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"{self._at}/{file.path}",
            file_format=FileFormat.PARQUET,
            partition=Record((date.fromisoformat(file.day) - _EPOCH).days),
            spec_id=spec,
            record_count=file.rows,
            file_size_in_bytes=file.bytes,
            value_counts={seq: file.rows},
            null_value_counts={seq: 0},
            lower_bounds={seq: to_bytes(LongType(), file.first)},
            upper_bounds={seq: to_bytes(LongType(), file.last)},
        )

    # ---- what goes wrong

    @contextmanager
    def _catalog_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ShroffError:
            raise
        except Exception as error:  # errors of pyiceberg, its clients and databases share no class
            raise TablesAwayError(
                f"{what}: {self.title} cannot be reached or written: {self._first_line(error)}. "
                f"The files of the lake are not affected; run 'shroff lake publish' when the catalog is back"
            ) from error

    def _first_line(self, error: Exception) -> str:
        """Return the first line of an error without the values of the settings."""
        first, _, _ = str(error).strip().partition("\n")
        message = f"{type(error).__name__}: {first}"
        secrets = [value for name, value in self._settings.properties.items() if name != "type"]
        hidden = [*secrets, *(_password(value) for value in secrets if "@" in value)]
        for value in sorted({name for name in hidden if len(name) > 3}, key=len, reverse=True):
            message = message.replace(value, "...")
        return message[:300].rstrip(".")


def location_of(address: str, account: str) -> str:
    """Return the address of a lake in Iceberg's form. Raises: UsageError if the account of Azure is missing."""
    scheme, parted, path = address.partition("://")
    if not parted:
        return f"file://{Path(address).absolute()}"
    if scheme != "az":
        return address.rstrip("/")
    if not account:
        raise UsageError("lake: a catalog needs the account of the Azure container: add 'account' under lake.")
    container, _, prefix = path.partition("/")
    return f"abfss://{container}@{account}.dfs.core.windows.net/{prefix}".rstrip("/")


def _password(address: str) -> str:
    try:
        return unquote(urlsplit(address).password or "")
    except ValueError:
        return ""


def _add_columns(transaction: Transaction, columns: pa.Schema, table: str) -> None:
    """Add the columns that a table lacks. Raises: TableStoppedError if a column has an incompatible type."""
    from pyiceberg.exceptions import ValidationError
    from pyiceberg.io.pyarrow import UnsupportedPyArrowTypeException

    try:
        transaction.update_schema().union_by_name(columns).commit()
    except (ValidationError, UnsupportedPyArrowTypeException, TypeError) as error:
        message = " ".join(str(error).split())
        raise TableStoppedError(
            f"{table}: {message}. An Iceberg table has one type for each column, so this one stays as it was: read the "
            "files that 'shroff lake files' names"
        ) from None


def _expire(table: Table) -> None:
    """Remove old snapshots, since each commit writes metadata that lists all of them."""
    from pyiceberg.exceptions import CommitFailedException

    if len(table.metadata.snapshots) <= 2 * SNAPSHOTS_KEPT:
        return
    referenced = {ref.snapshot_id for ref in table.metadata.refs.values()}
    old = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)[:-SNAPSHOTS_KEPT]
    old = [snapshot for snapshot in old if snapshot.snapshot_id not in referenced]
    with suppress(CommitFailedException):  # another publisher was quicker: the next commit tries again
        table.maintenance.expire_snapshots().by_ids([snapshot.snapshot_id for snapshot in old]).commit()
        for snapshot in old:
            with suppress(OSError):
                table.io.delete(snapshot.manifest_list)


def settings_in(options: JsonMapping, folder: Path, lake: TextMapping) -> CatalogSettings:
    """Return the settings of a catalog, with a SQLite file relative to the project's folder, and the lake's server.

    Args:
        options: The settings under `catalog`.
        lake: The settings of the lake's bucket.
    """
    properties = {str(name): str(value) for name, value in options.get("properties", {}).items()}
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        properties["uri"] = f"sqlite:///{folder.absolute()}/{uri[10:]}"
    lake_options = {"s3.endpoint": lake.get("endpoint", ""), "s3.region": lake.get("region", "")}
    properties = {name: value for name, value in lake_options.items() if value} | properties
    return CatalogSettings(str(options.get("name", "shroff")), str(options.get("namespace", "shroff")), properties)
