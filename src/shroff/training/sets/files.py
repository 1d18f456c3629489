"""A training set as files: rows and labels as Parquet, and a manifest from which it can be made again bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.json import encode as to_json

import shroff
from shroff.arrays import count_true
from shroff.errors import StorageError, os_words
from shroff.events.definitions import SOURCES
from shroff.events.event import time_text
from shroff.json_types import JsonObject, TextDict
from shroff.log.columns.tables import Way
from shroff.models.columns import CATEGORY
from shroff.models.definitions import ModelSettings
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, Labels, labels_in_force
from shroff.project.definitions import Definitions
from shroff.runtime.atomic_files import GROUP_ROWS, unfinished, write_tables
from shroff.training.roles import SetFold, wanted_fold
from shroff.training.sets.manifest import FORMAT, MADE_WITH, MANIFEST, SetFile, SetInput, SetManifest, SetSource
from shroff.training.sets.rows import VERDICT_TEXTS, SetInProgress, making
from shroff.training.sets.sources import HistorySource

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "rows.parquet"
LABELS = "labels.parquet"


class _Seen(Struct):
    """Totals of the rows, complete when all are written."""

    first: int = 0
    last: int = 0
    rows: int = 0
    texts: dict[str, set[str]] = {}

    def through(self, tables: Iterable[pa.Table], categories: Iterable[str]) -> Iterator[pa.Table]:
        import pyarrow.compute as pc

        self.texts = {name: set() for name in categories}
        for table in tables:
            if len(table):
                self.first = self.first or table["seq"][0].as_py()
                self.last = table["seq"][-1].as_py()
            for name, texts in self.texts.items():
                texts |= set(pc.unique(table[name].drop_null()).to_pylist())
            yield table


def write_set(
    folder: Path,
    definitions: Definitions,
    settings: ModelSettings,
    source: HistorySource,
    as_of_ms: int,
    way: Way | None = None,
    fold: int | str | None = None,
) -> SetManifest:
    """Make a set and write it into a folder; the manifest is written last and marks the set as complete.

    The same records and definitions give the same bytes with the same versions of the program and its libraries.

    Args:
        fold: Fold of the roles, as `wanted_fold` takes it.

    Raises: UsageError if there is no such event type or fold; StorageError if a file cannot be written.
    Memory: as `making`; rows are written as they are made.
    """
    requested = wanted_fold(settings, as_of_ms, fold)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(os_words(error, folder, " cannot be written")) from None
    with making(definitions, settings, source, as_of_ms, way, requested) as set_in_progress:
        assert set_in_progress.roles is not None, "a fold was asked for"
        totals = _Seen()
        categories = [name for name, kind in set_in_progress.shape.inputs if kind == CATEGORY]
        digests = {name: hashlib.sha256() for name in (ROWS, LABELS)}
        rows = totals.through(_even(set_in_progress.tables), categories)
        totals.rows = write_tables(folder / ROWS, set_in_progress.shape.schema, rows, digests[ROWS].update)
        table = _labels_table(set_in_progress.labels)
        write_tables(folder / LABELS, table.schema, _even([table]), digests[LABELS].update)
        files = {name: digest.hexdigest() for name, digest in digests.items()}
        manifest = _manifest(definitions, settings, source, set_in_progress, set_in_progress.roles.fold, totals, files)
    with unfinished(folder / MANIFEST) as part:
        part.write_bytes(msgspec.json.format(to_json(manifest), indent=1) + b"\n")
    return manifest


def _manifest(
    definitions: Definitions,
    settings: ModelSettings,
    source: HistorySource,
    set_in_progress: SetInProgress,
    fold: SetFold,
    totals: _Seen,
    files: TextDict,
) -> SetManifest:
    rows = totals.rows
    in_force = labels_in_force(set_in_progress.labels, set_in_progress.shape.as_of_ms, rows)
    verdicts = set_in_progress.labels.verdicts[in_force[in_force >= 0]]
    is_young = set_in_progress.times_ms > set_in_progress.shape.as_of_ms - settings.label_delay_ms
    immature = count_true((in_force < 0) & is_young)
    versions = definitions.versions
    meanings = definitions.meanings(settings.event, settings.inputs)
    return SetManifest(
        format=FORMAT,
        event=set_in_progress.shape.event,
        as_of=time_text(set_in_progress.shape.as_of_ms),
        as_of_ms=set_in_progress.shape.as_of_ms,
        label_delay_ms=settings.label_delay_ms,
        source=_made_of(source),
        seqs=(totals.first, totals.last),
        rows=rows,
        fraud=count_true(verdicts == FRAUD),
        genuine=count_true(verdicts == GENUINE),
        unclear=count_true(verdicts == NOT_KNOWN),
        immature=immature,
        unlabelled=rows - len(verdicts) - immature,
        label_rows=len(set_in_progress.labels.rows),
        fold=fold,
        inputs=[
            SetInput(name, kind, meanings[name], sorted(totals.texts.get(name, ())))
            for name, kind in set_in_progress.shape.inputs
        ],
        slices=list(set_in_progress.shape.slices),
        versions={name: getattr(versions, name) for name in MADE_WITH},
        program={"shroff": shroff.__version__, "pyarrow": version("pyarrow")},
        files=files,
    )


def _made_of(source: HistorySource) -> SetSource:
    if source.log is not None:
        return SetSource(source.log.last_seq() if source.upto is None else source.upto)
    files = tuple(SetFile(path.name, _sha256(path)) for path in source.files)
    labels = source.labels_file
    labelled = None if labels is None else SetFile(labels.name, _sha256(labels))
    return SetSource(None, files, labelled, source.order)


def _even(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in tables of `GROUP_ROWS` rows, so that files do not depend on the pieces given."""
    import pyarrow as pa

    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        first = 0
        while len(table) - first >= GROUP_ROWS - count:
            pending.append(table.slice(first, GROUP_ROWS - count))
            first += GROUP_ROWS - count
            yield pa.concat_tables(pending).combine_chunks() if len(pending) > 1 else pending[0]
            pending = []
            count = 0
        if first < len(table):
            pending.append(table.slice(first))
            count += len(table) - first
    if count:
        yield pa.concat_tables(pending).combine_chunks()


def _labels_table(labels: Labels) -> pa.Table:
    import pyarrow as pa

    reasons = np.array([*labels.reason_texts, None], object)[labels.reasons]
    columns: JsonObject = {
        "row": pa.array(labels.rows),
        "verdict": pa.array([VERDICT_TEXTS[code] for code in labels.verdicts.tolist()], pa.string()),
        "source": pa.array([SOURCES[code] for code in labels.strengths.tolist()], pa.string()),
        "known_at": pa.array(labels.known_at_ms).cast(pa.timestamp("ms", tz="UTC")),
        "reason": pa.array(reasons, pa.string(), from_pandas=True),
    }
    return pa.table(columns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
