"""Proofs: a decision with all that it was computed from, and its path to a signed head of the log.

docs/reference/proofs.md describes the file, and what a leaf of the tree is.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from msgspec import UNSET, UnsetType
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.engine.receipts import sealed_text
from shroff.errors import UsageError
from shroff.events.labels import LogEvent
from shroff.features.naive import Naive
from shroff.language.expression import Call, walk
from shroff.language.row import Reference
from shroff.language.yaml import text as yamltext
from shroff.log.history import Control, Records, hits_by_place
from shroff.log.tree import Path, leaf_hash
from shroff.models.in_force import FILE
from shroff.operations.declaration import OperationAnswer
from shroff.project.definitions import Definitions, computed_of, is_list, plain_tree
from shroff.project.reference import load_list
from shroff.project.table_files import cells_of, is_table, table_name
from shroff.replay.compare import RowsAhead
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import DecisionRow, Log, Record

if TYPE_CHECKING:
    from shroff.language.lookups.table import LookUpTable
    from shroff.runtime.progress import Progress

ROWS_MAX = 10_000  # of a table by prefix, suffix or network, all of whose rows are in a proof
_HASHED = re.compile(r'hashed:[0-9a-f]{32}:(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-f]{4})){0,4}')
_SECRET = frozenset(["tests", "seed"])
Sign = Callable[[bytes], tuple[str, str]]  # returns the public key and the signature, both as hexadecimal digits
Mask = Callable[[str], str]


class LogHead(OperationAnswer):
    """The signed root of the tree over all records of the log. `path` leads from the tree of the first `since`."""

    log: str
    size: int
    root: str
    at: str
    key: str
    signature: str
    since: int | UnsetType = UNSET
    path: list[str] | UnsetType = UNSET

    def text(self) -> str:
        return to_json(self).decode()


class Proof(OperationAnswer):
    """A decision, all that it was computed from, and the path to a head of the log."""

    shroff_proof: int
    head: LogHead
    seq: int
    sealed: str
    records: list[tuple[int, str]]
    files: list[tuple[str, str]]
    rows: list[tuple[str, int, list[tuple[int, str, str, str | None]], list[str]]]
    models: list[tuple[str, str]]
    path: list[str]
    since: int | UnsetType = UNSET

    def text(self) -> str:
        return to_json(self).decode()


def mask_with(key: bytes) -> Mask:
    """Return the function that replaces hashed values in JSON by others, equal ones by the same, without an end in
    clear.
    """

    def masked(value: re.Match[str]) -> str:
        return f"masked:{hmac.new(key, value[0].encode(), sha256).hexdigest()[:32]}"

    return lambda text: _HASHED.sub(masked, text)


class Content:
    """The rows of a list or a table, or the text of another file, as a control event's leaf commits to it.

    Args:
        key: The column of a table's keys.
    """

    def __init__(self, name: str, text: str, mask: Mask, key: str = "") -> None:
        self.rows: list[tuple[str, str, str]] | None = None  # of each value its hash, that of its row, and the row
        if is_list(name):
            entries = load_list(name, text, []).entries
            self._keep((mask(value), "" if expires is None else str(expires)) for value, expires in entries.items())
        elif is_table(name):
            by_key: dict[str, list[Mapping[str, str]]] = {}
            for _, cells in cells_of(name, text):
                by_key.setdefault(cells.get(key, ""), []).append(cells)
            self._keep((mask(value), mask(to_json(rows).decode())) for value, rows in by_key.items())
        elif name.endswith(".yaml"):
            tree = yamltext.read(text, name, [])
            self.text = mask(to_json(None if tree is None else _without_secrets(plain_tree(tree))).decode())
        else:
            self.text = mask(text)

    def _keep(self, rows: Iterable[tuple[str, str]]) -> None:
        self.rows = sorted((_digest(key), _digest(row), row) for key, row in rows)
        self.leaves = [leaf_hash(f"{key} {digest}".encode()) for key, digest, _ in self.rows]

    def commitment(self) -> str:
        """Return the hash of a text, or the number of rows and the root of the tree over them."""
        if self.rows is None:
            return _digest(self.text)
        return f"{len(self.rows)} {Path(self.leaves).root.hex()}"

    def shown(self, values: Iterable[str] | None) -> tuple[int, list[tuple[int, str, str, str | None]], list[str]]:
        """Return the number of rows, the rows of these values or all, and the path to the root.

        Of a value without a row, the hashes of both neighbours in the order of hashes show that there is none.
        """
        rows = self.rows or []
        hashes = {row[0]: index for index, row in enumerate(rows)}
        indexes = set[int]()
        for value in hashes if values is None else map(_digest, values):
            above = hashes.get(value, sum(key < value for key in hashes))
            indexes |= {above} if value in hashes else {above - 1, above}
        known = sorted(indexes & set(range(len(rows))))
        wanted = hashes.keys() if values is None else set(map(_digest, values))
        listed = [(index, *rows[index][:2], rows[index][2] if rows[index][0] in wanted else None) for index in known]
        return len(rows), listed, [node.hex() for node in Path(self.leaves, set(known)).nodes]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _without_secrets(tree: object) -> object:
    """Leave out tests of rules, and the seeds of draws."""
    if not isinstance(tree, list):
        return tree
    return [
        _without_secrets(item)
        for item in tree
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and item[0] in _SECRET)
    ]


class Tree:
    """The tree over the first records of a log: the hash of each leaf, and the texts of some.

    Args:
        shown: Sequence numbers of the records whose leaves are kept as text.

    Cost: 40 µs a record, and 32 bytes of memory.
    """

    def __init__(
        self, log: Log, end: int, mask: Mask, shown: frozenset[int] = frozenset(), progress: Progress | None = None
    ) -> None:
        self.texts: dict[int, str] = {}
        self.hashes: list[bytes] = []
        self._mask = mask
        self._commitments: dict[tuple[str, str, str], str] = {}
        self._control = Control()
        control_seq = 0
        decisions = RowsAhead(log.decisions.after(0, end))
        hits = RowsAhead(log.hits.after(0, end))
        for records in log.read(0, end):
            decided = {row.seq: row for row in decisions.taken(records[-1].seq)}
            rules: dict[int, list[str]] = {}
            for hit in hits.taken(records[-1].seq):
                if hit.key is not None:
                    rules.setdefault(hit.seq, []).append(hit.rule)
            for record in records:
                if record.seq != len(self.hashes) + 1:
                    raise UsageError(
                        f"the log lacks the record at sequence number {len(self.hashes) + 1}, and a head covers all."
                    )
                text = self._leaf(record, control_seq, sorted(rules.get(record.seq, ())), decided.get(record.seq))
                control_seq = record.seq if record.kind == "control" else control_seq
                self.hashes.append(leaf_hash(text.encode()))
                if record.seq in shown:
                    self.texts[record.seq] = text
            if progress is not None:
                progress(len(records))

    def _leaf(self, record: Record, control_seq: int, hits: Sequence[str], row: DecisionRow | None) -> str:
        body = record.body.decode()
        if record.kind == "control":
            self._control.take(record)
            body = to_json({name: self._commitment(name) for name in sorted(self._control.files)}).decode()
        sealed = None if row is None else _digest(self._mask(sealed_text(row, record.body).decode()))
        receipt = None if row is None else row.receipt.hex()
        about = record.seq, record.kind, record.type, record.id, record.time_ms, control_seq, hits, receipt, sealed
        return self._mask(f"{to_json(about).decode()}\n{body}")

    def _commitment(self, name: str) -> str:
        text = self._control.files[name]
        key = key_column(name, self._control.files) if is_table(name) else ""
        if (name, text, key) not in self._commitments:
            self._commitments[name, text, key] = Content(name, text, self._mask, key).commitment()
        return self._commitments[name, text, key]


def key_column(file: str, files: Mapping[str, str]) -> str:
    """Return the column with the keys of a table: the first that events.yaml declares."""
    tree: Any = yamltext.read(files.get("events.yaml", ""), "events.yaml", [])
    for part in ("tables", table_name(file)):
        tree = tree.get(part) if isinstance(tree, yamltext.Mapping) else None
    return tree.entries[0][0].text if isinstance(tree, yamltext.Mapping) and tree.entries else ""


def head_of(tree: Tree, name: str, at: str, sign: Sign, since: int | None = None) -> LogHead:
    """Sign the root of a tree. Raises: UsageError for a `since` that it does not have."""
    path = Path(tree.hashes, (), _checked(since, tree))
    size, root = len(tree.hashes), path.root.hex()
    key, signature = sign(to_json([name, size, root, at]))
    head = LogHead(log=name, size=size, root=root, at=at, key=key, signature=signature)
    if since is not None:
        head.since = since
        head.path = [node.hex() for node in path.nodes]
    return head


def _checked(since: int | None, tree: Tree) -> int:
    if since is not None and not 1 <= since <= len(tree.hashes):
        raise UsageError(f"--since is the size of an earlier head, from 1 to {len(tree.hashes)}, not {since}.")
    return since or 0


class Needs(FrozenStruct):
    """What a decision depends on: earlier records, and the values that were looked up in each list and table."""

    seqs: frozenset[int]
    values: Mapping[str, set[str]]  # by file


class _ReadRows:
    """A list or a table that notes what is looked up."""

    def __init__(self, rows: Any, values: set[str]) -> None:
        self._rows = rows
        self._values = values

    def __contains__(self, value: object) -> bool:
        self._values.add(str(value))
        return value in self._rows

    def __getitem__(self, value: str) -> Any:
        return self._rows[value]

    def value(self, column: str, key: object, time_ms: int) -> Any:
        if key is not None:
            self._values.add(str(key))
        return self._rows.value(column, key, time_ms)


def needs_of(definitions: Definitions, target: Record, past: Iterable[Record], hits: Mapping[int, Any]) -> Needs:
    """Compute a decision by definition, and note what is read.

    Args:
        past: All earlier records that it may depend on, in log order.
        hits: Recorded hits by sequence number.
    """
    check_masked(definitions)
    values: dict[str, set[str]] = {}
    lists = {
        name: _ReadRows(rows, values.setdefault(f"lists/{name}", set()))
        for name, rows in definitions.reference.lists.items()
    }
    tables = {
        name: _ReadRows(rows, values.setdefault(f"tables/{name}", set()))
        for name, rows in definitions.reference.tables.items()
    }
    reference = Reference(cast("Any", lists), cast("Mapping[str, LookUpTable]", tables))
    naive = Naive(definitions.events, computed_of(definitions), reference)
    records = Records(definitions.events, definitions.settings.money_places)
    seqs: list[int] = []
    for record in past:
        event = records.decode(record)
        if event is not None:
            naive.take(event, hits.get(record.seq, {}), is_asked=False)
            seqs.append(record.seq)
    naive.add(cast("LogEvent", records.decode(target)))
    return Needs(frozenset(seqs[index] for index in naive.read if index < len(seqs)), values)


def check_masked(definitions: Definitions) -> None:
    """Raises: UsageError if a value depends on the end of a hashed text, which a proof masks."""
    for computed in computed_of(definitions):
        if any(_reads_end(part) for part in walk(computed.node)):
            raise UsageError(f"{computed.asker} reads the end of a hashed text, which a proof does not show.")


def _reads_end(part: object) -> bool:
    return isinstance(part, Call) and part.function == "ends_with" and bool(part.arguments[0].type.hashing)


def prove(
    log: Log,
    row: DecisionRow,
    definitions: Definitions,
    past: Sequence[Record] | None,
    mask: Mask,
    sign: Sign,
    at: str,
    model_files: Callable[[str], Iterator[tuple[str, str]]],
    since: int | None = None,
) -> Proof:
    """Make the proof of a decision.

    Args:
        definitions: Those that decided it.
        past: The earlier records that it can depend on; None if these are unknown, and all are read.
        model_files: Returns the files of a model by its id.
    """
    end = log.last_seq()
    target = log.records_at([row.seq])[row.seq]
    hits = {} if past is not None else dict(hits_by_place(log, row.seq - 1))
    earlier = past if past is not None else (record for records in log.read(0, row.seq - 1) for record in records)
    needs = needs_of(definitions, target, earlier, hits)
    control_seq = log.controls(upto=row.seq - 1)[-1].seq
    shown = needs.seqs | {row.seq, control_seq}
    tree = Tree(log, end, mask, shown)
    control = Control()
    for record in log.controls(upto=row.seq - 1):
        control.take(record)
    files: list[tuple[str, str]] = []
    rows = []
    for name, text in sorted(control.files.items()):
        content = Content(name, text, mask, key_column(name, control.files) if is_table(name) else "")
        if content.rows is None:
            if name.endswith(".yaml") and not name.startswith("notices/"):
                files.append((name, content.text))
        elif values := needs.values.get(_stem(name)):
            rows.append((name, *content.shown(_looked_up(definitions, name, values, content, mask))))
    sealed = mask(sealed_text(row, target.body).decode())
    model = from_json(sealed)["versions"]["model"]
    models = []
    if model:
        files.append((FILE, mask(control.files[FILE])))
        models = list(model_files(model))
    path = Path(tree.hashes, {seq - 1 for seq in shown}, _checked(since, tree))
    return Proof(
        shroff_proof=1,
        head=head_of(tree, definitions.settings.name, at, sign),
        seq=row.seq,
        sealed=sealed,
        records=sorted(tree.texts.items()),
        files=files,
        rows=rows,
        models=models,
        path=[node.hex() for node in path.nodes],
        since=UNSET if since is None else since,
    )


def _stem(file: str) -> str:
    return f"tables/{table_name(file)}" if is_table(file) else file.removesuffix(".csv")


def _looked_up(
    definitions: Definitions, file: str, values: Iterable[str], content: Content, mask: Mask
) -> list[str] | None:
    """Return the values whose rows a proof shows; None for all rows of a table that is not looked up by equality."""
    shape = definitions.events.tables.get(table_name(file)) if is_table(file) else None
    if shape is None or not (shape.kind or shape.high):
        return [mask(value) for value in sorted(values)]
    if len(content.rows or ()) > ROWS_MAX:
        raise UsageError(f"a proof shows all rows of a table by {shape.kind or 'ranges'}, and {file} has too many.")
    return None
