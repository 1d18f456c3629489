"""Folders of JSON documents, for consumers who need them: an object for each document, or lines in larger objects.

A document is content of the log, so it never changes and is never removed. Its object is named by its id, or by the
first and last sequence number of its lines; writing it again has the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby, islice
from typing import Any

import msgspec

from shroff.engine.stored import stored
from shroff.lake.rows import SeqRange
from shroff.log.flags import JudgedFlag
from shroff.replay.exports import KINDS
from shroff.streams.lake_manifest import DocumentFolder
from shroff.streams.settings import ID_PLACEHOLDER

ID_BYTES_MAX = 160  # of an id in a name; a longer one ends in its hash
TAKEN = frozenset("events labels controls decisions features flags hits manifest checkpoint".split())
FOLDER = re.compile(r"[a-z][a-z0-9_-]{0,62}")
ALL = ("decisions", "flags", "labels")  # content of a folder, if it is not an event type
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ESCAPED = [chr(code) if code in _PLAIN else f"={code:02X}" for code in range(256)]


def file_name(id_: str) -> str:
    """Return an id as a part of a name: letters, digits and `_-.` unchanged, other bytes as hex digits.

    Different ids have different names; no name starts with a dot, and a long one ends in its hash.

    >>> file_name("p-1"), file_name("../a b"), file_name("é")
    ('p-1', '=2E.=2Fa=20b', '=C3=A9')
    """
    data = id_.encode("utf-8", "surrogatepass")
    name = "".join(map(_ESCAPED.__getitem__, data))
    if name.startswith("."):
        name = f"=2E{name[1:]}"
    if not name:
        return "=-"  # no escaped id has a hyphen there
    if len(name) <= ID_BYTES_MAX:
        return name
    return f"{name[: ID_BYTES_MAX // 2]}=-{sha256(data).hexdigest()}"


def named(pattern: str, id_: str) -> str:
    """Return the name of an object by a pattern with `{id}`.

    >>> named("{id}_transaction", "a b")
    'a=20b_transaction'
    """
    return pattern.replace(ID_PLACEHOLDER, file_name(id_))


def documents(span: SeqRange, folder: str, folder_settings: DocumentFolder) -> Iterator[tuple[str, bytes, int]]:
    """Yield the objects of one folder: name, bytes, and number of documents."""
    rows = _rows(span, folder_settings)
    if not folder_settings.lines:
        for _, name, line in rows:
            yield f"{folder}/{name}.json", line + b"\n", 1
        return
    while batch := list(islice(rows, folder_settings.lines)):
        name = f"{folder}/{batch[0][0]:012d}-{batch[-1][0]:012d}.jsonl"
        yield name, b"".join(line + b"\n" for _, _, line in batch), len(batch)


class _SourceBody(msgspec.Struct):
    source: str = ""


def _rows(span: SeqRange, folder_settings: DocumentFolder) -> Iterator[tuple[int, str, bytes]]:
    """Yield sequence number, name and document, in order. Decisions of each event type have a folder of their own."""
    if folder_settings.of == "decisions":
        for row in span.decisions:
            yield row.seq, f"{row.event}/{file_name(row.id)}", row.document
    elif folder_settings.of == "flags":
        line: Any = KINDS["flags"].line
        for seq, rows in groupby(span.flags, lambda flag: flag.seq):
            for number, flag in enumerate(rows):
                yield (
                    seq,
                    named(folder_settings.file, f"{seq}-{number}"),
                    line(JudgedFlag(flag, flag.accuracy, flag.time_ms)),
                )
    elif folder_settings.of == "labels":
        for record in span.records:
            if record.kind == "label" and _is_wanted(record.seq, record.body, folder_settings):
                yield record.seq, named(folder_settings.file, record.id), KINDS["labels"].line(record)
    else:
        for record in span.records:
            if record.kind == "event" and record.type == folder_settings.of:
                yield record.seq, named(folder_settings.file, record.id), record.body


def _is_wanted(seq: int, body: bytes, folder_settings: DocumentFolder) -> bool:
    return (
        not folder_settings.sources
        or stored(body, _SourceBody, f"the label at sequence number {seq}").source in folder_settings.sources
    )
