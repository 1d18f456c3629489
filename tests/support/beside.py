"""What lies in `shared/` beside the clone, for those who have it: real data, cases of people, the language's cases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

SHARED: Final = Path(__file__).resolve().parents[3] / "shared"


def beside(*parts: str) -> Path:
    """A file or folder of `shared/`; the test that asks for one that is not there is skipped, and fails in CI."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} must be there in CI")
        pytest.skip(reason=f"shared/{parts[0]} is not beside the clone")
    return path
