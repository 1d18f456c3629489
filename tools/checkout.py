"""Whether the program that is imported is the one of this checkout."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path


def foreign_sources(root: Path) -> str:
    """Say that `shroff` is imported from elsewhere than the checkout's `src`, and the cure; empty if it is not."""
    expected = (root / "src").resolve()
    spec = find_spec("shroff")
    found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
    if found == expected:
        return ""
    exported = os.environ.get("PYTHONPATH")
    cure = f"PYTHONPATH is {exported}: unset PYTHONPATH" if exported else "make setup"
    return (
        f"shroff is imported from {found or 'nowhere'}, so these tests would not test {expected}.\n"
        f"{cure}, or export PYTHONPATH={expected}"
    )
