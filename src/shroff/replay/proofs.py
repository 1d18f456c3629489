"""Proofs: a decision with all that it was computed from, and its path to a signed head of the log.

docs/reference/proofs.md describes the file, and what a leaf of the tree is.
"""

from __future__ import annotations

import hmac
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.engine.receipts import sealed_text
from shroff.errors import UsageError
from shroff.features.naive import Naive
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
from shroff.streams.log import DecisionRow, Log, Record

_HASHED = re.compile(r'hashed:[0-9a-f]{32}:(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-f]{4})){0,4}')
Mask = Callable[[str], str]
ModelFiles = Callable[[str], Sequence[tuple[str, str]]]
Signing = tuple[str, Callable[[bytes], tuple[str, str]]]  # the time, and a function that returns key and signature


class _JsonAnswer(OperationAnswer):
    def text(self) -> str:
        return to_json(self).decode()


class LogHead(_JsonAnswer):
    """The signed root of the tree over all records of the log."""

    log: str
    size: int
    root: str
    at: str
    key: str
    signature: str


class Proof(_JsonAnswer):
    """A decision, all that it was computed from, and the path to a head of the log."""

    shroff_proof: int
    head: LogHead
    seq: int
    sealed: str
    records: list[tuple[int, str]]
    files: list[tuple[str, str]]
    rows: list[list[Any]]
    models: Sequence[tuple[str, str]]
    path: list[str]
    since: int | UnsetType = UNSET


def mask_with(key: bytes) -> Mask:
    """Return the function that replaces hashed values in JSON, equal ones by the same."""

    def masked(value: re.Match[str]) -> str:
        return f"masked:{hmac.new(key, value[0].encode(), sha256).hexdigest()[:32]}"

    return lambda text: _HASHED.sub(masked, text)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _plain(files: Mapping[str, str], name: str) -> Any:
    node = yamltext.read(files.get(name, ""), name, [])
    return None if node is None else plain_tree(node)


def _public(tree: Any) -> Any:
    """Leave out tests of rules, and the seeds of draws."""
    if not isinstance(tree, list):
        return tree
    return [_public(part) for part in tree if not (len(part) == 2 and part[0] in ("tests", "seed"))]


class _Content:
    """The public form of a file: its text, or of a list or table the rows.

    `rows` has for each key, in order, the hash of the key, that of its row, and the row.
    """

    def __init__(self, files: Mapping[str, str], name: str, mask: Mask) -> None:
        text = files[name]
        rows: dict[str, str] = {}
        self.has_rows = is_list(name) or is_table(name)
        if is_list(name):
            entries = load_list(name, text, []).entries
            rows = {value: "" if expires is None else str(expires) for value, expires in entries.items()}
        elif is_table(name):
            ((key, _), *_) = dict(dict(_plain(files, "events.yaml"))["tables"])[table_name(name)]
            cells_by_key: dict[str, list[Any]] = {}
            for _, cells in cells_of(name, text):
                cells_by_key.setdefault(cells[key], []).append(cells)
            rows = {value: mask(to_json(cells).decode()) for value, cells in cells_by_key.items()}
        is_yaml = name.endswith(".yaml")
        self.text = mask(to_json(_public(_plain(files, name))).decode() if is_yaml else text)
        self.rows = sorted((_digest(mask(value)), _digest(row), row) for value, row in rows.items())
        self.leaves = [leaf_hash(f"{key} {row}".encode()) for key, row, _ in self.rows]

    def commitment(self) -> str:
        return f"{len(self.rows)} {Path(self.leaves).root.hex()}" if self.has_rows else _digest(self.text)

    def shown(self, keys: Collection[str]) -> list[Any]:
        """Return size, rows and path of the rows of some keys, by their hashes.

        Both neighbors of a key without a row show that there is none.
        """
        hashes = [row[0] for row in self.rows]
        known = set[int]()
        for key in keys:
            index = bisect_left(hashes, key)
            known |= {index} if hashes[index : index + 1] == [key] else {index - 1, index}
        known &= set(range(len(hashes)))
        rows = [
            (index, *self.rows[index][:2], self.rows[index][2] if hashes[index] in keys else None)
            for index in sorted(known)
        ]
        return [len(hashes), rows, [node.hex() for node in Path(self.leaves, known).nodes]]


class Tree:
    """The tree over all records of a log: the hash of each leaf, and the leaves of some sequence numbers as text.

    Cost: 40 µs a record, and 70 bytes of memory.
    Raises: UsageError if records have left the log.
    """

    def __init__(self, log: Log, mask: Mask, shown: Collection[int] = ()) -> None:
        end = log.last_seq()
        self.texts: list[tuple[int, str]] = []
        self.hashes: list[bytes] = []
        control = Control()
        commitments: dict[str, tuple[object, str]] = {}
        control_seq = 0
        decisions = RowsAhead(log.decisions.after(0, end))
        hits = dict(hits_by_place(log, end))
        for record in (record for records in log.read(0, end) for record in records):
            if record.seq != len(self.hashes) + 1:
                raise UsageError(f"a head covers the whole log, and the record {len(self.hashes) + 1} has left it.")
            body = record.body.decode()
            row = next(iter(decisions.taken(record.seq)), None)
            if record.kind == "control":
                control.take(record)
                files = control.files
                for name, text in files.items():
                    given = text, is_table(name) and files["events.yaml"]
                    if commitments.get(name, ())[:1] != (given,):
                        commitments[name] = given, _Content(files, name, mask).commitment()
                body = to_json({name: commitments[name][1] for name in sorted(files)}).decode()
            sealed = None if row is None else _digest(mask(sealed_text(row, record.body).decode()))
            receipt = None if row is None else row.receipt.hex()
            rules = sorted(rule for rule, key in hits.get(record.seq, {}).items() if key is not None)
            about = record.seq, record.kind, record.type, record.id, record.time_ms, control_seq, rules, receipt, sealed
            leaf = mask(f"{to_json(about).decode()}\n{body}")
            self.hashes.append(leaf_hash(leaf.encode()))
            if record.seq in shown:
                self.texts.append((record.seq, leaf))
            control_seq = record.seq if record.kind == "control" else control_seq

    def head(self, name: str, signing: Signing) -> LogHead:
        at, sign = signing
        root = Path(self.hashes).root.hex()
        key, signature = sign(to_json([name, len(self.hashes), root, at]))
        return LogHead(log=name, size=len(self.hashes), root=root, at=at, key=key, signature=signature)


class _ReadRows:
    """A list or a table that notes the keys that are looked up."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.keys = set[str]()

    def __contains__(self, value: object) -> bool:
        self.keys.add(str(value))
        return value in self._rows

    def __getitem__(self, value: str) -> Any:
        return self._rows[value]

    def value(self, column: str, key: object, time_ms: int) -> Any:
        if key is not None:
            self.keys.add(str(key))
        return self._rows.value(column, key, time_ms)


def _needs(
    definitions: Definitions, target: Record, past: Iterable[Record], hits: Mapping[int, Any]
) -> tuple[set[int], dict[str, _ReadRows]]:
    """Compute a decision by definition; return the earlier records, and the lists and tables, that it read."""
    lists: Any = {name: _ReadRows(rows) for name, rows in definitions.reference.lists.items()}
    tables: Any = {name: _ReadRows(rows) for name, rows in definitions.reference.tables.items()}
    naive = Naive(definitions.events, computed_of(definitions), Reference(lists, tables))
    records = Records(definitions.events, definitions.settings.money_places)
    seqs: list[int] = []
    for record in past:
        event = records.decode(record)
        if event is not None:
            naive.take(event, hits.get(record.seq, {}), is_asked=False)
            seqs.append(record.seq)
    event = records.decode(target)
    assert event is not None
    naive.add(event)
    read = {f"lists/{name}": rows for name, rows in lists.items()}
    read |= {f"tables/{name}": rows for name, rows in tables.items()}
    return {seqs[index] for index in naive.read if index < len(seqs)}, read


def prove(
    log: Log,
    row: DecisionRow,
    definitions: Definitions,
    past: Sequence[Record] | None,
    mask: Mask,
    signing: Signing,
    model_files: ModelFiles,
    since: int | None = None,
) -> Proof:
    """Make the proof of a decision.

    Args:
        definitions: Those that decided it.
        past: The earlier records that it can depend on; None if these are unknown, and all are read.
        model_files: Returns the files of a model by its id.
    """
    end = row.seq - 1
    target = log.records_at([row.seq])[row.seq]
    hits = dict(hits_by_place(log, end)) if past is None else {}
    earlier = (record for records in log.read(0, end) for record in records) if past is None else past
    seqs, read = _needs(definitions, target, earlier, hits)
    shown = seqs | {row.seq, log.controls(upto=end)[-1].seq}
    tree = Tree(log, mask, shown)
    if since is not None and since > len(tree.hashes):
        raise UsageError(f"--since is the size of an earlier head; this log has {len(tree.hashes)} records.")
    sealed = mask(sealed_text(row, target.body).decode())
    model = from_json(sealed)["versions"]["model"]
    files = []
    rows = []
    for name in sorted(definitions.files):
        content = _Content(definitions.files, name, mask)
        stem = f"tables/{table_name(name)}" if is_table(name) else name.removesuffix(".csv")
        if not content.has_rows:
            if not name.startswith("notices/") and (model or name != FILE):
                files.append((name, content.text))
        elif stem in read and read[stem].keys:
            shape = definitions.events.tables.get(table_name(name)) if is_table(name) else None
            is_equal = shape is None or not (shape.kind or shape.high)
            keys = {_digest(mask(key)) for key in read[stem].keys} if is_equal else {key for key, _, _ in content.rows}
            rows.append([name, *content.shown(keys)])
    path = Path(tree.hashes, {seq - 1 for seq in shown}, since or 0)
    return Proof(
        shroff_proof=1,
        head=tree.head(definitions.settings.name, signing),
        seq=row.seq,
        sealed=sealed,
        records=tree.texts,
        files=files,
        rows=rows,
        models=model_files(model) if model else (),
        path=[node.hex() for node in path.nodes],
        since=UNSET if since is None else since,
    )
