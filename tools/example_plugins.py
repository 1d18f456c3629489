"""The plug-in beside `examples/orders`, for processes of a clone in whose environment it is not installed."""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "examples" / "orders"
_HELD: Final[list[tempfile.TemporaryDirectory[str]]] = []  # goes with the process


def find() -> None:
    """Have this process, and those that it starts, find the plug-in by its entry points, as if it were installed."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"], project["version"]
    try:
        distribution(name)
    except PackageNotFoundError:
        _HELD.append(tempfile.TemporaryDirectory(prefix="shroff-plugins-"))
        info = Path(_HELD[0].name) / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = project["entry-points"].items()
        lines = [line for group, rows in groups for line in (f"[{group}]", *(f"{a} = {b}" for a, b in rows.items()))]
        (info / "entry_points.txt").write_text("\n".join(lines))
        places = [str(FOLDER), str(info.parent)]
        sys.path += places
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), *places])
