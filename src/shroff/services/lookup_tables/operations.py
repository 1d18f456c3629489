"""Operations on look-up tables: declare one, change it, find a value's row, and list versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import numpy as np

from shroff import config
from shroff.errors import RefusalError, UsageError, nearest
from shroff.events.event import time_text
from shroff.json_types import JsonMapping, TextMapping
from shroff.language.expression import Lookup, Node, walk
from shroff.language.loader import NAME
from shroff.language.values import parse_time, show
from shroff.language.yaml import text as yamltext
from shroff.log.history import changed_by, control_at
from shroff.operations.declaration import Argument, AskedBy, OperationAnswer, OperationRequest, Param, group, operation
from shroff.people.access import Right
from shroff.people.store import AuditFilter
from shroff.project.reference import csv_rows, parse_cell
from shroff.project.table_files import FOLDER, is_table, table_file, table_name
from shroff.runtime.texts import TextTable, many
from shroff.runtime.values import FrozenStruct
from shroff.services.apply.deployment import row_differences
from shroff.services.project import Project
from shroff.services.project_files import checked_with

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.proposals.profile import FileColumn
    from shroff.streams.log import Log

VERSIONS_MAX = 50
APPLIED_WITHIN_MS = 600_000  # longest time from the audit entry of `apply` to its version
EVENTS = "events.yaml"
ROWS_BYTES_MAX = 8 * 1024 * 1024
WRITTEN = "The table is written; it becomes active with the next command that writes."
_COLUMN = re.compile(r"([a-z][a-z0-9_]*)\s*:\s*([a-z ]+(?:\([\w, .-]*\))?\??)\s*(?:,|$)")
_SHAPES: Final[Mapping[str, tuple[str, Literal["network", "prefix", "suffix"], str]]] = {  # key, its type, columns
    "ip": ("network", "network", "country: text"),
    "vpn": ("network", "network", "kind: text"),
    "bins": ("range", "prefix", "country: text?, bank: text?, kind: text?"),
    "mail": ("domain", "suffix", "kind: text"),
}

group(
    "tables",
    """Declare look-up tables, and find the row that a value gives.

    A table is the file tables/NAME.csv (or .csv.gz, .parquet, .mmdb), declared in events.yaml. After you change it,
    'shroff apply' makes it active.

    Examples:
        shroff tables
        shroff tables show ip 192.0.2.1
        shroff tables init ip
    """,
)


class UnknownTableError(RefusalError):
    """There is no table of this name."""

    status, code, title = 404, "no-table", "There is no such table"


class InitTable(OperationRequest["DeclaredTable"]):
    """
    Args:
        kind: Kind of key: addresses, those that tell no place, card numbers or mail domains.
    """

    kind: Literal["ip", "vpn", "bins", "mail"]


class PutTable(OperationRequest["TableChange"]):
    """The rows of a table, and the columns of a new one.

    Args:
        name: The table.
        csv (FILE): CSV whose first line names the columns.
        key: Column by which a value finds its row.  [default: the first one]
        key_type: How: by an equal text or integer, by the longest prefix or suffix, or by the smallest network.
        columns: The other columns and their types, such as 'country: text?, since: time'.  [default: those of the file]
    """

    name: str
    csv: Annotated[str, Param(is_file=True)]
    key: str = ""
    key_type: Literal["text", "integer", "prefix", "suffix", "network"] = "text"
    columns: str = ""


class TableChange(OperationAnswer):
    """The rows that a table has now; `why_not` says why they are not active yet."""

    name: str
    rows: int
    is_new: bool
    why_not: str | None
    NEXT: ClassVar = ("shroff tables list",)

    def text(self) -> str:
        state = f"not active yet: {self.why_not}" if self.why_not else "active from the next event on"
        return f"{self.name} has {many(self.rows, 'row')}, {state}."


@operation(
    "tables put",
    right="edit:lists",
    http="PUT /tables/{name}",
    schema="TableRows",
    body_bytes_max=ROWS_BYTES_MAX,
    of_two="lists",
)
def put_table(project: Project, asked_by: AskedBy, request: PutTable) -> TableChange:
    """Create a look-up table from a CSV file, or replace all rows of one, and make that active.

    A new table is declared in events.yaml, which takes the right to edit rules.

    Examples:
        shroff tables put ip networks.csv --key-type network
        shroff tables put merchants merchants.csv --columns 'country: text?, risk: number(2)'
    """
    context, name = project.context, request.name
    with config.editing(context.paths):
        context.reload()
        files = config.read_files(context.paths.folder, [])
        file, declared = table_file(name, files), project.definitions.events.tables
        if name in declared and not file.endswith(".csv"):
            raise UsageError(f"the rows of {name} are in {file}: replace that file. Nothing was changed.")
        if name in declared and (request.key or request.columns):
            raise UsageError(f"events.yaml has the columns of {name}: leave out key and columns. Nothing was changed.")
        rows = request.csv.removeprefix("\ufeff")
        changes = {file: rows}
        if name not in declared:
            context.who.require(Right.EDIT_RULES)
            changes[EVENTS] = with_table(files.get(EVENTS, ""), name, _columns(request, rows))
        details = {"lines": rows.count("\n"), "file": file, **({"asked_by": asked_by} if asked_by else {})}
        count = len(write_checked(project, changes, "table.change", name, details).reference.tables[name])
    context.reload()
    why_not = project.requests.put_in_force(WRITTEN, [*changes], rows_alone=False)
    return TableChange(name=name, rows=count, is_new=name not in declared, why_not=why_not or None)


class DeclaredTable(OperationAnswer):
    """The files that were written."""

    files: list[str]

    def text(self) -> str:
        return f"Declared in {self.files[0]}; its rows go into {self.files[1]}."

    def hints(self) -> Sequence[str]:
        return [f"shroff tables put {table_name(self.files[1])} FILE"]


@operation("tables init", right="edit:rules", of_two="lists")
def init_table(project: Project, asked_by: AskedBy, request: InitTable) -> DeclaredTable:
    """Declare a table without rows for addresses, VPNs, card numbers or mail domains.

    'shroff tables put' fills it.

    Examples:
        shroff tables init ip
    """
    if request.kind in project.definitions.events.tables:
        raise UsageError(f"events.yaml declares a table {request.kind} already. Nothing was changed.")
    key, key_type, columns = _SHAPES[request.kind]
    header = ",".join((key, *dict(_COLUMN.findall(columns))))
    put = PutTable(name=request.kind, csv=f"{header}\n", key_type=key_type, columns=columns)
    put_table(project, asked_by, put)
    return DeclaredTable(files=[EVENTS, f"{FOLDER}{request.kind}.csv"])


def write_checked(
    project: Project, changes: TextMapping, action: str, name: str, told: JsonMapping | None = None
) -> Definitions:
    """Check and audit the changed files of a table, then write them. Raises: DefinitionError."""
    now = checked_with(project.context, changes)
    project.people.record(action, f"table {name}", None, told)
    for file, text in changes.items():
        path = project.context.paths.folder / file
        path.parent.mkdir(exist_ok=True)
        config.write_text(path, text)
    return now


def _columns(request: PutTable, rows: str) -> str:
    """Return the columns of a new table for events.yaml. Raises: UsageError."""
    from shroff.services.proposals.profile import FileColumn

    header, lines = csv_rows(table_file(request.name, ()), rows, [])
    cells, key = [row for _, row in lines], request.key or next(iter(header), "")
    found = dict(_COLUMN.findall(request.columns))
    if _COLUMN.sub("", request.columns).strip():
        raise UsageError(f"columns: {request.columns!r} is not such as 'country: text?, since: time'.")
    if wrong := [name for name in (request.name, key, *header) if not NAME.fullmatch(name)]:
        raise UsageError(
            f"{wrong[0]!r} is no name: tables and columns have small letters, digits and _; commas separate columns."
        )
    for number, name in enumerate(header if not found else ()):
        column = FileColumn((name,), [row[number] if number < len(row) else "" for row in cells], "")
        column.measure("")
        found[name] = f"{_type_of(column)}{'' if column.is_full else '?'}"
    found.pop(key, None)
    return f"{{ {', '.join(f'{name}: {type_}' for name, type_ in {key: request.key_type, **found}.items())} }}"


def _type_of(column: FileColumn) -> str:
    if column.is_boolean:
        return "boolean"
    if column.is_whole:
        return "integer"
    if column.is_number:
        return f"number({column.places})"
    return "time" if column.is_time else "text"


def with_table(text: str, name: str, columns: str) -> str:
    """Add a table to the text of events.yaml, above the others."""
    top, lines = yamltext.read(text, EVENTS, []), text.split("\n")
    entries = top.entries if isinstance(top, yamltext.Mapping) else ()
    declared = f"{name}: {columns}"
    tables = next(((key, value) for key, value in entries if key.text == "tables"), None)
    if tables is None:
        head = f"{text.rstrip()}\n\n" if text.strip() else ""
        return f"{head}tables:\n  {declared}\n"
    key, value = tables
    index = key.line - 1
    head, mark, rest = lines[index].partition("{")
    if mark and "#" not in head:
        comma = "," if rest.strip(" }") else ""
        lines[index] = f"{head}{{ {declared}{comma} {rest.lstrip()}"
        return "\n".join(lines)
    indent = 2
    if isinstance(value, yamltext.Mapping) and value.entries:
        indent = value.entries[0][0].column - 1
    lines.insert(index + 1, f"{' ' * indent}{declared}")
    return "\n".join(lines)


# ---- looking


class ShowTables(OperationRequest["LookUpTables"]):
    pass


class TableSummary(FrozenStruct):
    """A table: its file, how keys are looked up (`equal`, `prefix`, `suffix`, `network`), and what reads it."""

    name: str
    file: str
    match: str
    columns: list[str]
    rows: int
    read_by: list[str]


class LookUpTables(OperationAnswer):
    """All tables of the project."""

    tables: list[TableSummary]

    TABLE: ClassVar = TextTable(
        {"table": "name", "match": "match", "rows": "rows", "file": "file", "read by": "read_by"}, "tables", "table"
    )

    def hints(self) -> Sequence[str]:
        return ["shroff tables show NAME VALUE" if self.tables else "shroff tables init ip"]


@operation("tables list", right="read:definitions", http="GET /tables")
def list_tables(project: Project, request: ShowTables) -> LookUpTables:
    """List look-up tables: how they are looked up, their rows, and what reads them."""
    definitions = project.definitions
    return LookUpTables(tables=[_summary(definitions, name) for name in sorted(definitions.events.tables)])


class TableRow(FrozenStruct):
    """A row of a table, its key as the file has it, and the line; `since` is the time from which on it is valid."""

    key: str
    line: int | None
    since: str | None
    values: dict[str, str | None]


class LookUpVersion(FrozenStruct):
    """A version of a table in the log; `by` applied the files, and is empty where the next event took them up."""

    seq: int
    at: str
    by: str


class ShowTable(OperationRequest["TableView"]):
    """
    Args:
        name: The table.
        value: The value to look up.
        at (TIME): Look up as of this time; now without it.
        seq: Show the rows that changed in the version of this sequence number.
    """

    name: str
    value: Argument = ""
    at: str = ""
    seq: int = 0


VERSIONS: Final = TextTable({"version": "seq", "active from": "at", "applied by": "by"})


class TableView(OperationAnswer):
    """A table with its newest versions; the row that a value gives, and the rows that one version changed."""

    table: TableSummary
    value: str
    row: TableRow | None
    versions: list[LookUpVersion]
    difference: list[str]

    def text(self) -> str:
        lines = [f"{self.table.file}: {many(self.table.rows, 'row')} by {self.table.match}."]
        if self.row is not None:
            line = "" if self.row.line is None else f", line {self.row.line:,}"
            since = f", from {self.row.since}" if self.row.since else ""
            lines.append(f"{self.value} gives {self.row.key}{since}{line}:")
            lines += [f"  {name}: {'missing' if value is None else value}" for name, value in self.row.values.items()]
        elif self.value:
            lines.append(f"No row matches {self.value}.")
        lines += [VERSIONS.text(self.versions)] if self.versions and not self.value else []
        return "\n".join((*lines, *self.difference))

    def exit_status(self) -> int:
        return 1 if self.value and self.row is None else 0


@operation("tables show", right="read:definitions", http="GET /tables/{name}", refusals=[UnknownTableError])
def show_table(project: Project, request: ShowTable) -> TableView:
    """Show a look-up table: the row that a value gives, its versions, and who applied them.

    Exit status 1 if no row matches the value.

    Examples:
        shroff tables show ip 192.0.2.1
        shroff tables show bins --seq 4211
    """
    definitions, name = project.definitions, request.name
    if name not in definitions.events.tables:
        hint = nearest(name, definitions.events.tables) or "'shroff tables' lists those that there are."
        raise UnknownTableError(f"there is no table {name!r}. {hint}")
    try:
        at_ms = parse_time(request.at) if request.at else project.context.now_ms()
    except ValueError as error:
        raise UsageError(f"--at: {error}") from None
    row = table_row(definitions, name, request.value, at_ms) if request.value else None
    versions, difference = list[LookUpVersion](), list[str]()
    if project.context.log.exists():
        with project.context.log.reading() as log:
            versions = _versions(project, log, name)
            difference = _difference(log, name, request.seq) if request.seq else []
    return TableView(
        table=_summary(definitions, name), value=request.value, row=row, versions=versions, difference=difference
    )


def _summary(definitions: Definitions, name: str) -> TableSummary:
    shape, rows = definitions.events.tables[name], definitions.reference.tables[name]
    columns = [definitions.events.table_keys[name], *([shape.high] if shape.high else []), *shape.columns]
    file, readers = table_file(name, definitions.files), list(dict.fromkeys(_readers(definitions, name)))
    return TableSummary(name, file, shape.kind or "equal", columns, len(rows), readers)


def _readers(definitions: Definitions, name: str) -> Iterator[str]:
    def reads(*nodes: Node | str) -> bool:
        parts = (part for node in nodes if not isinstance(node, str) for part in walk(node))
        return any(isinstance(part, Lookup) and part.table == name for part in parts)

    yield from (feature.name for feature in definitions.features.values() if reads(feature.node))
    yield from (f"rule {rule.id}" for rule in definitions.rules if reads(rule.when, *rule.reason))
    types = (*definitions.events.types.values(), definitions.events.label)
    yield from (f"from of {type_.name}" for type_ in types for each in type_.mappings.values() if name in each.tables)
    if definitions.settings.rates == name:
        yield "money"


def table_row(definitions: Definitions, name: str, text: str, at_ms: int) -> TableRow | None:
    shape, rows = definitions.events.tables[name], definitions.reference.tables[name]
    places = definitions.settings.money_places
    try:
        number = rows.row(text if shape.kind else parse_cell(text, shape.key, places), at_ms)
    except ValueError:
        return None
    if number < 0:
        return None
    values = {}
    for column, type_ in shape.columns.items():
        value = rows.cells(column, np.array([number]))[0]
        values[column] = None if value is None else show(value, type_, places)
    since = None
    if rows.dated is not None:
        times, order, numbers = rows.dated
        since = time_text(int(times[numbers[np.flatnonzero(order == number)[0]] % (len(times) + 1)]))
    key = str(rows.keys.texts[number]) if shape.kind else text
    return TableRow(key, int(rows.keys.lines[number]), since, values)


def _versions(project: Project, log: Log, name: str) -> list[LookUpVersion]:
    with project.people.open() as desk, desk.store.look() as people:
        applied = people.record(AuditFilter(action="project.apply"), limit=1_000, is_newest_first=True)

    def by(at_ms: int) -> str:
        near = (row for row in applied if 0 <= at_ms - row.at_ms <= APPLIED_WITHIN_MS)
        return next((row.name for row in near if f'"{FOLDER}{name}.' in row.after), "")

    changed = [
        record
        for record in log.controls()
        if any(is_table(file) and table_name(file) == name for file in changed_by(record))
    ]
    return [
        LookUpVersion(record.seq, time_text(record.time_ms), by(record.time_ms))
        for record in changed[: -VERSIONS_MAX - 1 : -1]
    ]


def _difference(log: Log, name: str, seq: int) -> list[str]:
    """List the rows that a version of a table changed, after a line with their counts."""
    before, after = control_at(log, seq - 1).files, control_at(log, seq).files
    was, now = table_file(name, before), table_file(name, after)
    return row_differences((was, before.get(was, "")), (now, after.get(now, "")))
