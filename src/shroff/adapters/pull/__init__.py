"""Pulled sources: files, and their settings in shroff.yaml."""

from __future__ import annotations

from pathlib import Path

from shroff.json_types import JsonMapping
from shroff.language.keys import DURATION, One, Required, choice, mapping_shape
from shroff.streams.settings import BUCKET, CALLS, AdapterSettings


def _resolve_folder(options: JsonMapping, folder: Path) -> JsonMapping:
    address = str(options["from"])
    return options if "://" in address else {**options, "from": str(folder / address)}


class _NewFiles:
    """New files.

    from: A folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or the URL of a text with a list
        of files.
        Example: s3://mybank/exports
    markers: Whether a file is complete only if a file with its name and `.done`, or a file `_SUCCESS`, is beside
        it.
        Default: false
    settled: How long a file of a folder must be unchanged to count as complete. Objects of a bucket are always
        complete.
        Default: 2s
        Example: 1m
    """

    from_ = Required(One("a folder or an address", r"^\S+$"))
    markers = choice("false", "true")
    settled = DURATION
    bucket = BUCKET
    calls = CALLS


FILES = AdapterSettings(
    "Files of a folder, a bucket, or a list behind a URL: CSV, JSON lines, Parquet or Avro. Each file is taken once.",
    mapping_shape(_NewFiles),
    placed=_resolve_folder,
    is_called=True,
)
SETTINGS = {"files": FILES}
