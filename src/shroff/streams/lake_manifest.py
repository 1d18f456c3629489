"""Manifests: which files make up a lake, one commit after the other.

Manifests are numbered from 1 without a gap. Each is first put as a plan that determines the commit completely; then
its files are written; then the finished manifest replaces the plan. A process that finds a plan, after a crash or
beside another writer, carries out that same plan: the same files, to the byte. So the content of a lake is that of its
finished manifests, from the first to the last before a plan or the end, and a file that none of them names does not
count.

    manifest/000000000042.json      a plan, or finished
    checkpoint/000000000032.json    the sum of the manifests up to this one, so that few have to be read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from msgspec import field
from msgspec.json import Decoder
from msgspec.json import encode as to_json

from shroff.errors import StateError
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.lake import Objects, RetriedObjects, StoredObject, damaged
from shroff.streams.settings import ID_PLACEHOLDER

FORMAT = 1
CHECKPOINT_EVERY = 32  # a reader reads about this many manifests at most
CHECKPOINTS_KEPT = 2
Stored = TypeVar("Stored")


class File(FrozenStruct):
    """A file of rows: its name, and the sequence numbers of its first and last row.

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
        """The folder, which names the kind of rows, their type and their day: `events/type=payment/date=2026-01-31`."""
        return self.path.rpartition("/")[0]

    @property
    def kind(self) -> str:
        return self.path.partition("/")[0]

    @property
    def type(self) -> str:
        """The event type that the folder names; empty for rows of all types."""
        return self._part_of_path("type") or self._part_of_path("event")

    @property
    def day(self) -> str:
        """The UTC day that the folder names, such as `2026-01-31`."""
        return self._part_of_path("date")

    def _part_of_path(self, name: str) -> str:
        parts = (part.partition("=") for part in self.folder.split("/"))
        return next((value for key, _, value in parts if key == name), "")


class DocumentFolder(FrozenStruct, omit_defaults=True):
    """A folder of JSON documents.

    Args:
        of: `decisions`, `flags`, `labels`, or an event type.
        lines: Documents in one object, one per line; 0 for an object each.
        sources: For labels, only these sources; empty for all.
        file: Name of an object, with `{id}` for the document's id.
    """

    of: str
    lines: int = 0
    sources: tuple[str, ...] = ()
    file: str = ID_PLACEHOLDER


class Layout(FrozenStruct):
    """Layout of a lake: rows as Parquet or not, and folders of documents by their names."""

    parquet: bool = True
    documents: Mapping[str, DocumentFolder] = {}


class Write(FrozenStruct, tag="write"):
    """Plan to write the sequence numbers (after, upto] of the log."""

    after: int
    upto: int
    layout: Layout


class Compact(FrozenStruct, tag="compact"):
    """Plan to merge the files of each group into one, and to forget files that were replaced long ago."""

    groups: Sequence[Sequence[str]]
    forget: Sequence[str] = ()


class Manifest(FrozenStruct, kw_only=True):
    """One commit, planned or finished.

    Args:
        at_ms: When it was planned, UTC milliseconds.
        log: Identity of the log: a hash of its first record.
        tip: A hash of the last record that was written, by this commit or an earlier one.
        documents: Number of documents added to each folder.
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
    """A file whose rows are in another file since this time; readers may still use it."""

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


MANIFEST = Decoder(Manifest)  # msgspec crashes if threads first decode together
CHECKPOINT = Decoder(Checkpoint)


class LakeState(FrozenStruct):
    """Current state of a lake: the number of its last finished manifest, or 0.

    Args:
        upto: Its rows are those of sequence numbers (0, upto].
        is_whole: Whether all of them are in files; False if some were written as documents alone.
        checkpoint: The number of the newest checkpoint.
        planned: The plan after the last manifest, with its version, if there is one.
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
        """Return the state with one more manifest. Raises: StateError if the manifest does not follow."""
        plan = manifest.plan
        missing = [path for path in manifest.removed if path not in self.files]
        if manifest.number != self.number + 1 or missing or (isinstance(plan, Write) and plan.after != self.upto):
            raise StateError(f"manifest {manifest.number:,} of the lake does not follow manifest {self.number:,}")
        files = {path: file for path, file in self.files.items() if path not in set(manifest.removed)}
        files |= {file.path: file for file in manifest.added}
        forgotten = set(plan.forget) if isinstance(plan, Compact) else set()
        replaced = {path: at_ms for path, at_ms in self.replaced.items() if path not in forgotten}
        replaced |= dict.fromkeys(manifest.removed, manifest.at_ms)
        state = replace(self, number=manifest.number, files=files, replaced=replaced, planned=None)
        if isinstance(plan, Compact):
            return state
        is_whole = self.is_whole and plan.layout.parquet
        return replace(state, upto=plan.upto, is_whole=is_whole, log=manifest.log, tip=manifest.tip)


def manifest_name(number: int) -> str:
    return f"manifest/{number:012d}.json"


def checkpoint_name(number: int) -> str:
    return f"checkpoint/{number:012d}.json"


def read_manifest(objects: RetriedObjects, number: int) -> tuple[Manifest, str] | None:
    """Return a manifest and its version; None if there is none. Raises: StorageError if it cannot be read."""
    name = manifest_name(number)
    stored = objects.get(name)
    if stored is None:
        return None
    manifest = _decode(objects, name, stored, MANIFEST)
    if manifest.number != number:
        raise damaged(objects, name, f"it says that it is manifest {manifest.number}")
    return manifest, stored.version


def read_state(objects: RetriedObjects, last_state: LakeState | None = None) -> LakeState:
    """Return the state of a lake, from a known state or its newest checkpoint, and the manifests after it.

    Raises: StorageError if one of them cannot be read.
    Cost: without a known state a listing and some `CHECKPOINT_EVERY` small objects.
    """
    state = _from_checkpoint(objects) if last_state is None else replace(last_state, planned=None)
    while (following := read_manifest(objects, state.number + 1)) is not None:
        manifest, version = following
        if manifest.state == "planned":
            return replace(state, planned=(manifest, version))
        state = state.after(manifest)
    return state


def _from_checkpoint(objects: RetriedObjects) -> LakeState:
    names = [stored.name for stored in objects.list("checkpoint")]
    for name in reversed(names):
        stored = objects.get(name)
        if stored is None:  # removed since, so there is a newer one
            return _from_checkpoint(objects)
        checkpoint = _decode(objects, name, stored, CHECKPOINT)
        files = {file.path: file for file in checkpoint.files}
        replaced = {file.path: file.at_ms for file in checkpoint.replaced}
        return LakeState(
            checkpoint.number,
            checkpoint.upto,
            checkpoint.is_whole,
            checkpoint.log,
            checkpoint.tip,
            files,
            replaced,
            checkpoint.number,
        )
    return LakeState()


def _decode(objects: Objects, name: str, stored_object: StoredObject, decoder: Decoder[Stored]) -> Stored:
    try:
        decoded = decoder.decode(stored_object.data)
    except ValueError as error:
        raise damaged(objects, name, error) from None
    if getattr(decoded, "format", FORMAT) != FORMAT:
        raise StateError(f"{name} in {objects.address} is of another version of shroff; use that version")
    return decoded


def plan(objects: RetriedObjects, manifest: Manifest) -> tuple[Manifest, str] | None:
    """Put a plan; return the plan that is stored under its number then, ours or another writer's, with its version.

    Return None if the lake advanced meanwhile: read its state again.
    """
    objects.put(manifest_name(manifest.number), encoded(manifest))
    stored = read_manifest(objects, manifest.number)
    return None if stored is None or stored[0].state == "finished" else stored


def finish(objects: RetriedObjects, manifest: Manifest, version: str) -> bool:
    """Replace a plan by the finished manifest; return False if another writer has replaced it differently."""
    return objects.replace(manifest_name(manifest.number), encoded(manifest), version)


def keep_checkpoint(objects: RetriedObjects, state: LakeState) -> LakeState:
    """Put a checkpoint if one is due; return the state that includes it. Equal states have equal bytes."""
    if state.number < state.checkpoint + CHECKPOINT_EVERY:
        return state
    checkpoint = Checkpoint(
        number=state.number,
        upto=state.upto,
        is_whole=state.is_whole,
        log=state.log,
        tip=state.tip,
        files=[state.files[path] for path in sorted(state.files)],
        replaced=[Replaced(path, state.replaced[path]) for path in sorted(state.replaced)],
    )
    objects.put(checkpoint_name(state.number), encoded(checkpoint))
    return replace(state, checkpoint=state.number)


def encoded(value: Manifest | Checkpoint) -> bytes:
    """Encode a value as it is stored: JSON, deterministic."""
    return to_json(value) + b"\n"
