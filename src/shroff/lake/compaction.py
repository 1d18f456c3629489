"""Compacts small files of a lake into larger ones, and removes files that are no longer needed.

A replaced file stays for a grace period, since a reader may still use a manifest that names it. A file that no finished
manifest names is garbage once the manifest that it was written for is finished: a killed writer, or one that was
overtaken, left it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar

import msgspec
import pyarrow as pa

from shroff.errors import StorageError
from shroff.lake.files import opened, put_table, sorted_by_place, written_for
from shroff.lake.rows import KINDS
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.texts import many
from shroff.runtime.values import replace
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import CHECKPOINTS_KEPT, Compact, File, LakeState, Manifest

FILES_MIN = 4  # small files of one folder to merge; fewer cost a reader little
TARGET_BYTES = 32 * 1024 * 1024  # of a file: some 100,000 decisions; ten times that in memory
GROUPS_MAX = 64  # of one commit


class Compaction(OperationAnswer):
    """Result of a compaction; `damaged` files were left as they are."""

    lake: str = ""
    merged: int = 0
    made: int = 0
    removed: int = 0
    damaged: list[str] = msgspec.field(default_factory=list)
    NEXT: ClassVar = ("shroff lake check",)
    STATUS: ClassVar = "damaged"

    def text(self) -> str:
        text = f"{self.lake}: {many(self.merged, 'file')} merged into {self.made:,}, {self.removed:,} removed."
        if self.damaged:
            text += f"\n  {many(len(self.damaged), 'file')} left as damaged: {self.damaged[0]}."
        return text


def groups_of(state: LakeState, files_min: int, target_bytes: int, excluded: Collection[str]) -> list[list[str]]:
    """Return groups of files to merge: small ones of one folder with equal columns, in the order of their rows."""
    alike: dict[tuple[str, str], list[File]] = {}
    for file in state.files.values():
        if file.bytes < target_bytes // 2 and file.path not in excluded:
            alike.setdefault((file.folder, file.schema), []).append(file)
    groups: list[list[str]] = []
    for key in sorted(alike):
        group: list[str] = []
        size = 0
        for file in sorted(alike[key], key=lambda file: (file.first, file.path)):
            if size + file.bytes > target_bytes and group:
                groups.append(group)
                group = []
                size = 0
            group.append(file.path)
            size += file.bytes
        groups.append(group)
    return [group for group in groups if len(group) >= files_min][:GROUPS_MAX]


def forgettable(state: LakeState, before_ms: int) -> list[str]:
    """Return the files that were replaced up to a time."""
    return sorted(path for path, at_ms in state.replaced.items() if at_ms <= before_ms)


def compacted(
    objects: RetriedObjects, state: LakeState, manifest: Manifest, request: Compaction, on_file: Callable[[], None]
) -> Manifest:
    """Carry out a plan to compact; a group with a damaged file stays as it is."""
    assert isinstance(manifest.plan, Compact)
    added: list[File] = []
    removed: list[str] = []
    for group in manifest.plan.groups:
        tables: list[pa.Table] = []
        damaged = len(request.damaged)
        for path in group:
            try:
                tables.append(opened(objects, state.files[path]).read())
            except StorageError:
                request.damaged.append(path)
        if len(request.damaged) > damaged:
            continue
        folder = state.files[group[0]].folder
        merged = sorted_by_place(pa.concat_tables(tables))
        added.append(put_table(objects, manifest.number, folder, merged))
        removed += group
        on_file()
    request.merged += len(removed)
    request.made += len(added)
    return replace(manifest, added=added, removed=removed)


def sweep(objects: RetriedObjects, state: LakeState) -> int:
    """Remove garbage files and old checkpoints; return the number of files."""
    removed = 0
    for kind in KINDS:
        for stored in objects.list(kind):
            number = written_for(stored.name)
            if number is None or number > state.number:
                continue
            if stored.name not in state.files and stored.name not in state.replaced:
                objects.delete(stored.name)
                removed += 1
    checkpoints = [stored.name for stored in objects.list("checkpoint")]
    for name in checkpoints[:-CHECKPOINTS_KEPT]:
        objects.delete(name)
    return removed
