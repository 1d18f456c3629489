"""Manifests: which files make a lake, one commit after the other.

Manifests have numbers from 1 on, without a gap. Each is put as a plan, which says what is to be done and leaves
nothing open; its files are written; then the finished manifest takes the plan's place. Whoever finds a plan, after a
kill or beside another writer, carries out that very plan: the same files, to the byte. So a lake has what finished
manifests say, from the first to the last before a plan or the end, and a file that none of them names does not count.

    manifest/000000000042.json      a plan, or finished
    checkpoint/000000000032.json    what the manifests up to this one come to, so that few have to be read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StateError
from shroff.runtime.values import FrozenStruct, replace, showing
from shroff.streams.lake import Found, Objects, RetriedObjects, damaged
from shroff.streams.settings import ALONE

FORMAT = 1
CHECKPOINT_EVERY = 32  # manifests that a reader reads one by one at most, and some more behind a kill
CHECKPOINTS_KEPT = 2
Stored = TypeVar("Stored", bound=msgspec.Struct)


class File(FrozenStruct):
    """A file of rows: its name, and the places of its first and last row.

    Files of one folder with equal `schema` have the same columns.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    first: int
    last: int
    schema: str

    @property
    def folder(self) -> str:
        """The folder, with the kind of rows, their type and their day: `events/type=payment/date=2026-01-31`."""
        return self.path.rpartition("/")[0]

    @property
    def kind(self) -> str:
        return self.path.partition("/")[0]

    @property
    def type(self) -> str:
        """The event type that the folder names; nothing where rows are of any."""
        return self._said("type") or self._said("event")

    @property
    def day(self) -> str:
        """The day in UTC that the folder names, as `2026-01-31`."""
        return self._said("date")

    def _said(self, name: str) -> str:
        parts = (part.partition("=") for part in self.folder.split("/"))
        return next((value for key, _, value in parts if key == name), "")


class DocumentFolder(FrozenStruct, omit_defaults=True):
    """A folder of JSON documents.

    Args:
        of: `decisions`, `flags`, `labels`, or an event type.
        lines: So many documents in one object, a line each; 0 for an object each.
        sources: Of labels, only those from these sources; all without any.
        file: What an object is called, with `{id}` for the document's id.
    """

    of: str
    lines: int = 0
    sources: tuple[str, ...] = ()
    file: str = ALONE


class Layout(FrozenStruct):
    """Layout of a lake: rows as Parquet or not, and folders of documents by their names."""

    parquet: bool = True
    documents: Mapping[str, DocumentFolder] = {}


class Write(FrozenStruct, tag="write"):
    """The places (after, upto] of the log are to be written."""

    after: int
    upto: int
    layout: Layout


class Compact(FrozenStruct, tag="compact"):
    """The files of each group are to become one, and files that were replaced long ago are to be forgotten."""

    groups: Sequence[Sequence[str]]
    forget: Sequence[str] = ()


class Manifest(FrozenStruct, kw_only=True):
    """One commit, planned or finished.

    Args:
        at_ms: When it was planned, UTC milliseconds.
        log: Tells the log from any other: a hash of its first record.
        tip: A hash of the last record that was written, by this commit or an earlier one.
        documents: How many documents each folder got.
    """

    format: int = FORMAT
    number: int
    at_ms: int
    plan: Write | Compact
    state: Literal["planned", "finished"] = "planned"
    log: str = ""
    tip: str = ""
    added: Sequence[File] = ()
    removed: Sequence[str] = ()
    documents: Mapping[str, int] = {}


class Replaced(FrozenStruct):
    """A file whose rows stand in another one since a moment; readers may still hold it."""

    path: str
    at_ms: int


class Checkpoint(FrozenStruct, kw_only=True):
    """Sum of the manifests up to a number."""

    format: int = FORMAT
    number: int
    upto: int
    is_whole: bool
    log: str
    tip: str
    files: Sequence[File]
    replaced: Sequence[Replaced]


class LakeState(FrozenStruct):
    """A lake as it is: the number of its last finished manifest, 0 where there is none.

    Args:
        upto: Its rows are those of the places (0, upto] of the log.
        is_whole: Whether all of them stand in files; not so where some were written as documents alone.
        checkpoint: The number of the newest checkpoint.
        planned: The plan behind the last manifest, and its version, where there is one.
    """

    number: int = 0
    upto: int = 0
    is_whole: bool = True
    log: str = ""
    tip: str = ""
    files: Mapping[str, File] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)
    checkpoint: int = 0
    planned: tuple[Manifest, str] | None = None

    def after(self, manifest: Manifest) -> LakeState:
        """The state with one more manifest. Raises: StateError where that does not follow."""
        plan = manifest.plan
        gone = [path for path in manifest.removed if path not in self.files]
        if manifest.number != self.number + 1 or gone or (isinstance(plan, Write) and plan.after != self.upto):
            raise StateError(f"manifest {manifest.number:,} of the lake does not follow manifest {self.number:,}")
        files = {path: file for path, file in self.files.items() if path not in set(manifest.removed)}
        files |= {file.path: file for file in manifest.added}
        forgotten = set(plan.forget) if isinstance(plan, Compact) else set()
        replaced = {path: at_ms for path, at_ms in self.replaced.items() if path not in forgotten}
        replaced |= dict.fromkeys(manifest.removed, manifest.at_ms)
        found = replace(self, number=manifest.number, files=files, replaced=replaced, planned=None)
        if isinstance(plan, Compact):
            return found
        is_whole = self.is_whole and plan.layout.parquet
        return replace(found, upto=plan.upto, is_whole=is_whole, log=manifest.log, tip=manifest.tip)


def manifest_name(number: int) -> str:
    return f"manifest/{number:012d}.json"


def checkpoint_name(number: int) -> str:
    return f"checkpoint/{number:012d}.json"


def read_manifest(objects: RetriedObjects, number: int) -> tuple[Manifest, str] | None:
    """A manifest and its version; None where there is none. Raises: StorageError where it cannot be read."""
    name = manifest_name(number)
    found = objects.get(name)
    if found is None:
        return None
    read = _read(objects, name, found, Manifest)
    if read.number != number:
        raise damaged(objects, name, f"it says that it is manifest {read.number}")
    return read, found.version


def read_state(objects: RetriedObjects, known: LakeState | None = None) -> LakeState:
    """A lake as it is, from its newest checkpoint or from a state that is known, and the manifests behind it.

    Raises: StorageError where one of them cannot be read.
    Cost: without a known state a list and some `CHECKPOINT_EVERY` small objects.
    """
    state = _from_checkpoint(objects) if known is None else replace(known, planned=None)
    while (found := read_manifest(objects, state.number + 1)) is not None:
        manifest, version = found
        if manifest.state == "planned":
            return replace(state, planned=(manifest, version))
        state = state.after(manifest)
    return state


def _from_checkpoint(objects: RetriedObjects) -> LakeState:
    names = [stored.name for stored in objects.list("checkpoint")]
    for name in reversed(names):
        found = objects.get(name)
        if found is None:  # removed since; a newer one is there
            return _from_checkpoint(objects)
        read = _read(objects, name, found, Checkpoint)
        files = {file.path: file for file in read.files}
        replaced = {file.path: file.at_ms for file in read.replaced}
        return LakeState(read.number, read.upto, read.is_whole, read.log, read.tip, files, replaced, read.number)
    return LakeState()


def _read(objects: Objects, name: str, found: Found, type_: type[Stored]) -> Stored:
    try:
        read = from_json(found.data, type=type_)
    except ValueError as error:
        raise damaged(objects, name, error) from None
    if getattr(read, "format", FORMAT) != FORMAT:
        raise StateError(f"{name} in {objects.address} is of another version of shroff; use that version")
    return read


def plan(objects: RetriedObjects, manifest: Manifest) -> tuple[Manifest, str] | None:
    """Put a plan; gives what stands under its number then, ours or another writer's.

    None where the lake went on meanwhile: look at its state again.
    """
    objects.put(manifest_name(manifest.number), encoded(manifest))
    found = read_manifest(objects, manifest.number)
    return None if found is None or found[0].state == "finished" else found


def finish(objects: RetriedObjects, manifest: Manifest, version: str) -> bool:
    """Put the finished manifest in the place of its plan; False where another writer has put another one."""
    return objects.replace(manifest_name(manifest.number), encoded(manifest), version)


def keep_checkpoint(objects: RetriedObjects, state: LakeState) -> LakeState:
    """Put a checkpoint where one is due; gives the state that knows of it. Equal states give equal bytes."""
    if state.number < state.checkpoint + CHECKPOINT_EVERY:
        return state
    checkpoint = showing(
        Checkpoint,
        state,
        files=[state.files[path] for path in sorted(state.files)],
        replaced=[Replaced(path, state.replaced[path]) for path in sorted(state.replaced)],
    )
    objects.put(checkpoint_name(state.number), encoded(checkpoint))
    return replace(state, checkpoint=state.number)


def encoded(value: Manifest | Checkpoint) -> bytes:
    """As it is stored: JSON, the same for the same value."""
    return to_json(value) + b"\n"
