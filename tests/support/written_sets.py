"""Training sets that were written as files, read back to compare them with those built in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shroff.events.definitions import SOURCES
from shroff.models.sets import Labels, TrainingSet
from shroff.runtime.atomic_files import GROUP_ROWS
from shroff.training.sets.files import LABELS, ROWS
from shroff.training.sets.gathered import gathered
from shroff.training.sets.manifest import read_manifest
from shroff.training.sets.rows import VERDICT_TEXTS, SetShape


def read_set(folder: Path) -> TrainingSet:
    """A training set, read back from its files."""
    manifest = read_manifest(folder)
    shape = SetShape(
        manifest.event,
        manifest.as_of_ms,
        tuple((path.name, path.kind) for path in manifest.inputs),
        tuple(manifest.slices),
    )
    labels = _labels_of(pq.read_table(folder / LABELS))
    with pq.ParquetFile(folder / ROWS) as rows:
        tables = (pa.Table.from_batches([batch]) for batch in rows.iter_batches(GROUP_ROWS))
        return gathered(shape, tables, manifest.rows, labels, folder)


def _labels_of(table: pa.Table) -> Labels:
    codes = {text: code for code, text in VERDICT_TEXTS.items()}
    reasons = table["reason"].to_pylist()
    texts = sorted({reason for reason in reasons if reason is not None})
    places: dict[str | None, int] = {text: place for place, text in enumerate(texts)}
    return Labels(
        table["row"].to_numpy(),
        np.array([codes[text] for text in table["verdict"].to_pylist()], np.int8),
        np.array([SOURCES.index(text) for text in table["source"].to_pylist()], np.int8),
        table["known_at"].cast("int64").to_numpy(),
        np.array([places.get(reason, -1) for reason in reasons], np.int64),
        tuple(texts),
    )
