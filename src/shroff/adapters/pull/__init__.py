"""Pulled sources: files. Here is what shroff.yaml may say of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from shroff.language.keys import DURATION, Key, MappingShape, One, choice
from shroff.streams.settings import BUCKET, CALLS, AdapterSettings


def _placed(options: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A folder is from the project's on."""
    place = str(options["from"])
    return options if "://" in place else {**options, "from": str(folder / place)}


FILES: Final = AdapterSettings(
    "Files of a folder, a bucket, or a list behind a URL: CSV, JSON lines, Parquet or Avro. Each file is taken once.",
    MappingShape(
        "new files",
        (
            Key(
                "from",
                "A folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or the URL of a text with a "
                "list of files.",
                One("a folder or an address", r"^\S+$"),
                is_required=True,
                examples=("s3://mybank/exports",),
            ),
            Key(
                "markers",
                "Whether a file is complete only if a file with its name and `.done`, or a file `_SUCCESS`, is beside "
                "it.",
                choice("false", "true"),
                default="false",
            ),
            Key(
                "settled",
                "How long a file of a folder must be unchanged to count as complete. Objects of a bucket are always "
                "complete.",
                DURATION,
                default="2s",
                examples=("1m",),
            ),
            *BUCKET,
            *CALLS,
        ),
    ),
    placed=_placed,
    is_called=True,
)
SETTINGS: Final = {"files": FILES}
