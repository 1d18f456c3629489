"""The manifest of a written training set: its content and origin."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import StorageError, UsageError
from shroff.json_types import TextDict
from shroff.runtime.values import FrozenStruct
from shroff.training.roles import SetFold

MANIFEST = "manifest.json"
FORMAT = 2
MADE_WITH = {  # Attributes of `versions`, with the word for each in messages
    "definitions": "definitions",
    "policy": "policy.yaml",
    "lists": "lists",
    "tables": "tables",
}


class SetInput(FrozenStruct):
    """An input in the manifest.

    Args:
        name: Its name in model.yaml.
        kind: `number` or `category`.
        meaning: A hash of the features that it reads, with keys and types.
        categories: The texts that occur, sorted; none for numbers.
    """

    name: str
    kind: str
    meaning: str
    categories: list[str]


class SetFile(FrozenStruct):
    """A file that a set was made from: its name without folders, and its SHA-256."""

    name: str
    sha256: str


class SetSource(FrozenStruct):
    """Origin of a set: the log up to a sequence number, or files with labels.

    Args:
        order: `time` if the rows of the files were sorted by time first, else `file`.
    """

    log_seq: int | None = None
    files: tuple[SetFile, ...] = ()
    labels: SetFile | None = None
    order: str = "file"


class SetManifest(FrozenStruct):
    """Content and origin of a set; no time of creation, so that the same set has the same manifest.

    Args:
        format: Version of the format of these files.
        as_of: Moment whose knowledge the set has: no event or label is later.
        seqs: Sequence numbers of the first and the last row; both 0 without rows.
        fraud, genuine, unclear: Rows by the label in force at `as_of`.
        immature: Unlabelled rows younger than the label delay.
        unlabelled: Unlabelled rows that are older and so count as genuine.
        label_rows: Labels, those that a later one overruled included.
        fold: Fold that `role`, `label` and `weight` belong to.
        versions: Hashes of definitions, policy (for amounts), lists and tables.
        program: Versions of shroff and of the library that wrote the files.
        files: SHA-256 of each file.
    """

    format: int
    event: str
    as_of: str
    as_of_ms: int
    label_delay_ms: int
    source: SetSource
    seqs: tuple[int, int]
    rows: int
    fraud: int
    genuine: int
    unclear: int
    immature: int
    unlabelled: int
    label_rows: int
    fold: SetFold
    inputs: list[SetInput]
    slices: list[str]
    versions: TextDict
    program: TextDict
    files: TextDict


def read_manifest(location: Path) -> SetManifest:
    """Read the manifest of a set.

    Args:
        location: Folder of the set, or the manifest itself.

    Raises: UsageError if there is no manifest; StorageError if it cannot be read.
    """
    path = location / MANIFEST if location.is_dir() else location
    if not path.is_file():
        problem = f"{location} has no {MANIFEST}" if location.is_dir() else f"there is no file {location}"
        raise UsageError(f"{problem}, so there is no training set, or one that was not finished.")
    try:
        data = path.read_bytes()
        format_ = from_json(data, type=_Format).format
        manifest = from_json(data, type=SetManifest) if format_ == FORMAT else None
    except (ValueError, OSError) as error:
        raise StorageError(f"{path} cannot be read ({error}); make the set again") from None
    if manifest is None:
        raise StorageError(f"{path} is of format {format_}, and this program reads {FORMAT}; make the set again")
    return manifest


def differences(then: SetManifest, now: SetManifest) -> list[str]:
    """Return why a set made again differs, in sentences; empty if no cause changed.

    Files, inputs, definitions and program come first.
    """
    reasons = [*_source_differences(then.source, now.source), *_input_differences(then, now)]
    for name, words in MADE_WITH.items():
        if then.versions.get(name) != now.versions.get(name):
            reasons.append(f"{words}: {_short(then.versions, name)} then, {_short(now.versions, name)} now")
    reasons += [
        f"{name}: {then.program.get(name)} then, {now.program.get(name)} now"
        for name in sorted({*then.program, *now.program})
        if then.program.get(name) != now.program.get(name)
    ]
    if then.fold.fold == now.fold.fold and then.fold != now.fold:
        reasons.append(f"fold {then.fold.fold}: its windows, its sampling or its rows are others")
    if then.label_delay_ms != now.label_delay_ms:
        reasons.append("label_delay of model.yaml: another one")
    if then.rows != now.rows:
        reasons.append(f"rows: {then.rows:,} then, {now.rows:,} now")
    return reasons


class _Format(msgspec.Struct):
    format: int


def _short(versions: TextDict, name: str) -> str:
    return versions.get(name, "none")[:12]


def _source_differences(then: SetSource, now: SetSource) -> list[str]:
    then_digests, now_digests = ({file.name: file.sha256 for file in source.files} for source in (then, now))
    reasons = [f"{name}: not among the files" for name in then_digests if name not in now_digests]
    reasons += [
        f"{name}: another content" for name, digest in then_digests.items() if now_digests.get(name, digest) != digest
    ]
    reasons += [f"{name}: a file that was not there then" for name in now_digests if name not in then_digests]
    if then.labels != now.labels:
        reasons.append("labels: another file, or another content")
    return reasons


def _input_differences(then: SetManifest, now: SetManifest) -> list[str]:
    then_inputs, now_inputs = ({input_.name: input_ for input_ in manifest.inputs} for manifest in (then, now))
    reasons = [f"input {name}: not in model.yaml any more" for name in then_inputs if name not in now_inputs]
    reasons += [f"input {name}: new in model.yaml" for name in now_inputs if name not in then_inputs]
    return reasons + [
        f"input {name}: it means something else now"
        for name, part in then_inputs.items()
        if name in now_inputs and part.meaning != now_inputs[name].meaning
    ]
