"""In place of a client library that takes long to import: commands that only check a project never import it."""

from __future__ import annotations

import os
from pathlib import Path


def add(file: Path, data: bytes) -> None:
    """Add to a file, durable on return."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
